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
