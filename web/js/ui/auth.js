// The first page: what SecureCam is, and the ways in.

import { forgotPassword, resetPassword, showCode, signIn, signUp } from '../account.js';
import * as passkeys from '../passkeys.js';
import { explain, wordsFor } from '../words.js';
import { busy } from './controls.js';
import { h, show, text } from './dom.js';
import { icon } from './icons.js';

/** @typedef {import('../account.js').User} User */
/** @typedef {'in' | 'up' | 'forgot' | 'code' | 'reset'} Mode */

/** @type {Record<Mode, {title: string, submit: string, lead?: string, question?: string, other: string, to: Mode}>} */
const MODES = {
  in: { title: 'Sign in', submit: 'Sign in', question: 'New here?', other: 'Create an account', to: 'up' },
  up: { title: 'Create your account', submit: 'Create account', question: 'Already have an account?', other: 'Sign in', to: 'in' },
  forgot: {
    title: 'Forgot your password?', submit: 'Send me a link', lead: 'We send a link to your address. It leads to a page where you choose a new password.',
    other: 'Back to signing in', to: 'in',
  },
  code: {
    title: 'One more step', submit: 'Continue', lead: 'Enter the code that your authenticator app shows, or one of your backup codes.',
    other: 'Back to signing in', to: 'in',
  },
  reset: { title: 'Choose a new password', submit: 'Save password', lead: 'Every browser that is signed in now has to sign in again.', other: 'Back to signing in', to: 'in' },
};

/**
 * @param {(user: User) => void} onSignedIn
 * @returns {{el: HTMLElement}}
 */
export function authPage(onSignedIn) {
  return {
    el: h('main.welcome', null,
      h('section.welcome-story', null,
        h('img.welcome-art', { src: '/sim/icons/lens.svg', alt: '', width: 88, height: 88 }),
        h('h1', null, 'Any screen can be a camera. Any screen can watch.'),
        h('p.lead', null, 'SecureCam turns the browsers and phones you already have into cameras, '
          + 'and shows them live to nobody but you.'),
        h('ul.welcome-points', null,
          point('lock', 'Runs on your own server, with no cloud in between.'),
          point('view', 'Live as it happens, recorded while it runs.'),
          point('camera', 'One sign-up, then a single click to be a camera.'))),
      authCard(onSignedIn)),
  };
}

/**
 * @param {string} name
 * @param {string} words
 */
function point(name, words) {
  return h('li', null, icon(name), words);
}

/** @param {(user: User) => void} onSignedIn */
function authCard(onSignedIn) {
  /** @type {Mode} */
  let mode = 'in';
  const query = new URLSearchParams(location.search);
  const token = location.hash === '#/reset-password' ? query.get('token') ?? '' : '';
  const name = field('Name', { name: 'name', autocomplete: 'name', maxLength: 80, testid: 'auth-name' });
  const email = field('E-mail', { name: 'email', type: 'email', autocomplete: 'email', testid: 'auth-email' });
  const password = field('Password', { name: 'password', type: 'password', minLength: 8, maxLength: 128, testid: 'auth-password' });
  const code = field('Code', { name: 'code', autocomplete: 'one-time-code', maxLength: 20, testid: 'auth-code' });
  const trust = h('label.check', null, h('input', { type: 'checkbox', testid: 'auth-trust' }), 'Do not ask in this browser for 30 days');
  const title = h('h2');
  const lead = h('p.form-lead');
  const error = h('p.form-error', { role: 'alert', testid: 'auth-error', hidden: true });
  const note = h('p.form-note', { role: 'status', testid: 'auth-note', hidden: true });
  const submit = h('button.button.primary.wide', { type: 'submit', testid: 'auth-submit' });
  const forgot = h('button.text-button', { type: 'button', testid: 'auth-forgot', onclick: () => setMode('forgot') }, 'Forgot your password?');
  const byPasskey = h('button.button.wide', { type: 'button', testid: 'auth-passkey', onclick: () => run(byPasskey, usePasskey) },
    icon('key'), 'Sign in with a passkey');
  const question = h('span');
  const other = h('button.text-button', { type: 'button', testid: 'auth-toggle', onclick: () => setMode(MODES[mode].to) });
  const input = (/** @type {HTMLElement} */ f) => /** @type {HTMLInputElement} */ (f.querySelector('input'));

  /** @param {Mode} next */
  function setMode(next) {
    if (mode === 'reset') leaveLetter();
    mode = next;
    const words = MODES[mode];
    show(name, mode === 'up');
    show(email, mode !== 'code' && mode !== 'reset');
    show(password, mode === 'in' || mode === 'up' || mode === 'reset');
    show(code, mode === 'code');
    show(trust, mode === 'code');
    show(forgot, mode === 'in');
    show(byPasskey, mode === 'in' && passkeys.available());
    for (const f of [name, email, password, code]) input(f).required = !f.hidden;
    input(password).autocomplete = mode === 'in' ? 'current-password' : 'new-password';
    input(password).placeholder = mode === 'in' ? '' : 'At least 8 characters';
    input(password).value = mode === 'in' ? input(password).value : '';
    text(title, words.title);
    text(lead, words.lead ?? '');
    show(lead, Boolean(words.lead));
    text(submit, words.submit);
    text(question, words.question ?? '');
    text(other, words.other);
    say('', '');
    if (mode === 'code') input(code).focus();
  }

  /** @param {string} wrong @param {string} good */
  function say(wrong, good) {
    text(error, wrong);
    show(error, wrong !== '');
    text(note, good);
    show(note, good !== '');
  }

  async function usePasskey() {
    onSignedIn(await passkeys.signIn());
  }

  /** @returns {Promise<void>} */
  async function send() {
    const form = { email: input(email).value.trim(), password: input(password).value };
    switch (mode) {
      case 'up': {
        const user = await signUp({ ...form, name: input(name).value.trim() });
        if (user) return onSignedIn(user);
        setMode('in');
        return say('', 'Open the letter that we have sent to your address, then sign in.');
      }
      case 'forgot':
        await forgotPassword(form.email);
        return say('', 'If there is an account with this address, a letter is on its way. Its link works for an hour.');
      case 'code':
        return onSignedIn(await showCode(input(code).value, input(trust).checked));
      case 'reset':
        await resetPassword(token, form.password);
        setMode('in');
        return say('', 'Your password is changed. Sign in with the new one.');
      default: {
        const user = await signIn(form);
        if (user) return onSignedIn(user);
        input(code).value = '';
        return setMode('code');
      }
    }
  }

  /** @param {HTMLButtonElement} button @param {() => Promise<void>} action */
  async function run(button, action) {
    say('', '');
    await busy(button, async () => {
      try {
        await action();
      } catch (err) {
        const wrong = explain(err);
        if (/** @type {any} */ (err).code === 'TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE'
          || /** @type {any} */ (err).code === 'INVALID_TWO_FACTOR_COOKIE') setMode('in');
        say(wrong, '');
      }
    });
  }

  /** @param {SubmitEvent} event */
  function onsubmit(event) {
    event.preventDefault();
    run(submit, send);
  }

  setMode(token ? 'reset' : 'in');
  if (!token && query.get('error') && location.hash === '#/reset-password') {
    setMode('forgot');
    say(wordsFor(query.get('error') ?? ''), '');
    leaveLetter();
  }
  return h('section.card.auth-card', null,
    h('form', { onsubmit, testid: 'auth-form' }, title, lead, note, name, email, password, code, trust, error, submit, byPasskey,
      h('p.auth-switch', null, question, ' ', other), h('p.auth-switch', null, forgot)));
}

/** A token does not belong into the address of a page that stays open. */
function leaveLetter() {
  history.replaceState(null, '', `${location.pathname}#/`);
}

/**
 * @param {string} label
 * @param {Record<string, any>} props
 * @returns {HTMLElement}
 */
function field(label, props) {
  return h('label.field', null, h('span', null, label), h('input', { required: true, ...props }));
}
