// Steering a camera from afar: pan, tilt, zoom and light, as far as the camera
// has them. A viewer says {"steer": {"zoom": 2}}, and with an empty object asks
// what there is; the camera answers with {"steering": {"zoom": {"min": 1, "max":
// 4, "step": 0.1, "value": 2}, "torch": {"value": false}}}, which all viewers get
// when it changed.

/** @typedef {import('./messages.js').Messages} Messages */
/** @typedef {{value: number | boolean, min?: number, max?: number, step?: number}} Ability */

const RANGES = ['pan', 'tilt', 'zoom'];
const TORCH = 'torch';
const PAUSE_MS = 100; // between two words of a slider that is being moved

/** A viewer's side. Fires "change" when abilities changed. */
export class Steering extends EventTarget {
  /** @type {Record<string, Ability>} what the camera can, and how it stands */
  abilities = {};
  #messages;
  /** @type {Record<string, number | boolean>} not said yet */
  #wanted = {};
  #timer = 0;

  /** @param {Messages} messages */
  constructor(messages) {
    super();
    this.#messages = messages;
    messages.addEventListener('open', () => messages.tell({ steer: {} }));
    messages.addEventListener('message', (e) => {
      const { steering } = /** @type {CustomEvent} */ (e).detail.body;
      if (!steering || typeof steering !== 'object') return;
      this.abilities = Object.fromEntries(Object.entries(steering).filter(([name, ability]) => known(name, ability)));
      this.dispatchEvent(new Event('change'));
    });
  }

  /**
   * @param {string} name
   * @param {number | boolean} value
   */
  set(name, value) {
    this.#wanted[name] = value;
    if (this.abilities[name]) this.abilities[name].value = value; // what the camera says of it is yet to come
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#messages.tell({ steer: this.#wanted });
      this.#wanted = {};
    }, PAUSE_MS);
  }
}

/**
 * What comes from outside is looked at before it is shown.
 * @param {string} name
 * @param {any} ability
 */
function known(name, ability) {
  if (name === TORCH) return typeof ability?.value === 'boolean';
  return RANGES.includes(name) && ['min', 'max', 'step', 'value'].every((key) => Number.isFinite(ability?.[key])) && ability.max > ability.min;
}

/** The camera's side: does to a track what its viewers say. */
export class Steered {
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {Set<Messages>} */
  #lines = new Set();
  /** @type {Record<string, number | boolean>} not done yet; the last word counts */
  #wanted = {};
  /** @type {Record<string, number | boolean>} done: what is not said again might be undone */
  #done = {};
  #busy = false;

  /** @param {MediaStreamTrack} track from now on */
  use(track) {
    this.#track = track;
    this.#wanted = {};
    this.#done = {};
    this.#tellAll();
  }

  /** @param {Messages} line to one viewer or to all of them */
  join(line) {
    for (const old of this.#lines) if (old.over) this.#lines.delete(old);
    this.#lines.add(line);
    line.addEventListener('open', () => line.tell(this.#state()));
    line.addEventListener('message', (e) => {
      const { from, body } = /** @type {CustomEvent} */ (e).detail;
      if (!body.steer || typeof body.steer !== 'object') return;
      if (Object.keys(body.steer).length === 0) line.tell(this.#state(), from);
      else this.#obey(body.steer);
    });
  }

  /** @returns {Record<string, Ability>} */
  get #abilities() {
    /** @type {any} */
    const can = this.#track?.getCapabilities?.() ?? {};
    /** @type {any} */
    const is = this.#track?.getSettings() ?? {};
    /** @type {Record<string, Ability>} */
    const abilities = {};
    for (const name of RANGES) {
      const { min, max, step } = can[name] ?? {};
      if (max > min && Number.isFinite(is[name])) abilities[name] = { min, max, step: step || (max - min) / 100, value: is[name] };
    }
    if (can[TORCH] === true) abilities[TORCH] = { value: Boolean(is[TORCH]) };
    return abilities;
  }

  #state() {
    return { steering: this.#abilities };
  }

  #tellAll() {
    for (const line of this.#lines) line.tell(this.#state());
  }

  /** @param {Record<string, unknown>} steer */
  async #obey(steer) {
    const abilities = this.#abilities;
    for (const [name, value] of Object.entries(steer)) {
      const { min, max } = Object.hasOwn(abilities, name) ? abilities[name] : {};
      if (min !== undefined && max !== undefined && typeof value === 'number') this.#wanted[name] = Math.min(Math.max(value, min), max);
      else if (name === TORCH && abilities[TORCH] && typeof value === 'boolean') this.#wanted[name] = value;
    }
    if (this.#busy) return;
    this.#busy = true;
    while (Object.keys(this.#wanted).length > 0) {
      this.#done = { ...this.#done, ...this.#wanted };
      this.#wanted = {};
      // Alone: Chromium takes these with others of size and rate not at all.
      // @ts-ignore: not yet in every browser's types
      await this.#track?.applyConstraints({ advanced: [this.#done] }).catch(() => {}); // the answer says what is
    }
    this.#busy = false;
    this.#tellAll();
  }
}
