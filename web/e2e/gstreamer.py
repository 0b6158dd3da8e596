#!/usr/bin/python3
"""GStreamer's webrtcbin as a camera or a viewer, by WHIP or WHEP:

    gstreamer.py publish|play vp8|vp9|h264 < {"url": "...", "token": "..."}

The camera prints "live" when it is connected, and goes on until it is killed. The viewer ends when it has decoded enough
of picture and sound, and prints what it saw; with exit code 1 and a sentence if that does not come.
"""

import json
import sys
import urllib.error
import urllib.request

import gi

for name in ("Gst", "GstSdp", "GstWebRTC"):
    gi.require_version(name, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

LIMIT_S = 60
ENOUGH = {"video": 30, "audio": 30}  # buffers that are decoded
ENCODE = {
    "vp8": "vp8enc deadline=1 cpu-used=8 target-bitrate=800000 keyframe-max-dist=60 ! rtpvp8pay pt=96 picture-id-mode=2",
    "vp9": "vp9enc deadline=1 cpu-used=8 target-bitrate=800000 keyframe-max-dist=60 ! rtpvp9pay pt=96 picture-id-mode=2",
    # Without profile-level-id in the caps behind it: webrtcbin refuses those.
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=60 ! "
            "video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1 ! rtph264pay pt=96 aggregate-mode=zero-latency",
}
TAKES = {"vp8": "VP8", "vp9": "VP9", "h264": "H264,packetization-mode=(string)1,profile-level-id=(string)42e01f"}
DECODE = {
    "VP8": "rtpvp8depay ! vp8dec", "VP9": "rtpvp9depay ! vp9dec", "H264": "rtph264depay ! h264parse ! avdec_h264",
    "OPUS": "rtpopusdepay ! opusdec",
}


def camera(codec):
    return Gst.parse_launch(
        "webrtcbin name=w bundle-policy=max-bundle "
        "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 ! videoconvert ! "
        f"{ENCODE[codec]} ! application/x-rtp,media=video,encoding-name={codec.upper()},payload=96 ! w. "
        "audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=97 ! "
        "application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! w.")


def viewer():
    pipeline = Gst.Pipeline.new("viewer")
    webrtc = Gst.ElementFactory.make("webrtcbin", "w")
    webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
    webrtc.set_property("latency", 50)
    pipeline.add(webrtc)
    return pipeline


class Peer:
    """One webrtcbin with its session."""

    def __init__(self, mode, codec, credentials):
        self.credentials, self.mode = credentials, mode
        self.failure = None
        self.decoded = dict.fromkeys(ENOUGH, 0)
        self.sizes = {}
        self.loop = GLib.MainLoop()
        self.pipeline = camera(codec) if mode == "publish" else viewer()
        self.webrtc = self.pipeline.get_by_name("w")
        self.webrtc.connect("notify::ice-gathering-state", self.gathered)
        self.webrtc.connect("notify::connection-state", self.connected)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: self.end(str(message.parse_error())))
        self.limit = GLib.timeout_add_seconds(LIMIT_S, self.end, "that took too long")
        if mode == "publish":
            self.webrtc.connect("on-negotiation-needed", self.negotiate)
            return
        self.webrtc.connect("pad-added", self.play)
        receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        for caps in ("audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2,payload=111",
                     f"video,encoding-name={TAKES[codec]},clock-rate=90000,payload=96"):
            self.webrtc.emit("add-transceiver", receive, Gst.Caps.from_string(f"application/x-rtp,media={caps}"))
        GLib.idle_add(self.negotiate)

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        return self.failure

    def end(self, failure=None):
        self.failure = failure and f"{failure}; decoded {self.decoded}"
        self.loop.quit()

    def negotiate(self, *_):
        self.webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered))

    def offered(self, promise):
        promise.wait()  # or the reply is not there yet
        reply = promise.get_reply()  # which the offer lives in
        self.webrtc.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def gathered(self, *_):
        if self.webrtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.post()

    def post(self):
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {self.credentials['token']}"}
        offer = self.webrtc.get_property("local-description").sdp.as_text().encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.credentials["url"], offer, headers)) as response:
                answer = response.read()
        except urllib.error.HTTPError as refusal:
            if refusal.code == 409:  # nobody publishes yet
                GLib.timeout_add_seconds(int(refusal.headers.get("Retry-After", 1)), self.post)
            else:
                self.end(f"{refusal.code}: {refusal.read()}")
            return False
        _, message = GstSdp.SDPMessage.new()
        GstSdp.sdp_message_parse_buffer(answer, message)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.webrtc.emit("set-remote-description", description, Gst.Promise.new())
        return False

    def connected(self, *_):
        state = self.webrtc.get_property("connection-state")
        if state == GstWebRTC.WebRTCPeerConnectionState.CONNECTED and self.mode == "publish":
            GLib.source_remove(self.limit)
            print("live", flush=True)
        if state == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            self.end("the connection failed")

    def play(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        caps = pad.get_current_caps().get_structure(0)
        decoder = Gst.parse_bin_from_description(DECODE[caps.get_string("encoding-name")] + " ! fakesink name=sink sync=false", True)
        self.pipeline.add(decoder)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))
        sink = decoder.get_by_name("sink").get_static_pad("sink")
        sink.add_probe(Gst.PadProbeType.BUFFER, self.count, caps.get_string("media"))

    def count(self, pad, _, kind):
        self.decoded[kind] += 1
        structure = pad.get_current_caps().get_structure(0)
        if kind == "video":
            self.sizes[f"{structure.get_int('width')[1]}x{structure.get_int('height')[1]}"] = True
        if all(self.decoded[kind] >= n for kind, n in ENOUGH.items()):
            GLib.idle_add(self.end)
        return Gst.PadProbeReturn.OK


def main():
    Gst.init(None)
    mode, codec = sys.argv[1:]
    peer = Peer(mode, codec, json.load(sys.stdin))
    failure = peer.run()
    if failure:
        sys.exit(f"{mode} {codec}: {failure}")
    print(f"{codec}: {peer.decoded['video']} frames of {', '.join(peer.sizes)}, {peer.decoded['audio']} buffers of sound", flush=True)


main()
