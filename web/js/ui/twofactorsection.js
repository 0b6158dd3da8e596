// The second factor: set an authenticator app up, look after backup codes.

import * as account from '../account.js';
import { qrPicture } from '../qr.js';
import { panel } from './accountpage.js';
import { busy } from './controls.js';
import { passwordDialog, showDialog, textDialog } from './dialog.js';
import { h, show, text } from './dom.js';
import { attempt, toast } from './toast.js';

/** @typedef {import('../account.js').User} User */

/**
 * @param {() => Promise<void>} refresh
 * @returns {{el: HTMLElement, update: (user: User) => void}}
 */
export function twoFactorSection(refresh) {
  const state = h('span.badge', { testid: 'factor-state' }, 'One moment…');
  const on = h('button.button.primary', { type: 'button', testid: 'factor-on', onclick: () => busy(on, setUp) }, 'Set up');
  const codes = h('button.button.small', { type: 'button', testid: 'factor-codes', onclick: () => busy(codes, renew) }, 'New backup codes');
  const off = h('button.button.small', { type: 'button', testid: 'factor-off', onclick: () => busy(off, switchOff) }, 'Switch off');

  async function setUp() {
    const password = await passwordDialog('Set up a second factor', 'First, it has to be you.', 'Continue');
    if (!password) return;
    const made = await attempt(() => account.beginTwoFactor(password));
    if (!made) return;
    const secret = new URL(made.totpURI).searchParams.get('secret') ?? '';
    const code = await textDialog('Scan this with your authenticator app', [
      qrPicture(made.totpURI, 'QR code for an authenticator app'),
      h('p', null, 'Or type this key into the app:'),
      h('code.secret', { testid: 'factor-secret' }, secret.replace(/(.{4})/g, '$1 ').trim()),
    ], 'The code that the app shows now', { inputMode: 'numeric', autocomplete: 'one-time-code', maxLength: 8, testid: 'factor-code' }, 'Check');
    if (!code || !await attempt(() => account.showCode(code))) return;
    toast('From now on a code is asked for as well.', 'good');
    await refresh();
    await showCodes(made.backupCodes);
  }

  async function renew() {
    const password = await passwordDialog('New backup codes', 'The old ones work no more.', 'Make new codes');
    const made = password && await attempt(() => account.newBackupCodes(password));
    if (made) await showCodes(made.backupCodes);
  }

  async function switchOff() {
    const password = await passwordDialog('Switch the second factor off?', 'Your password alone lets you in then.', 'Switch off', 'danger');
    if (password && await attempt(() => account.endTwoFactor(password))) await refresh();
  }

  for (const button of [on, codes, off]) show(button, false);
  return {
    el: panel('shield', 'Second factor', 'A code of an app on your phone, beside the password.',
      h('div.panel-end', null, state, on, codes, off)),
    update(user) {
      text(state, user.twoFactorEnabled ? 'on' : 'off');
      state.classList.toggle('good', user.twoFactorEnabled);
      show(on, !user.twoFactorEnabled);
      show(codes, user.twoFactorEnabled);
      show(off, user.twoFactorEnabled);
    },
  };
}

/** @param {string[]} codes */
function showCodes(codes) {
  return showDialog('Your backup codes', [
    h('p', null, 'Each lets you in once when you have no app at hand. Keep them where nobody else finds them: they are shown only now.'),
    h('ul.codes', { testid: 'backup-codes' }, codes.map((code) => h('li', null, h('code', null, code)))),
  ]);
}
