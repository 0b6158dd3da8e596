// The account: who you are, how you sign in, where you are signed in.

import * as account from '../account.js';
import { ago } from '../format.js';
import { Latest } from '../latest.js';
import { busy } from './controls.js';
import { confirmDialog, passwordDialog, textDialog } from './dialog.js';
import { h, show, text } from './dom.js';
import { icon } from './icons.js';
import { passkeySection } from './passkeysection.js';
import { attempt, toast } from './toast.js';
import { twoFactorSection } from './twofactorsection.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../account.js').Session} Session */
/** @typedef {import('../account.js').User} User */

/**
 * @param {App} app
 * @returns {{el: HTMLElement, stop: () => void}}
 */
export function accountPage(app) {
  let stopped = false;
  const latest = new Latest();
  const profile = profileSection(refresh);
  const password = passwordSection(refresh);
  const factor = twoFactorSection(refresh);
  const keys = passkeySection();
  const places = sessionSection(refresh);
  const stay = h('div.account', { testid: 'account' }, profile.el, password, factor.el, keys.el, places.el, dangerSection(app));

  async function refresh() {
    const due = latest.ask();
    const read = await attempt(() => Promise.all([account.current(), account.sessions()]));
    if (!read || stopped || !due()) return;
    const [now, sessions] = read;
    if (!now) return;
    app.user = now.user;
    profile.update(now.user);
    factor.update(now.user);
    places.update(now.session, sessions);
  }
  refresh();
  keys.refresh();
  return {
    el: h('div', null, h('div.page-head', null, h('h1', null, 'Account'), h('p.lead', null, 'Who you are, and how you get in.')), stay),
    stop() { stopped = true; },
  };
}

/**
 * @param {string} name of the icon
 * @param {string} title
 * @param {string} words
 * @param {...any} children
 * @returns {HTMLElement}
 */
export function panel(name, title, words, ...children) {
  return h('section.card.panel', null,
    h('header.panel-head', null, h('span.panel-icon', null, icon(name)),
      h('div', null, h('h2', null, title), h('p', null, words))), children);
}

/** @param {() => Promise<void>} refresh */
function profileSection(refresh) {
  const name = h('strong', { testid: 'account-name' }, 'One moment…');
  const email = h('strong', { testid: 'account-email' }, 'One moment…');
  const verified = h('span.badge');
  const verify = h('button.button.small', {
    type: 'button', testid: 'verify-email', onclick: () => busy(verify, () => attempt(async () => {
      await account.sendVerification(email.textContent ?? '');
      toast('A letter is on its way. Open its link to confirm the address.', 'good');
    })),
  }, icon('mail'), 'Confirm');
  const rename = h('button.button.small', {
    type: 'button', testid: 'rename-account', onclick: async () => {
      const value = await textDialog('Your name', [], 'Name', { value: name.textContent, maxLength: 80 }, 'Save');
      if (value && await attempt(() => account.rename(value))) await refresh();
    },
  }, icon('edit'), 'Change');
  const move = h('button.button.small', {
    type: 'button', testid: 'change-email', onclick: async () => {
      const value = await textDialog('Another e-mail address', [h('p', null, 'We send a letter to confirm the change.')],
        'New address', { type: 'email' }, 'Send the letter');
      if (value && await attempt(() => account.changeEmail(value))) toast('A letter is on its way. Open its link to confirm the change.', 'good');
    },
  }, icon('edit'), 'Change');
  for (const el of [verified, verify, rename, move]) show(el, false);
  return {
    el: panel('user', 'You', 'What this server knows of you.',
      h('dl.facts', null,
        h('div', null, h('dt', null, 'Name'), h('dd', null, name), rename),
        h('div', null, h('dt', null, 'E-mail'), h('dd', null, email, ' ', verified), verify, move))),
    /** @param {User} user */
    update(user) {
      text(name, user.name);
      text(email, user.email);
      text(verified, user.emailVerified ? 'confirmed' : 'not confirmed');
      verified.classList.toggle('good', user.emailVerified);
      show(verify, !user.emailVerified);
      for (const el of [verified, rename, move]) show(el, true);
    },
  };
}

/** @param {() => Promise<void>} refresh */
function passwordSection(refresh) {
  const field = (/** @type {string} */ label, /** @type {Record<string, any>} */ props) => h('label.field', null, h('span', null, label),
    h('input', { type: 'password', required: true, maxLength: 128, ...props }));
  const current = field('Current password', { autocomplete: 'current-password', testid: 'password-current' });
  const next = field('New password', { autocomplete: 'new-password', minLength: 8, placeholder: 'At least 8 characters', testid: 'password-new' });
  const others = h('input', { type: 'checkbox', checked: true });
  const submit = h('button.button.primary', { type: 'submit', testid: 'password-save' }, 'Change password');
  const form = h('form.inline-form', {
    onsubmit: (/** @type {SubmitEvent} */ e) => {
      e.preventDefault();
      busy(submit, () => attempt(async () => {
        await account.changePassword({
          currentPassword: current.querySelector('input').value, newPassword: next.querySelector('input').value, revokeOtherSessions: others.checked,
        });
        form.reset();
        toast('Your password is changed.', 'good');
        await refresh();
      }));
    },
  }, current, next, h('label.check', null, others, 'Sign out everywhere else'), submit);
  return panel('lock', 'Password', 'Choose one that you use nowhere else.', form);
}

/** @param {() => Promise<void>} refresh */
function sessionSection(refresh) {
  const list = h('ul.entries', { testid: 'sessions' });
  const others = h('button.button.small', {
    type: 'button', testid: 'end-others', onclick: async () => {
      if (await confirmDialog('Sign out everywhere else?', 'Every other browser has to sign in again. Cameras go on.', 'Sign out')
        && await attempt(account.endOtherSessions)) await refresh();
    },
  }, 'Sign out everywhere else');
  show(others, false);
  list.append(h('li', null, h('p', null, 'One moment…')));
  return {
    el: panel('screen', 'Where you are signed in', 'End what you do not know.', list, h('div.panel-end', null, others)),
    /**
     * @param {Session} own
     * @param {Session[]} all
     */
    update(own, all) {
      show(others, all.length > 1);
      list.replaceChildren(...all.map((session) => sessionRow(session, session.id === own.id, refresh)));
    },
  };
}

/**
 * @param {Session} session
 * @param {boolean} own
 * @param {() => Promise<void>} refresh
 */
function sessionRow(session, own, refresh) {
  const end = h('button.button.small', {
    type: 'button', testid: 'end-session', onclick: async () => {
      if (await attempt(() => account.endSession(session))) await refresh();
    },
  }, 'Sign out');
  return h('li', null, icon('screen'),
    h('p', null, h('strong', null, browserName(session.userAgent)),
      h('span', null, `${session.ipAddress || 'unknown address'} · since ${ago(session.createdAt)}`)),
    own ? h('span.badge.good', null, 'this browser') : end);
}

/**
 * @param {string} agent
 * @returns {string} such as "Firefox on Android"
 */
function browserName(agent) {
  const find = (/** @type {[RegExp, string][]} */ table) => table.find(([pattern]) => pattern.test(agent))?.[1] ?? '';
  const browser = find([[/Edg\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\//, 'Firefox'], [/Chrome\//, 'Chrome'], [/Safari\//, 'Safari']]);
  const system = find([[/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Windows/, 'Windows'], [/Mac OS/, 'macOS'], [/Linux/, 'Linux']]);
  if (browser && system) return `${browser} on ${system}`;
  return browser || agent.slice(0, 40) || 'Unknown program';
}

/** @param {App} app */
function dangerSection(app) {
  const button = h('button.button.danger', {
    type: 'button', testid: 'delete-account', onclick: async () => {
      const password = await passwordDialog('Delete your account?',
        'Your cameras, viewers, recordings and everything else of yours is deleted, for good.', 'Delete everything', 'danger');
      if (!password) return;
      await busy(button, () => attempt(() => app.deleteAccount(password)));
    },
  }, icon('trash'), 'Delete account');
  return panel('alert', 'Delete your account', 'Everything of yours goes with it. There is no way back.', h('div.panel-end', null, button));
}
