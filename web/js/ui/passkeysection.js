// Passkeys: a finger, a face or a key in the place of the password.

import { ago } from '../format.js';
import { Latest } from '../latest.js';
import * as passkeys from '../passkeys.js';
import { panel } from './accountpage.js';
import { busy, iconButton } from './controls.js';
import { confirmDialog, textDialog } from './dialog.js';
import { h, show } from './dom.js';
import { icon } from './icons.js';
import { attempt, toast } from './toast.js';

/** @typedef {import('../passkeys.js').Passkey} Passkey */

/** @returns {{el: HTMLElement, refresh: () => Promise<void>}} */
export function passkeySection() {
  const list = h('ul.entries', { testid: 'passkeys' });
  const latest = new Latest();
  const add = h('button.button', {
    type: 'button', testid: 'passkey-add', onclick: () => busy(add, async () => {
      const name = await textDialog('Add a passkey', [h('p', null, 'Give it a name that tells you which one it is.')],
        'Name', { value: 'This device', maxLength: 80 }, 'Continue');
      if (!name || !await attempt(() => passkeys.add(name))) return;
      toast('You can sign in with it from now on.', 'good');
      await refresh();
    }),
  }, icon('key'), 'Add a passkey');
  show(list, false);
  const cannot = h('p.hint', null, 'This browser offers passkeys only on https pages, or on this very machine as localhost.');
  show(add, passkeys.available());
  show(cannot, !passkeys.available());

  async function refresh() {
    const due = latest.ask();
    const all = await attempt(passkeys.list);
    if (!all || !due()) return;
    list.replaceChildren(...all.map((key) => row(key, refresh)));
    show(list, all.length > 0);
  }
  return {
    el: panel('key', 'Passkeys', 'Sign in with a finger, a face or a security key, and without a password.', list,
      h('div.panel-end', null, cannot, add)),
    refresh,
  };
}

/**
 * @param {Passkey} key
 * @param {() => Promise<void>} refresh
 */
function row(key, refresh) {
  const rename = iconButton('edit', 'Rename', async () => {
    const name = await textDialog('Rename the passkey', [], 'Name', { value: key.name, maxLength: 80 }, 'Save');
    if (name && await attempt(() => passkeys.rename(key.id, name))) await refresh();
  }, 'passkey-rename');
  const remove = iconButton('trash', 'Delete', async () => {
    if (await confirmDialog(`Delete ${key.name || 'this passkey'}?`, 'It signs nobody in any more.', 'Delete')
      && await attempt(() => passkeys.remove(key.id))) await refresh();
  }, 'passkey-remove');
  return h('li', null, icon('key'),
    h('p', null, h('strong', null, key.name || 'Passkey'),
      h('span', null, key.lastUsedAt ? `used ${ago(key.lastUsedAt)}` : `added ${ago(key.createdAt)}, not used yet`)),
    rename, remove);
}
