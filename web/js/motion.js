// Sees motion in a camera's picture: each small grey frame is compared with
// what the place has looked like lately. Off unless somebody switches it on.

import { ApiError, call } from './api.js';

const WIDTH = 64;
const HEIGHT = 36;
const LOOK_MS = 250;
const RENEW_MS = 30_000; // the server ends events that are not renewed
const QUIET_MS = 8_000; // without motion, until an event ends
const SETTLE_MS = 2_000; // a camera that starts adjusts its exposure
const DIFFERENT = 22; // grey levels of 256 that a still place does not change by itself
const LEARN = 0.08; // how fast the background follows
const MOST_THUMBNAIL = 40 << 10; // bytes, what the server takes
const KEY = 'securecam.motion.';

/** Fires "change" when switched or when motion began or ended, "level" with each look. */
export class Motion extends EventTarget {
  on = false;
  sensitivity = 70; // 1 to 100
  moving = false;
  level = 0; // share of the picture that differs, 0 to 1
  problem = '';

  #tab;
  #camera;
  #video = document.createElement('video');
  #canvas = Object.assign(document.createElement('canvas'), { width: WIDTH, height: HEIGHT });
  /** @type {Float32Array | null} */
  #background = null;
  /** @type {Worker | null} */
  #ticker = null;
  #settled = 0;
  #hits = 0;
  #lastMotion = 0;
  #lastTold = 0;
  #telling = false;
  #token = ''; // of the camera that this was, once it has stopped

  /**
   * @param {import('./tab.js').Tab} tab
   * @param {import('./camera.js').Camera} camera
   */
  constructor(tab, camera) {
    super();
    this.#tab = tab;
    this.#camera = camera;
    this.#video.muted = true;
    this.#video.playsInline = true;
    const saved = JSON.parse(localStorage.getItem(KEY + tab.device?.id) ?? '{}');
    this.sensitivity = saved.sensitivity ?? this.sensitivity;
    if (saved.on) this.set(true);
  }

  /** @param {boolean} on */
  set(on) {
    if (this.on === on) return;
    this.on = on;
    this.problem = '';
    this.#save();
    if (on) {
      this.#ticker = new Worker(new URL('./ticker.js', import.meta.url));
      this.#ticker.onmessage = () => this.#look();
      this.#ticker.postMessage(LOOK_MS);
    } else {
      this.#halt();
    }
    this.dispatchEvent(new Event('change'));
  }

  /** @param {number} sensitivity */
  adjust(sensitivity) {
    this.sensitivity = sensitivity;
    this.#save();
  }

  /** @returns {number} the level from which there is motion: 0.2 down to 0.002 */
  get threshold() {
    return 0.2 * 0.01 ** ((this.sensitivity - 1) / 99);
  }

  /** For good: the tab is another device next. */
  stop() {
    this.#token = this.#tab.token;
    this.on = false;
    this.#halt();
  }

  #halt() {
    this.#ticker?.terminate();
    this.#ticker = null;
    this.#video.srcObject = null;
    this.#background = null;
    this.level = 0;
    if (this.moving && !this.#telling) this.#end(); // else when the server has heard that it began
  }

  #save() {
    localStorage.setItem(KEY + this.#tab.device?.id, JSON.stringify({ on: this.on, sensitivity: this.sensitivity }));
  }

  #look() {
    const stream = this.#camera.source?.stream ?? null;
    if (this.#video.srcObject !== stream) {
      this.#video.srcObject = stream;
      this.#background = null;
      this.#settled = Date.now() + SETTLE_MS;
      if (stream) this.#video.play().catch(() => {});
    }
    if (!stream || !this.#video.videoWidth) return;
    this.level = this.#difference();
    const now = Date.now();
    if (now < this.#settled) return;
    this.#hits = this.level >= this.threshold ? this.#hits + 1 : 0;
    if (this.#hits >= 2) { // one alone is a flicker
      this.#lastMotion = now;
      if (!this.moving || now - this.#lastTold > RENEW_MS) this.#begin(now);
    } else if (this.moving && !this.#telling && now - this.#lastMotion > QUIET_MS) {
      this.#end();
    }
    this.dispatchEvent(new Event('level'));
  }

  /** @returns {number} the share of the picture that is not as it has been */
  #difference() {
    const context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext('2d', { willReadFrequently: true }));
    context.drawImage(this.#video, 0, 0, WIDTH, HEIGHT);
    const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
    const grey = new Float32Array(WIDTH * HEIGHT);
    let mean = 0;
    for (let i = 0; i < grey.length; i++) {
      grey[i] = 0.3 * data[4 * i] + 0.59 * data[4 * i + 1] + 0.11 * data[4 * i + 2];
      mean += grey[i] / grey.length;
    }
    const before = this.#background;
    if (!before) {
      this.#background = grey;
      return 0;
    }
    let was = 0;
    for (const value of before) was += value / before.length;
    let changed = 0;
    for (let i = 0; i < grey.length; i++) {
      // A cloud or a lamp changes all of it alike: that is no motion.
      if (Math.abs(grey[i] - mean - (before[i] - was)) > DIFFERENT) changed++;
      before[i] += LEARN * (grey[i] - before[i]);
    }
    return changed / grey.length;
  }

  /** @param {number} now */
  async #begin(now) {
    if (this.#telling) return;
    this.#telling = true;
    const first = !this.moving;
    this.#lastTold = now;
    try {
      const body = first ? { triggeredBy: 'motion', thumbnail: await this.#thumbnail() } : {};
      await this.#tab.call('POST', '/events/motion/start', { body });
      this.problem = '';
      this.moving = true;
    } catch (err) {
      this.problem = err instanceof Error ? err.message : '';
      this.#lastTold = now - RENEW_MS + 5_000; // soon again
    }
    this.#telling = false;
    if (!this.on && this.moving) this.#end();
    this.dispatchEvent(new Event('change'));
  }

  async #end() {
    this.moving = false;
    this.#hits = 0;
    this.#telling = true;
    try {
      await call('POST', '/events/motion/end', { keepalive: true, token: this.#token || this.#tab.token });
    } catch (err) {
      // Without the call the event ends by itself, a little later.
      if (!(err instanceof ApiError) || err.status !== 404) this.problem = err instanceof Error ? err.message : '';
    }
    this.#telling = false;
    this.dispatchEvent(new Event('change'));
  }

  /** @returns {Promise<string | undefined>} a small JPEG, base64 */
  async #thumbnail() {
    const { videoWidth, videoHeight } = this.#video;
    for (const [width, quality] of [[480, 0.7], [320, 0.6], [240, 0.5]]) {
      const canvas = Object.assign(document.createElement('canvas'), { width, height: Math.round(width * videoHeight / videoWidth) });
      canvas.getContext('2d')?.drawImage(this.#video, 0, 0, canvas.width, canvas.height);
      const url = canvas.toDataURL('image/jpeg', quality);
      const data = url.slice(url.indexOf(',') + 1);
      if (data.length * 0.75 <= MOST_THUMBNAIL) return data;
    }
    return undefined;
  }
}
