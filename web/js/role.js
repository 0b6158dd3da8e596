// What this tab does with its device: runs the gateway and, by role, a camera
// or a viewer.

import { Camera } from './camera.js';
import { register } from './devices.js';
import { Gateway } from './gateway.js';
import { Motion } from './motion.js';
import { Viewer } from './viewer.js';

/** @typedef {import('./devices.js').Device} Device */

const SOURCE_KEY = 'securecam.source';
const VIEWERS_KEY = 'securecam.viewers';
const MOST_VIEWERS = 20;

/** Fires "change" when the tab took or left a role and "refused" when the server ended it. */
export class Role extends EventTarget {
  /** @type {Gateway | null} */
  gateway = null;
  /** @type {Camera | null} */
  camera = null;
  /** @type {Motion | null} of the camera */
  motion = null;
  /** @type {Viewer | null} */
  viewer = null;

  /** @param {import('./tab.js').Tab} tab */
  constructor(tab) {
    super();
    this.tab = tab;
  }

  /**
   * Makes this tab a new device.
   * @param {Device['role']} role
   * @param {string} name
   * @param {string} [sourceId] for a camera
   */
  async create(role, name, sourceId = '') {
    const { device, token } = await register({ role, name });
    this.tab.adopt(device, token);
    sessionStorage.setItem(SOURCE_KEY, sourceId);
    await this.resume();
  }

  /**
   * Makes this tab a viewer: one that this browser was before and that no tab
   * is now, or a new one.
   * @param {Device[]} clients of the account
   * @param {string} name for a new one
   */
  async createViewer(clients, name) {
    const own = JSON.parse(localStorage.getItem(VIEWERS_KEY) ?? '[]');
    const resting = clients.find((d) => d.status === 'offline' && own.includes(d.id));
    if (resting) await this.takeOver(resting);
    if (this.viewer) return;
    await this.create('client', name);
    localStorage.setItem(VIEWERS_KEY, JSON.stringify([this.tab.device?.id, ...own].slice(0, MOST_VIEWERS)));
  }

  /**
   * Makes this tab a device that the account already has, unless another tab
   * of this browser is that device.
   * @param {Device} device
   */
  async takeOver(device) {
    this.tab.adopt(device, '');
    if (!await this.#claim()) return;
    try {
      await this.tab.renew();
    } catch (err) {
      this.tab.forget();
      this.dispatchEvent(new Event('change'));
      throw err;
    }
    this.#run(device);
  }

  /** Starts the role that the tab's saved device has, if any. */
  async resume() {
    const { device } = this.tab;
    if (device && await this.#claim()) this.#run(device);
  }

  /** A duplicated tab inherits the device, but the original keeps it. */
  async #claim() {
    const id = this.tab.device?.id;
    if (await this.tab.claim()) return true;
    if (this.tab.device?.id !== id) return false; // it is another one by now, or none
    this.tab.forget();
    this.dispatchEvent(new Event('change'));
    return false;
  }

  /** @param {Device} device */
  #run(device) {
    const gateway = new Gateway(this.tab);
    this.gateway = gateway;
    gateway.addEventListener('state', () => {
      if (gateway.state === 'refused') this.dispatchEvent(new Event('refused'));
    });
    if (device.role === 'camera') {
      this.camera = new Camera(this.tab, gateway);
      this.camera.start(sessionStorage.getItem(SOURCE_KEY) ?? '');
      this.motion = new Motion(this.tab, this.camera);
    } else {
      this.viewer = new Viewer(this.tab, gateway);
      this.viewer.start();
    }
    gateway.start();
    this.dispatchEvent(new Event('change'));
  }

  /**
   * @param {string} sourceId
   * @returns {Promise<void>}
   */
  async useSource(sourceId) {
    sessionStorage.setItem(SOURCE_KEY, sourceId);
    await this.camera?.use(sourceId);
  }

  /** Stops being a device; the device itself stays in the account. */
  leave() {
    this.motion?.stop();
    this.camera?.stop();
    this.viewer?.stop();
    this.gateway?.stop();
    this.camera = this.motion = this.viewer = this.gateway = null;
    this.tab.forget();
    sessionStorage.removeItem(SOURCE_KEY);
    this.dispatchEvent(new Event('change'));
  }
}
