// Playing with WHEP (draft-ietf-wish-whep).

import { Peer } from './peer.js';

/**
 * Asks for the camera's video and audio. The stream fills while the connection
 * comes up. Throws an ApiError with status 409 and retryAfter while nobody
 * publishes.
 * @param {import('./streams.js').Credentials} credentials
 * @param {AbortSignal} [signal]
 * @returns {Promise<{peer: Peer, stream: MediaStream}>}
 */
export async function play(credentials, signal) {
  const peer = new Peer(credentials);
  const stream = new MediaStream();
  peer.pc.ontrack = ({ track }) => stream.addTrack(track);
  peer.pc.addTransceiver('video', { direction: 'recvonly' });
  peer.pc.addTransceiver('audio', { direction: 'recvonly' });
  await peer.connect(signal);
  return { peer, stream };
}
