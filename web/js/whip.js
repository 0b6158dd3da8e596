// Publishing with WHIP (RFC 9725): a video, in several sizes where the browser
// can, and at most one audio.

import { CAPTURE_TIME, takeExtensions } from './extensions.js';
import { Envelopes, openChannel } from './messages.js';
import { Peer } from './peer.js';

const MAX_BITS_PER_SECOND = 2_500_000;
const SMALLER = [ // simulcast layers below the full picture
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
];
// Chromium sends no more layers than its picture has pixels for, and leaves out
// the full one then: 848x480 in three layers comes as 212x120 and 424x240.
const LAYERS = [{ pixels: 960 * 540, smaller: 2 }, { pixels: 480 * 270, smaller: 1 }];
const START_KILOBITS_PER_SECOND = 1_200;
const MAX_FRAMES_PER_SECOND = 30;

/**
 * Sends the stream's tracks. Returns when the server has answered; the
 * connection comes up after that.
 * @param {import('./streams.js').Credentials} credentials
 * @param {MediaStream} stream
 * @param {AbortSignal} [signal]
 * @param {(voice: MediaStream) => void} [onVoice] gets what viewers say; without
 *   it they cannot talk
 * @param {(line: Envelopes) => void} [onLine] gets the line to all viewers
 * @returns {Promise<Peer>}
 */
export async function publish(credentials, stream, signal, onVoice, onLine) {
  const url = new URL(credentials.url);
  if (onVoice) url.searchParams.set('talkback', 'true');
  const peer = new Peer({ ...credentials, url: url.href });
  const [audio] = stream.getAudioTracks();
  const [video] = stream.getVideoTracks();
  if (onVoice) peer.pc.ontrack = ({ track }) => onVoice(new MediaStream([track]));
  if (audio) peer.pc.addTransceiver(audio, { direction: onVoice ? 'sendrecv' : 'sendonly', streams: [stream] });
  const transceiver = addVideo(peer.pc, video, stream);
  takeExtensions(transceiver, CAPTURE_TIME);
  onLine?.(new Envelopes(openChannel(peer.pc)));
  await peer.connect(signal, startFast);
  await preferBalance(transceiver.sender);
  return peer;
}

/**
 * @param {RTCPeerConnection} pc
 * @param {MediaStreamTrack} video
 * @param {MediaStream} stream
 */
function addVideo(pc, video, stream) {
  const full = { maxBitrate: MAX_BITS_PER_SECOND, maxFramerate: MAX_FRAMES_PER_SECOND };
  const add = (/** @type {RTCRtpEncodingParameters[]} */ sendEncodings) => (
    pc.addTransceiver(video, { direction: 'sendonly', streams: [stream], sendEncodings })
  );
  const smaller = smallerLayers(video);
  if (smaller === 0) return add([full]);
  const layers = SMALLER.slice(SMALLER.length - smaller).map((layer) => ({ ...layer, maxFramerate: MAX_FRAMES_PER_SECOND }));
  try {
    return add([...layers, { rid: 'h', ...full }]);
  } catch {
    return add([full]); // a browser without simulcast
  }
}

/** @param {MediaStreamTrack} video */
function smallerLayers(video) {
  const { width = 0, height = 0 } = video.getSettings();
  return LAYERS.find(({ pixels }) => width * height >= pixels)?.smaller ?? 0;
}

/**
 * Swaps the tracks of a running connection, without a new negotiation.
 * @param {Peer} peer
 * @param {MediaStream} stream
 * @returns {Promise<boolean>} false when it has to be published anew
 */
export async function replaceTracks(peer, stream) {
  const senders = peer.pc.getSenders();
  const tracks = stream.getTracks();
  if (senders.length !== tracks.length) return false;
  const [video] = stream.getVideoTracks();
  const layers = senders.find((s) => s.track?.kind === 'video')?.getParameters().encodings?.length ?? 1;
  if (video && layers > 1 && layers !== 1 + smallerLayers(video)) return false;
  await Promise.all(tracks.map((track) => senders.find((s) => s.track?.kind === track.kind)?.replaceTrack(track)));
  return true;
}

/**
 * Chromium starts at 300 kbit/s, for which it shrinks the picture, and takes
 * long to grow it again: 480x270 for the first 12 s, where with a better start
 * it sends 1280x720 after 1.5 s (measured on one machine). It reads the start
 * from the answer's format parameters; other browsers ignore them.
 * @param {string} answer or an offer, of whoever takes the video
 * @returns {string}
 */
export function startFast(answer) {
  const [before, ...media] = answer.split(/^(?=m=)/m);
  return before + media.map((section) => (section.startsWith('m=video') ? withStartRate(section) : section)).join('');
}

/** @param {string} section of an SDP, for video */
function withStartRate(section) {
  const parameter = `x-google-start-bitrate=${START_KILOBITS_PER_SECOND}`;
  return section.replace(/^a=rtpmap:(\d+) (?:VP8|VP9|H264|AV1)\/90000\r\n/gm, (line, format) => (
    section.includes(`a=fmtp:${format} `) ? line : `${line}a=fmtp:${format} ${parameter}\r\n`
  )).replace(/^(a=fmtp:\d+ (?!apt=|x-google).*?)\r\n/gm, `$1;${parameter}\r\n`);
}

/**
 * Under pressure give up some sharpness and some smoothness, not all of one.
 * @param {RTCRtpSender} sender
 */
async function preferBalance(sender) {
  const parameters = sender.getParameters();
  // @ts-ignore: not yet in every browser's types
  parameters.degradationPreference = 'balanced';
  await sender.setParameters(parameters).catch(() => {}); // a hint; not every browser knows it
}
