// Addresses outside that are told what happens: webhooks and ntfy topics.

import { call } from './api.js';

/**
 * @typedef {object} Webhook
 * @property {string} id
 * @property {string} name
 * @property {'webhook' | 'ntfy'} kind
 * @property {string} url
 * @property {string} [secret] only right after it was made
 * @property {string[]} eventTypes
 * @property {boolean} enabled
 * @property {string} [disabledReason]
 */
/**
 * @typedef {object} Delivery
 * @property {string} id
 * @property {string} type
 * @property {'queued' | 'sent' | 'failed'} status
 * @property {number} attempts
 * @property {number} [responseStatus]
 * @property {string} [error]
 * @property {string} createdAt
 */

/** @returns {Promise<Webhook[]>} */
export const list = async () => (await call('GET', '/webhooks?limit=50')).items;

/**
 * @param {{name: string, kind: string, url: string, accessToken?: string}} form
 * @returns {Promise<Webhook>}
 */
export const create = (form) => call('POST', '/webhooks', { body: form });

/** @param {string} id @param {{enabled?: boolean, name?: string}} change */
export const update = (id, change) => call('PATCH', `/webhooks/${id}`, { body: change });

/** @param {string} id */
export const remove = (id) => call('DELETE', `/webhooks/${id}`);

/** @param {string} id */
export const ping = (id) => call('POST', `/webhooks/${id}/ping`);

/** @param {string} id @returns {Promise<Delivery[]>} the newest */
export const deliveries = async (id) => (await call('GET', `/webhooks/${id}/deliveries?limit=8`)).items;

/** @param {string} id @param {string} deliveryId */
export const replay = (id, deliveryId) => call('POST', `/webhooks/${id}/deliveries/${deliveryId}/replay`);
