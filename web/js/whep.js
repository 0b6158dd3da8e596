// Playing with WHEP (draft-ietf-wish-whep).

import { CAPTURE_TIME, DEPENDENCY_DESCRIPTOR, takeExtensions } from './extensions.js';
import { Messages, openChannel } from './messages.js';
import { Peer } from './peer.js';
import { Steering } from './steering.js';
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

/**
 * Asks for the camera's video and audio. The stream fills while the connection
 * comes up. Throws an ApiError with status 409 and retryAfter while nobody
 * publishes.
 * @param {import('./streams.js').Credentials} credentials
 * @param {AbortSignal} [signal]
 * @param {Quality} [quality]
 * @returns {Promise<{peer: Peer, stream: MediaStream, talk: Talk, steering: Steering}>}
 */
export async function play(credentials, signal, quality = {}) {
  const url = new URL(credentials.url);
  if (quality.maxHeight) url.searchParams.set('maxHeight', String(quality.maxHeight));
  const peer = new Peer({ ...credentials, url: url.href });
  const stream = new MediaStream();
  peer.pc.ontrack = ({ track }) => stream.addTrack(track);
  takeExtensions(peer.pc.addTransceiver('video', { direction: 'recvonly' }), DEPENDENCY_DESCRIPTOR, CAPTURE_TIME);
  const talk = new Talk(peer.pc.addTransceiver('audio', { direction: 'sendrecv' }));
  const steering = new Steering(new Messages(openChannel(peer.pc)));
  await peer.connect(signal);
  return { peer, stream, talk, steering };
}
