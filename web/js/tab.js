// The device that this tab is. Each tab keeps its own in sessionStorage, so
// two tabs of one browser can be a camera and a viewer of the same account.

import { ApiError, call } from './api.js';
import { newToken } from './devices.js';

/** @typedef {import('./devices.js').Device} Device */

const KEY = 'securecam.device';
const CLAIM_WAIT_MS = 5_000; // a page that is left lets go at once, but a busy machine takes its time

export class Tab extends EventTarget {
  /** @type {Device | null} */
  device = null;
  #token = '';
  #release = () => {};

  constructor() {
    super();
    try {
      const saved = JSON.parse(sessionStorage.getItem(KEY) ?? 'null');
      if (saved?.device?.id && saved.token) {
        this.device = saved.device;
        this.#token = saved.token;
      }
    } catch {
      sessionStorage.removeItem(KEY);
    }
  }

  /** @returns {string} */
  get token() {
    return this.#token;
  }

  /**
   * @param {Device} device
   * @param {string} token
   */
  adopt(device, token) {
    this.device = device;
    this.#token = token;
    this.#save();
  }

  /**
   * Takes what the server said of this device, unless it has said something newer.
   * @param {Device} device
   */
  update(device) {
    if (!this.device || device.id !== this.device.id || Date.parse(device.updatedAt) < Date.parse(this.device.updatedAt)) return;
    const changed = device.name !== this.device.name || device.recordingPolicy !== this.device.recordingPolicy;
    this.device = device;
    this.#save();
    if (changed) this.dispatchEvent(new Event('change'));
  }

  forget() {
    this.device = null;
    this.#token = '';
    this.#release();
    sessionStorage.removeItem(KEY);
  }

  /**
   * Takes this browser's lock on the device: a duplicated tab inherits
   * sessionStorage, and two tabs must not speak as one device.
   * @returns {Promise<boolean>} whether this tab may be the device, and is it still
   */
  async claim() {
    if (!navigator.locks || !this.device) return true;
    const wait = AbortSignal.timeout(CLAIM_WAIT_MS);
    const { id } = this.device;
    return new Promise((resolve) => {
      navigator.locks.request(`securecam-device-${id}`, { signal: wait }, () => {
        if (this.device?.id !== id) {
          resolve(false);
          return undefined;
        }
        return new Promise((release) => {
          this.#release = () => release(undefined);
          resolve(true);
        });
      }).catch(() => resolve(false));
    });
  }

  /**
   * Gets a new device token with the account's session.
   * @returns {Promise<string>}
   */
  async renew() {
    if (!this.device) throw new ApiError(401, 'unauthenticated', 'This tab is no device any more.');
    this.#token = (await newToken(this.device.id)).token;
    this.#save();
    return this.#token;
  }

  /**
   * Calls the server as this device; renews an expired token once.
   * @param {string} method
   * @param {string} path
   * @param {import('./api.js').CallOptions} [options]
   * @returns {Promise<any>}
   */
  async call(method, path, options = {}) {
    try {
      return await call(method, path, { ...options, token: this.#token });
    } catch (err) {
      if (!(err instanceof ApiError) || err.status !== 401 || options.keepalive) throw err;
      return call(method, path, { ...options, token: await this.renew() });
    }
  }

  #save() {
    sessionStorage.setItem(KEY, JSON.stringify({ device: this.device, token: this.#token }));
  }
}
