// What the account's cameras saw.

import { call } from './api.js';

/**
 * @typedef {object} SeenEvent
 * @property {string} id
 * @property {string} cameraDeviceId
 * @property {'active' | 'ended'} status
 * @property {string} triggeredBy
 * @property {string} [thumbnailUrl]
 * @property {string} [videoUrl]
 * @property {string} startedAt
 * @property {string} [endedAt]
 */

/**
 * One page, newest first.
 * @param {{cameraId?: string, cursor?: string, limit?: number}} query
 * @returns {Promise<{items: SeenEvent[], nextCursor?: string}>}
 */
export function list({ cameraId, cursor, limit = 50 }) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (cameraId) query.set('cameraDeviceId', cameraId);
  if (cursor) query.set('cursor', cursor);
  return call('GET', `/events?${query}`);
}

/**
 * @param {string} id
 * @returns {Promise<SeenEvent>}
 */
export const one = (id) => call('GET', `/events/${encodeURIComponent(id)}`);

/** @param {string} id */
export const remove = (id) => call('DELETE', `/events/${encodeURIComponent(id)}`);

/** @param {string} triggeredBy @returns {string} for people */
export function what(triggeredBy) {
  if (!triggeredBy || triggeredBy === 'motion') return 'Motion';
  const words = triggeredBy.replaceAll('_', ' ');
  return words[0].toUpperCase() + words.slice(1);
}
