// This tab as a viewer: the cameras that it watches, several at once if wanted.

import { Watch } from './watch.js';

/** @typedef {import('./devices.js').Device} Device */

const HEARTBEAT_MS = 15_000;

/** Fires "change" when a watch was added or removed. */
export class Viewer extends EventTarget {
  /** @type {Map<string, Watch>} by camera id, in the order of their start */
  watches = new Map();
  #tab;
  #gateway;
  #timer = 0;

  /**
   * @param {import('./tab.js').Tab} tab
   * @param {import('./gateway.js').Gateway} gateway
   */
  constructor(tab, gateway) {
    super();
    this.#tab = tab;
    this.#gateway = gateway;
  }

  start() {
    this.#timer = setInterval(() => this.#heartbeat(), HEARTBEAT_MS);
  }

  stop() {
    clearInterval(this.#timer);
    for (const watch of this.watches.values()) watch.end();
    this.watches.clear();
  }

  /**
   * Starts watching; a watch of that camera that is over makes room.
   * @param {Device} camera
   * @returns {Watch}
   */
  watch(camera) {
    const running = this.watches.get(camera.id);
    if (running && !running.over) return running;
    const watch = new Watch(this.#tab, this.#gateway, camera);
    this.watches.set(camera.id, watch);
    watch.run();
    this.dispatchEvent(new Event('change'));
    return watch;
  }

  /** @param {string} cameraId */
  close(cameraId) {
    this.watches.get(cameraId)?.end();
    this.watches.delete(cameraId);
    this.dispatchEvent(new Event('change'));
  }

  async #heartbeat() {
    const path = `/devices/${this.#tab.device?.id}/heartbeat`;
    const answer = await this.#tab.call('POST', path).catch(() => null);
    if (answer?.device) this.#tab.update(answer.device);
  }
}
