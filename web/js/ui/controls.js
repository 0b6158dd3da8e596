// Small controls that several pages use.

import { h } from './dom.js';
import { icon } from './icons.js';

/**
 * A round button with an icon only; its label is read and shown on hover.
 * @param {string} name icon
 * @param {string} label
 * @param {() => void} onclick
 * @param {string} [testid]
 * @returns {HTMLButtonElement}
 */
export function iconButton(name, label, onclick, testid) {
  return h('button.icon-button', { type: 'button', title: label, 'aria-label': label, onclick, testid }, icon(name));
}

/**
 * @param {HTMLButtonElement} button
 * @param {string} name icon
 * @param {string} label
 */
export function relabel(button, name, label) {
  if (button.title === label) return;
  button.title = label;
  button.setAttribute('aria-label', label);
  button.replaceChildren(icon(name));
}

/**
 * Runs an action from a button, which is busy meanwhile. Errors are toasted
 * by the caller's action.
 * @param {HTMLButtonElement} button
 * @param {() => Promise<unknown>} action
 */
export async function busy(button, action) {
  button.disabled = true;
  button.classList.add('busy');
  try {
    await action();
  } finally {
    button.disabled = false;
    button.classList.remove('busy');
  }
}

/**
 * A row of choices of which one is on (radio buttons). A choice just made
 * stays on, whatever update says, until onchange has done its work.
 * @template {string} T
 * @param {object} options
 * @param {string} options.label read by screen readers
 * @param {{value: T, label: string}[]} options.choices
 * @param {(value: T) => Promise<void>} options.onchange
 * @param {string} [options.testid]
 * @returns {{el: HTMLElement, update: (value: T) => void}}
 */
export function segmented({ label, choices, onchange, testid }) {
  const name = `s${Math.random().toString(36).slice(2)}`;
  const inputs = choices.map(({ value }) => h('input', {
    type: 'radio', name, value, onchange: () => choose(value),
  }));
  let told = '';
  let choosing = 0;
  let last = Promise.resolve(); // one after the other, or the first might come last
  const render = () => {
    for (const input of inputs) if (choosing === 0) input.checked = input.value === told;
  };
  const choose = async (/** @type {T} */ value) => {
    choosing++;
    const mine = last.then(() => onchange(value));
    last = mine.catch(() => {});
    try {
      await mine;
    } finally {
      choosing--;
      render();
    }
  };
  const el = h('fieldset.segmented', { testid }, h('legend.sr-only', null, label),
    choices.map((choice, i) => h('label', null, inputs[i], h('span', null, choice.label))));
  return {
    el,
    update(value) {
      told = value;
      render();
    },
  };
}

/** The words for a camera's recording policy. */
export const POLICIES = /** @type {const} */ ([
  { value: 'off', label: 'Off' },
  { value: 'session', label: 'While watched' },
  { value: 'continuous', label: 'Always' },
]);

/**
 * @param {string} iconName
 * @param {string} title
 * @param {string} body
 * @param {...any} actions
 * @returns {HTMLElement}
 */
export function emptyState(iconName, title, body, ...actions) {
  return h('div.empty', null, h('span.empty-icon', null, icon(iconName)), h('h3', null, title), h('p', null, body), actions);
}

/** @returns {HTMLElement} a dot and a word for presence */
export function presence() {
  return h('span.presence', null, h('i', { 'aria-hidden': 'true' }), h('span'));
}

/**
 * @param {HTMLElement} el
 * @param {boolean} online
 * @param {string} words
 */
export function setPresence(el, online, words) {
  el.classList.toggle('online', online);
  const label = /** @type {HTMLElement} */ (el.lastElementChild);
  if (label.textContent !== words) label.textContent = words;
}
