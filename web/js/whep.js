// Playing with WHEP (draft-ietf-wish-whep).

import { Peer } from './peer.js';
import { Talk } from './talk.js';

/**
 * What a viewer wants at most; without anything, the best there is.
 * @typedef {object} Quality
 * @property {number} [maxHeight] of the picture's shorter side
 * @property {string} [rid] a simulcast layer
 */
/**
 * @typedef {object} Layer
 * @property {string} [rid]
 * @property {boolean} active
 * @property {number} width
 * @property {number} height
 * @property {number} bitrate
 */

const DEPENDENCY_DESCRIPTOR = /#dependency-descriptor-rtp-header-extension$/;

/**
 * Asks for the camera's video and audio. The stream fills while the connection
 * comes up. Throws an ApiError with status 409 and retryAfter while nobody
 * publishes.
 * @param {import('./streams.js').Credentials} credentials
 * @param {AbortSignal} [signal]
 * @param {Quality} [quality]
 * @returns {Promise<{peer: Peer, stream: MediaStream, talk: Talk}>}
 */
export async function play(credentials, signal, quality = {}) {
  const url = new URL(credentials.url);
  if (quality.maxHeight) url.searchParams.set('maxHeight', String(quality.maxHeight));
  const peer = new Peer({ ...credentials, url: url.href });
  const stream = new MediaStream();
  peer.pc.ontrack = ({ track }) => stream.addTrack(track);
  takeLayers(peer.pc.addTransceiver('video', { direction: 'recvonly' }));
  const talk = new Talk(peer.pc.addTransceiver('audio', { direction: 'sendrecv' }));
  await peer.connect(signal);
  return { peer, stream, talk };
}

/**
 * Offers the header extension without which no layered AV1 can be decoded;
 * browsers know it, but do not offer it to watch.
 * @param {any} transceiver
 */
function takeLayers(transceiver) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.();
  const wanted = extensions?.find((/** @type {{uri: string}} */ e) => DEPENDENCY_DESCRIPTOR.test(e.uri));
  if (!wanted) return;
  wanted.direction = 'sendrecv';
  transceiver.setHeaderExtensionsToNegotiate(extensions);
}
