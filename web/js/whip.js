// Publishing with WHIP (RFC 9725): one video and at most one audio encoding.

import { Peer } from './peer.js';

const MAX_BITS_PER_SECOND = 2_500_000;
const MAX_FRAMES_PER_SECOND = 30;

/**
 * Sends the stream's tracks. Returns when the server has answered; the
 * connection comes up after that.
 * @param {import('./streams.js').Credentials} credentials
 * @param {MediaStream} stream
 * @param {AbortSignal} [signal]
 * @returns {Promise<Peer>}
 */
export async function publish(credentials, stream, signal) {
  const peer = new Peer(credentials);
  const [audio] = stream.getAudioTracks();
  const [video] = stream.getVideoTracks();
  if (audio) peer.pc.addTransceiver(audio, { direction: 'sendonly', streams: [stream] });
  const { sender } = peer.pc.addTransceiver(video, {
    direction: 'sendonly',
    streams: [stream],
    sendEncodings: [{ maxBitrate: MAX_BITS_PER_SECOND, maxFramerate: MAX_FRAMES_PER_SECOND }],
  });
  await peer.connect(signal);
  await preferBalance(sender);
  return peer;
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
  await Promise.all(tracks.map((track) => senders.find((s) => s.track?.kind === track.kind)?.replaceTrack(track)));
  return true;
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
