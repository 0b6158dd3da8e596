// Stream sessions and media sessions, as this tab's device.

/** @typedef {import('./tab.js').Tab} Tab */
/**
 * @typedef {object} Stream
 * @property {string} id
 * @property {string} cameraDeviceId
 * @property {string} requesterDeviceId
 * @property {'requested' | 'streaming' | 'completed' | 'cancelled' | 'failed'} status
 * @property {string} [reason]
 * @property {string} [mediaSessionId]
 * @property {string} createdAt
 */
/**
 * @typedef {object} Credentials
 * @property {'whip' | 'whep' | 'p2p'} protocol p2p: see p2p.js, which needs no url and no token
 * @property {string} url
 * @property {string} token
 * @property {string} expiresAt
 * @property {string} mediaSessionId
 * @property {RTCIceServer[]} iceServers
 */

/**
 * @param {Stream} stream
 * @returns {boolean}
 */
export const isOpen = (stream) => stream.status === 'requested' || stream.status === 'streaming';

/**
 * The device's open streams, newest first, of its last 200.
 * @param {Tab} tab
 * @returns {Promise<Stream[]>}
 */
export async function openStreams(tab) {
  return (await tab.call('GET', '/streams?limit=200')).items.filter(isOpen);
}

/**
 * @param {Tab} tab
 * @param {string} cameraDeviceId
 * @returns {Promise<Stream>}
 */
export function request(tab, cameraDeviceId) {
  return tab.call('POST', '/streams/request', { body: { cameraDeviceId, reason: 'watch' } });
}

/**
 * @param {Tab} tab
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<Stream>}
 */
export const get = (tab, id, signal) => tab.call('GET', `/streams/${id}`, { signal });

/**
 * @param {Tab} tab
 * @param {string} id
 * @returns {Promise<Stream>}
 */
export const accept = (tab, id) => tab.call('POST', `/streams/${id}/accept`);

/**
 * @param {Tab} tab
 * @param {string} id
 * @param {boolean} [keepalive] the page is going away
 */
export const end = (tab, id, keepalive) => tab.call('POST', `/streams/${id}/end`, { body: {}, keepalive });

/**
 * @param {Tab} tab
 * @param {string} id
 * @returns {Promise<Credentials>}
 */
export const publishCredentials = (tab, id) => tab.call('GET', `/streams/${id}/publish-credentials`);

/**
 * @param {Tab} tab
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<Credentials>}
 */
export const subscribeCredentials = (tab, id, signal) => tab.call('GET', `/streams/${id}/subscribe-credentials`, { signal });

/**
 * Goes live without being asked; answers the running session when there is one.
 * @param {Tab} tab
 * @returns {Promise<{mediaSession: {id: string}, credentials: Credentials}>}
 */
export const openMediaSession = (tab) => tab.call('POST', '/media-sessions', { body: {} });

/**
 * @param {Tab} tab
 * @param {string} id
 */
export const closeMediaSession = (tab, id) => tab.call('DELETE', `/media-sessions/${id}`);
