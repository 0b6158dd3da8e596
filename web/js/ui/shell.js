// The frame around every page: header, navigation, account menu.

import { onSystemChange, shown, toggle } from '../theme.js';
import { iconButton, relabel } from './controls.js';
import { h, show, text } from './dom.js';
import { icon } from './icons.js';

/** @typedef {import('../app.js').App} App */

/** @returns {HTMLButtonElement} */
export function themeButton() {
  const update = () => {
    const dark = shown() === 'dark';
    relabel(button, dark ? 'sun' : 'moon', dark ? 'Light colours' : 'Dark colours');
  };
  const button = iconButton('moon', 'Theme', () => {
    toggle();
    update();
  }, 'theme-toggle');
  onSystemChange(update);
  update();
  return button;
}

/** @returns {HTMLElement} */
export function brand() {
  return h('a.brand', { href: '#/', 'aria-label': 'SecureCam, home' },
    h('img', { src: '/sim/icons/favicon.svg', alt: '', width: 28, height: 28 }), h('span', null, 'SecureCam'));
}

/**
 * @param {App} app
 * @returns {{el: HTMLElement, main: HTMLElement, update: (path: string) => void}}
 */
export function shell(app) {
  const links = [
    ['#/', 'home', 'Home', 'nav-home'],
    ['#/live', 'view', 'Live', 'nav-live'],
    ['#/events', 'pulse', 'Events', 'nav-events'],
    ['#/recordings', 'film', 'Recordings', 'nav-recordings'],
  ].map(([href, name, label, testid]) => h('a.nav-link', { href, testid }, icon(name), h('span', null, label)));
  const live = /** @type {HTMLElement} */ (links[1].querySelector('span'));
  const chip = h('a.role-chip', { href: '#/live', testid: 'role-chip', hidden: true }, h('i', { 'aria-hidden': 'true' }), h('span'));
  const main = h('main.page', { id: 'main', tabIndex: -1 });
  const el = h('div.shell', null,
    h('a.skip', { href: '#main', onclick: (/** @type {Event} */ e) => { e.preventDefault(); main.focus(); } }, 'Skip to content'),
    h('header.header', null, brand(), h('nav.nav', { 'aria-label': 'Main' }, links),
      h('div.header-end', null, chip, themeButton(), accountMenu(app))),
    main);

  const showRole = () => {
    const { device } = app.tab;
    const gateway = app.role.gateway?.state;
    show(chip, device !== null);
    const isCamera = device?.role === 'camera';
    text(live, isCamera ? 'This camera' : 'Watch');
    links[1].firstElementChild?.replaceWith(icon(isCamera ? 'camera' : 'view'));
    if (!device) return;
    text(/** @type {Element} */ (chip.lastElementChild), device.name);
    chip.classList.toggle('online', gateway === 'online');
    chip.title = gateway === 'online' ? `This tab is ${device.name}: connected` : `This tab is ${device.name}: connecting…`;
  };
  app.role.addEventListener('change', () => {
    showRole();
    app.role.gateway?.addEventListener('state', showRole);
  });
  app.tab.addEventListener('change', showRole);
  showRole();

  return {
    el,
    main,
    update(path) {
      for (const link of links) {
        const here = link.getAttribute('href') === `#/${path.split('/')[1] ?? ''}`;
        if (here) link.setAttribute('aria-current', 'page');
        else link.removeAttribute('aria-current');
      }
    },
  };
}

/** @param {App} app */
function accountMenu(app) {
  const menu = h('div.menu', { id: 'account-menu', popover: 'auto', testid: 'account-panel' },
    h('p.menu-head', null, h('strong', null, app.user?.name ?? ''), h('span', null, app.user?.email ?? '')),
    h('a.menu-item', { href: '#/alerts', testid: 'menu-alerts', onclick: () => menu.hidePopover() }, icon('bell'), 'Alerts'),
    h('a.menu-item', { href: '#/account', testid: 'nav-account', onclick: () => menu.hidePopover() }, icon('user'), 'Account and security'),
    h('button.menu-item', { type: 'button', testid: 'sign-out', onclick: () => app.signOut() }, icon('out'), 'Sign out'));
  const button = iconButton('user', 'Account', () => menu.togglePopover(), 'account-menu');
  return h('div.menu-anchor', null, button, menu);
}
