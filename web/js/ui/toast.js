// Short messages at the edge of the page.

import { explain } from '../words.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { iconButton } from './controls.js';

const SHOWN_MS = 6_000;
const MOST = 3;

const list = h('div.toasts', { role: 'status', 'aria-live': 'polite' });

/** @param {HTMLElement} root */
export function mountToasts(root) {
  root.append(list);
}

/**
 * @param {string} message
 * @param {'info' | 'good' | 'bad'} [kind]
 */
export function toast(message, kind = 'info') {
  const name = { info: 'info', good: 'check', bad: 'alert' }[kind];
  const el = h(`div.toast.${kind}`, { testid: 'toast' }, icon(name), h('p', null, message));
  const close = () => el.remove();
  el.append(iconButton('close', 'Dismiss', close));
  list.append(el);
  while (list.children.length > MOST) list.firstElementChild?.remove();
  setTimeout(close, SHOWN_MS);
}

/**
 * Runs an action; a failure becomes a toast.
 * @template T
 * @param {() => Promise<T>} action
 * @returns {Promise<T | undefined>}
 */
export async function attempt(action) {
  try {
    return await action();
  } catch (err) {
    toast(explain(err), 'bad');
    return undefined;
  }
}
