// The account's recordings.

import { call } from './api.js';

/**
 * @typedef {object} Recording
 * @property {string} id
 * @property {string} cameraDeviceId
 * @property {'recording' | 'ready' | 'failed' | 'awaiting_upload'} status
 * @property {string} contentType
 * @property {number} [durationMs]
 * @property {number} [size] bytes
 * @property {string} [error]
 * @property {string} startedAt
 * @property {string} [endedAt]
 */

/**
 * One page, newest first.
 * @param {{cameraId?: string, cursor?: string, limit?: number}} query
 * @returns {Promise<{items: Recording[], nextCursor?: string}>}
 */
export function list({ cameraId, cursor, limit = 50 }) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (cameraId) query.set('cameraDeviceId', cameraId);
  if (cursor) query.set('cursor', cursor);
  return call('GET', `/recordings?${query}`);
}

/**
 * A signed address that ends soon.
 * @param {string} id
 * @param {boolean} [attachment] for a file to keep, not to show
 * @returns {Promise<{url: string, expiresAt: string, contentType: string, size: number}>}
 */
export function downloadUrl(id, attachment = false) {
  return call('GET', `/recordings/${id}/download-url${attachment ? '?attachment=true' : ''}`);
}

/** @param {string} id */
export function remove(id) {
  return call('DELETE', `/recordings/${id}`);
}

/**
 * What there is to be of a stream of this tab's camera that has ended.
 * @param {import('./tab.js').Tab} tab
 * @param {string} streamId
 * @returns {Promise<Recording | undefined>} undefined: nothing
 */
export async function ofStream(tab, streamId) {
  const query = new URLSearchParams({ streamId });
  return (await tab.call('GET', `/recordings?${query}`)).items[0];
}

/**
 * @param {import('./tab.js').Tab} tab
 * @param {string} id
 * @param {Blob} file
 * @returns {Promise<{url: string, method: string, headers: Record<string, string>}>}
 */
export function uploadUrl(tab, id, file) {
  return tab.call('POST', `/recordings/${id}/upload-url`, { body: { contentType: file.type, size: file.size } });
}

/**
 * @param {import('./tab.js').Tab} tab
 * @param {string} id
 * @param {number} durationMs
 */
export function finalize(tab, id, durationMs) {
  return tab.call('POST', `/recordings/${id}/finalize`, { body: { durationMs } });
}
