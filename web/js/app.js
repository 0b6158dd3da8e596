// The page's start: who is signed in, what this tab is, which page is shown.

import { currentUser, deleteAccount, signOut } from './account.js';
import { Roster } from './devices.js';
import { renew } from './push.js';
import { Role } from './role.js';
import { forgetAll } from './stills.js';
import { Tab } from './tab.js';
import { accountPage } from './ui/accountpage.js';
import { authPage } from './ui/auth.js';
import { cameraPage } from './ui/camerapage.js';
import { emptyState } from './ui/controls.js';
import { cameraDialog } from './ui/dialog.js';
import { h } from './ui/dom.js';
import { homePage } from './ui/home.js';
import { alertsPage } from './ui/alertspage.js';
import { eventsPage } from './ui/eventspage.js';
import { recordingsPage } from './ui/recordingspage.js';
import { brand, shell, themeButton } from './ui/shell.js';
import { attempt, mountToasts, toast } from './ui/toast.js';
import { viewerPage } from './ui/viewerpage.js';
import { explain, wordsFor } from './words.js';

/** @typedef {import('./account.js').User} User */
/** @typedef {import('./devices.js').Device} Device */
/** @typedef {{el: HTMLElement, stop?: () => void}} Page */

/** What the pages share. */
export class App {
  /** @type {User | null} */
  user = null;
  tab = new Tab();
  role = new Role(this.tab);
  roster = new Roster();
  #root;
  /** @type {Page | null} */
  #page = null;
  /** @type {ReturnType<typeof shell> | null} */
  #shell = null;
  #taking = false; // a role, which it does once at a time

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    window.addEventListener('hashchange', () => this.#show());
    // A page that comes back from the browser's cache has dead connections.
    window.addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); });
    this.role.addEventListener('change', () => { if (path().startsWith('/live')) this.#show(); });
    // A click on an alert leads here.
    navigator.serviceWorker?.addEventListener('message', (e) => { if (e.data?.go) location.hash = new URL(e.data.go, location.href).hash; });
    this.role.addEventListener('refused', () => this.#refused());
    this.roster.addEventListener('signedout', () => this.#checkSession());
  }

  async start() {
    try {
      this.user = await currentUser();
    } catch (err) {
      this.#root.replaceChildren(h('main.welcome-trouble', null, emptyState('alert', 'SecureCam is not reachable', explain(err),
        h('button.button.primary', { type: 'button', onclick: () => location.reload() }, 'Try again'))));
      return;
    }
    if (this.user && path() !== '/reset-password') await this.#enter(this.user);
    else this.#showWelcome();
    this.#tellLetter();
  }

  /** @param {string} to such as "/live" */
  go(to) {
    if (path() === to) this.#show();
    else location.hash = `#${to}`;
  }

  becomeCamera() {
    return this.#take(() => this.#becomeCamera());
  }

  becomeViewer() {
    return this.#take(() => this.#becomeViewer());
  }

  /** @param {Device} device */
  takeOver(device) {
    return this.#take(async () => {
      await attempt(() => this.role.takeOver(device));
      this.roster.refresh();
      if (this.tab.device) this.go('/live');
    });
  }

  /** @param {() => Promise<void>} action */
  async #take(action) {
    if (this.#taking) return;
    this.#taking = true;
    try {
      await action();
    } finally {
      this.#taking = false;
    }
  }

  async #becomeCamera() {
    await this.roster.known();
    const setup = await cameraDialog(`Camera ${this.roster.cameras.length + 1}`);
    if (!setup) return;
    await attempt(() => this.role.create('camera', setup.name, setup.sourceId));
    this.roster.refresh();
    if (this.role.camera) this.go('/live');
  }

  async #becomeViewer() {
    await this.roster.known();
    await attempt(() => this.role.createViewer(this.roster.clients, `Viewer ${this.roster.clients.length + 1}`));
    await this.roster.refresh();
    if (this.role.viewer) this.go('/live');
  }

  /**
   * Shows a camera live; a tab without a role becomes a viewer for it.
   * @param {Device} camera
   */
  async watch(camera) {
    if (!this.tab.device) await this.becomeViewer();
    if (!this.role.viewer) return;
    this.role.viewer.watch(camera);
    this.go('/live');
  }

  async signOut() {
    this.roster.stop(); // which would say that somebody else did it
    this.role.leave();
    forgetAll();
    await attempt(signOut);
    this.#signedOut('');
  }

  /** @param {User} user */
  async #enter(user) {
    this.user = user;
    this.#shell = shell(this);
    this.#root.replaceChildren(this.#shell.el);
    this.roster.start();
    this.#show();
    await attempt(() => this.role.resume());
    renew().catch(() => {}); // the next page tries again
  }

  #showWelcome() {
    this.#leavePage();
    document.title = 'SecureCam';
    this.#root.replaceChildren(h('div.welcome-shell', null,
      h('header.header', null, brand(), h('div.header-end', null, themeButton())),
      authPage((user) => this.#enter(user)).el));
  }

  #show() {
    if (!this.#shell) return;
    this.#leavePage();
    this.#page = this.#build();
    this.#shell.main.replaceChildren(this.#page.el);
    this.#shell.update(path());
    const heading = this.#page.el.querySelector('h1')?.textContent;
    document.title = heading ? `${heading} · SecureCam` : 'SecureCam';
    window.scrollTo(0, 0);
  }

  /** @returns {Page} */
  #build() {
    const [, name, id = ''] = path().split('/');
    if (name === 'events') return eventsPage(this, id);
    if (name === 'alerts') return alertsPage(this);
    if (name === 'account') return accountPage(this);
    if (name === 'recordings') return recordingsPage(this, id);
    if (name !== 'live') return homePage(this);
    if (this.role.camera) return cameraPage(this, this.role.camera);
    if (this.role.viewer) return viewerPage(this, this.role.viewer);
    if (this.tab.device) return { el: h('p.loading', null, 'One moment…') }; // it takes its role up again
    return {
      el: emptyState('view', 'This tab has no role yet', 'Make it a viewer to watch your cameras, or a camera to be watched.',
        h('div.empty-actions', null,
          h('button.button.primary', { type: 'button', onclick: () => this.becomeViewer() }, 'Make this tab a viewer'),
          h('button.button', { type: 'button', onclick: () => this.becomeCamera() }, 'Make this tab a camera'))),
    };
  }

  #leavePage() {
    this.#page?.stop?.();
    this.#page = null;
  }

  /** The server ended this tab's role: removed, or used in another tab. */
  async #refused() {
    const name = this.tab.device?.name ?? 'This device';
    const id = this.tab.device?.id ?? '';
    await this.roster.refresh();
    const there = this.roster.find(id);
    this.role.leave();
    toast(there ? `${name} is now used by another tab.` : `${name} was removed from your account.`, 'bad');
    this.go('/');
  }

  /** Nobody was signed in any more: or in a session that another took the place of while the question was on its way. */
  async #checkSession() {
    let user;
    try {
      user = await currentUser();
    } catch {
      return; // not known: the roster asks again in a while
    }
    if (user) this.roster.refresh();
    else this.#signedOut('You were signed out. Please sign in again.');
  }

  /** Says what the letter's link that led here has done. */
  #tellLetter() {
    const error = new URLSearchParams(location.search).get('error');
    const about = path();
    if (about === '/reset-password') return;
    if (location.search) history.replaceState(null, '', location.pathname + location.hash);
    if (error) toast(wordsFor(error), 'bad');
    else if (about === '/verified') toast('Your address is confirmed.', 'good');
    if (about === '/verified') location.hash = '#/';
  }

  /** @param {string} password */
  async deleteAccount(password) {
    this.roster.stop(); // as in signOut
    try {
      await deleteAccount(password);
    } catch (err) {
      this.roster.start();
      throw err;
    }
    forgetAll();
    this.#signedOut('');
    location.hash = '#/';
  }

  /** @param {string} message */
  #signedOut(message) {
    if (!this.user) return;
    this.user = null;
    this.roster.stop();
    this.role.leave();
    this.#shell = null;
    this.#showWelcome();
    if (message) toast(message, 'bad');
  }
}

/** @returns {string} the page's path in the hash, such as "/recordings" */
function path() {
  return location.hash.slice(1) || '/';
}

const root = /** @type {HTMLElement} */ (document.getElementById('app'));
mountToasts(document.body);
new App(root).start();
