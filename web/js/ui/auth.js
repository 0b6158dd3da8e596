// The first page: what SecureCam is, and the way in.

import { signIn, signUp } from '../account.js';
import { explain } from '../words.js';
import { busy } from './controls.js';
import { h, show, text } from './dom.js';
import { icon } from './icons.js';

/**
 * @param {(user: import('../account.js').User) => void} onSignedIn
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

/** @param {(user: import('../account.js').User) => void} onSignedIn */
function authCard(onSignedIn) {
  let joining = false;
  const name = field('Name', { name: 'name', autocomplete: 'name', maxLength: 80, testid: 'auth-name' });
  const email = field('E-mail', { name: 'email', type: 'email', autocomplete: 'email', testid: 'auth-email' });
  const password = field('Password', { name: 'password', type: 'password', minLength: 8, maxLength: 128, testid: 'auth-password' });
  const title = h('h2');
  const error = h('p.form-error', { role: 'alert', testid: 'auth-error', hidden: true });
  const submit = h('button.button.primary.wide', { type: 'submit', testid: 'auth-submit' });
  const question = h('span');
  const other = h('button.text-button', { type: 'button', testid: 'auth-toggle', onclick: () => setJoining(!joining) });
  const [nameInput, emailInput, passwordInput] = [name, email, password].map((f) => /** @type {HTMLInputElement} */ (f.querySelector('input')));

  /** @param {boolean} value */
  function setJoining(value) {
    joining = value;
    show(name, joining);
    show(error, false);
    nameInput.required = joining;
    passwordInput.autocomplete = joining ? 'new-password' : 'current-password';
    passwordInput.placeholder = joining ? 'At least 8 characters' : '';
    text(title, joining ? 'Create your account' : 'Sign in');
    text(submit, joining ? 'Create account' : 'Sign in');
    text(question, joining ? 'Already have an account?' : 'New here?');
    text(other, joining ? 'Sign in' : 'Create an account');
  }

  /** @param {SubmitEvent} event */
  async function onsubmit(event) {
    event.preventDefault();
    show(error, false);
    const form = { email: emailInput.value.trim(), password: passwordInput.value };
    await busy(submit, async () => {
      try {
        onSignedIn(joining ? await signUp({ ...form, name: nameInput.value.trim() }) : await signIn(form));
      } catch (err) {
        text(error, explain(err));
        show(error, true);
      }
    });
  }

  setJoining(false);
  return h('section.card.auth-card', null,
    h('form', { onsubmit, testid: 'auth-form' }, title, name, email, password, error, submit,
      h('p.auth-switch', null, question, ' ', other)));
}

/**
 * @param {string} label
 * @param {Record<string, any>} props
 * @returns {HTMLElement}
 */
function field(label, props) {
  return h('label.field', null, h('span', null, label), h('input', { required: true, ...props }));
}
