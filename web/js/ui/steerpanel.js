// The controls of a camera that can be steered from afar, over its picture.

import { iconButton, relabel } from './controls.js';
import { h, show, text } from './dom.js';

const LABELS = { pan: 'Pan', tilt: 'Tilt', zoom: 'Zoom' };
const STEPS = 10; // presses of a key from one end to the other

/**
 * Only zoom means something in numbers: the others' units are the camera's own.
 * @param {string} name
 * @param {number} value
 * @param {number} [min]
 */
const words = (name, value, min = 0) => (name === 'zoom' && min > 0 ? `${(value / min).toFixed(1)}×` : '');

/**
 * A button, and the panel that it opens; both hidden where the camera cannot be
 * steered.
 * @param {import('../watch.js').Watch} watch
 */
export function steerPanel(watch) {
  let open = false;
  let listed = '';
  /** @type {Map<string, {slider: HTMLInputElement, value: HTMLElement, held: boolean}>} */
  const rows = new Map();
  const sliders = h('div.steer-sliders');
  const light = iconButton('light', 'Turn the light on', () => {
    watch.steering?.set('torch', !watch.steering.abilities.torch?.value);
  }, 'steer-light');
  const panel = h('div.tile-steer', {
    testid: 'steer-panel', role: 'group', 'aria-label': 'Steer the camera', ondblclick: (/** @type {Event} */ e) => e.stopPropagation(),
  }, sliders, light);
  const button = iconButton('steer', 'Steer the camera', () => {
    open = !open;
    update();
  }, 'steer');

  /** @param {string} name */
  function row(name) {
    const slider = h('input', {
      type: 'range', 'aria-label': LABELS[/** @type {keyof typeof LABELS} */ (name)], testid: `steer-${name}`,
      oninput: () => {
        parts.held = true; // what the camera says meanwhile is older
        text(parts.value, words(name, Number(slider.value), Number(slider.min)));
        watch.steering?.set(name, Number(slider.value));
      },
      onchange: () => { parts.held = false; },
    });
    const parts = { slider, value: h('output'), held: false };
    rows.set(name, parts);
    return h('label', null, h('span', null, LABELS[/** @type {keyof typeof LABELS} */ (name)]), slider, parts.value);
  }

  function update() {
    const abilities = watch.steering?.abilities ?? {};
    const possible = watch.phase === 'live' && Object.keys(abilities).length > 0;
    show(button, possible);
    show(panel, possible && open);
    button.classList.toggle('on', open);
    button.setAttribute('aria-expanded', String(open));
    if (!possible) return;
    const ranges = Object.keys(LABELS).filter((name) => abilities[name]);
    if (listed !== ranges.join()) {
      listed = ranges.join();
      rows.clear();
      sliders.replaceChildren(...ranges.map(row));
    }
    for (const [name, { slider, value, held }] of rows) {
      const ability = abilities[name];
      for (const key of /** @type {const} */ (['min', 'max', 'step'])) slider[key] = String(ability[key]);
      if (held) continue;
      slider.value = String(ability.value);
      text(value, words(name, Number(ability.value), ability.min));
    }
    show(light, Boolean(abilities.torch));
    light.classList.toggle('on', Boolean(abilities.torch?.value));
    relabel(light, 'light', abilities.torch?.value ? 'Turn the light off' : 'Turn the light on');
  }

  /** @param {number} direction */
  function zoom(direction) {
    const ability = watch.steering?.abilities.zoom;
    if (!ability) return;
    const { min = 0, max = 0 } = ability;
    ability.value = Math.min(Math.max(Number(ability.value) + direction * (max - min) / STEPS, min), max);
    watch.steering?.set('zoom', ability.value);
    update();
  }

  return { button, panel, update, keys: { '+': () => zoom(1), '-': () => zoom(-1) } };
}
