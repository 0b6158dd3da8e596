// The account's devices and which of them may talk to each other.

import { ApiError, call } from './api.js';
import { Latest } from './latest.js';
import { PLATFORM as ALERTS } from './push.js';

/**
 * @typedef {object} Device
 * @property {string} id
 * @property {string} name
 * @property {'camera' | 'client'} role
 * @property {'online' | 'offline'} status
 * @property {'off' | 'session' | 'continuous'} recordingPolicy
 * @property {string} [platform]
 * @property {string} [lastSeenAt]
 * @property {string} createdAt
 * @property {string} updatedAt
 */
/** @typedef {{id: string, cameraDeviceId: string, clientDeviceId: string, status: string}} Link */
/** @typedef {{device: Device, token: string, tokenExpiresAt: string}} Registration */

const PAGE = 200;
const REFRESH_MS = 5_000;

/**
 * @param {{name: string, role: Device['role']}} form
 * @returns {Promise<Registration>}
 */
export function register(form) {
  return call('POST', '/devices/register', { body: { ...form, platform: platform(), appVersion: 'web' } });
}

/**
 * Issues a new token for a device; its old tokens end.
 * @param {string} id
 * @returns {Promise<{token: string}>}
 */
export function newToken(id) {
  return call('POST', `/devices/${id}/token`);
}

/**
 * @param {string} id
 * @param {Partial<Pick<Device, 'name' | 'recordingPolicy'>>} change
 * @returns {Promise<Device>}
 */
export async function update(id, change) {
  const answer = await call('PATCH', `/devices/${id}`, { body: change });
  return answer.device ?? answer;
}

/** @param {string} id */
export function remove(id) {
  return call('DELETE', `/devices/${id}`);
}

/**
 * @param {string} cameraDeviceId
 * @param {string} clientDeviceId
 */
export function link(cameraDeviceId, clientDeviceId) {
  return call('POST', '/device-links', { body: { cameraDeviceId, clientDeviceId } });
}

/** @returns {string} the browser and system, for people */
function platform() {
  const ua = navigator.userAgent;
  const browser = /Edg\//.test(ua) ? 'Edge' : /Firefox\//.test(ua) ? 'Firefox'
    : /Chrom(e|ium)\//.test(ua) ? 'Chrome' : /Safari\//.test(ua) ? 'Safari' : 'Browser';
  const system = /Android/.test(ua) ? 'Android' : /iPhone|iPad/.test(ua) ? 'iOS'
    : /Windows/.test(ua) ? 'Windows' : /Mac OS/.test(ua) ? 'macOS' : /Linux/.test(ua) ? 'Linux' : '';
  return system ? `${browser} on ${system}` : browser;
}

/**
 * Reads every page of a list.
 * @param {string} path
 * @returns {Promise<any[]>}
 */
async function all(path) {
  const items = [];
  let cursor = '';
  do {
    const page = await call('GET', `${path}?limit=${PAGE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    items.push(...page.items);
    cursor = page.nextCursor ?? '';
  } while (cursor);
  return items;
}

/**
 * The account's devices and links, kept fresh while the page is visible.
 * Fires "change" after every refresh and "signedout" when the session ended.
 */
export class Roster extends EventTarget {
  /** @type {Device[] | null} null until the first answer */
  devices = null;
  /** @type {Link[]} */
  links = [];
  #latest = new Latest();
  #timer = 0;
  #onVisible = () => { if (!document.hidden) this.refresh(); };

  start() {
    document.addEventListener('visibilitychange', this.#onVisible);
    this.#timer = setInterval(() => { if (!document.hidden) this.refresh(); }, REFRESH_MS);
    return this.refresh();
  }

  stop() {
    document.removeEventListener('visibilitychange', this.#onVisible);
    clearInterval(this.#timer);
    this.#latest.forget();
    this.devices = null;
    this.links = [];
  }

  async refresh() {
    const due = this.#latest.ask();
    try {
      const [devices, links] = await Promise.all([all('/devices'), all('/device-links')]);
      if (!due()) return;
      this.devices = devices;
      this.links = links;
    } catch (err) {
      if (err instanceof ApiError && err.status === 401 && due()) this.dispatchEvent(new Event('signedout'));
      return;
    }
    this.dispatchEvent(new Event('change'));
  }

  /** Waits for the first answer, if there is any. */
  async known() {
    if (!this.devices) await this.refresh();
  }

  /** @returns {Device[]} those that can be watched first */
  get cameras() {
    const cameras = (this.devices ?? []).filter((d) => d.role === 'camera');
    return cameras.sort((a, b) => Number(b.status === 'online') - Number(a.status === 'online'));
  }

  /** @returns {Device[]} */
  get clients() {
    return (this.devices ?? []).filter((d) => d.role === 'client' && d.platform !== ALERTS);
  }

  /** @returns {Device[]} browsers that are told of events while no page is open */
  get alerted() {
    return (this.devices ?? []).filter((d) => d.platform === ALERTS);
  }

  /**
   * @param {string} id
   * @returns {Device | undefined}
   */
  find(id) {
    return this.devices?.find((d) => d.id === id);
  }

  /**
   * @param {string} id of a camera that may be gone
   * @returns {string} for people
   */
  nameOf(id) {
    return this.find(id)?.name ?? (this.devices ? 'Removed camera' : 'One moment…');
  }

  /**
   * @param {string} cameraId
   * @param {string} clientId
   * @returns {boolean}
   */
  linked(cameraId, clientId) {
    return this.links.some((l) => l.status === 'active'
      && l.cameraDeviceId === cameraId && l.clientDeviceId === clientId);
  }
}
