// Home: what this tab is, and the account's devices.

import { ago } from '../format.js';
import { busy, emptyState, iconButton, presence, setPresence } from './controls.js';
import { cameraCard, removeDevice, renameDevice } from './devicecard.js';
import { h, keyed, show, text } from './dom.js';
import { icon } from './icons.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../devices.js').Device} Device */

/**
 * @param {App} app
 * @returns {{el: HTMLElement, stop: () => void}}
 */
export function homePage(app) {
  const summary = h('p.lead', null, 'One moment…');
  const choice = roleChoice(app);
  const banner = roleBanner(app);
  const cameras = h('div.camera-grid', { testid: 'camera-grid' });
  const skeleton = h('div.camera-grid', { 'aria-hidden': 'true' }, [1, 2, 3].map(() => h('div.card.skeleton')));
  const none = emptyState('camera', 'No camera yet', 'Make this tab a camera, or open SecureCam on a phone and make that one.');
  const clients = h('ul.device-list', { testid: 'client-list' });
  const viewers = h('section.section', null, h('h2', null, 'Viewers'), clients);
  const showCameras = keyed(cameras, (d) => d.id, (/** @type {Device} */ d) => cameraCard(app, d));
  const showClients = keyed(clients, (d) => d.id, (/** @type {Device} */ d) => clientRow(app, d));

  const update = () => {
    const { devices } = app.roster;
    show(choice, !app.tab.device);
    show(banner.el, app.tab.device !== null);
    banner.update();
    show(skeleton, devices === null);
    show(none, devices !== null && app.roster.cameras.length === 0);
    show(viewers, app.roster.clients.length > 0);
    showCameras(app.roster.cameras);
    showClients(app.roster.clients);
    if (devices) text(summary, summarise(app.roster.cameras));
  };
  app.roster.addEventListener('change', update);
  app.role.addEventListener('change', update);
  app.tab.addEventListener('change', update);
  update();

  const firstName = (app.user?.name ?? '').split(' ')[0];
  return {
    el: h('div.home', null,
      h('div.page-head', null, h('h1', null, firstName ? `Hello, ${firstName}` : 'Hello'), summary),
      choice, banner.el,
      h('section.section', null, h('h2', null, 'Cameras'), skeleton, cameras, none),
      viewers),
    stop() {
      app.roster.removeEventListener('change', update);
      app.role.removeEventListener('change', update);
      app.tab.removeEventListener('change', update);
    },
  };
}

/** @param {Device[]} cameras */
function summarise(cameras) {
  if (cameras.length === 0) return 'Start with a camera: this very tab can be one.';
  const online = cameras.filter((c) => c.status === 'online').length;
  const count = cameras.length === 1 ? 'One camera' : `${cameras.length} cameras`;
  if (online === cameras.length) return `${count}, ${cameras.length === 1 ? 'online' : 'all online'}.`;
  return online ? `${count}, ${online} online.` : `${count}, ${cameras.length === 1 ? 'offline' : 'all offline'}.`;
}

/** @param {App} app */
function roleChoice(app) {
  const option = (/** @type {string} */ name, /** @type {string} */ title, /** @type {string} */ words,
    /** @type {string} */ testid, /** @type {() => Promise<void>} */ action) => {
    const button = h('button.choice', { type: 'button', testid, onclick: () => busy(button, action) },
      h('span.choice-icon', null, icon(name)), h('span.choice-text', null, h('strong', null, title), h('span', null, words)));
    return button;
  };
  return h('section.choices', { 'aria-label': 'What this tab should be' },
    option('camera', 'Make this tab a camera', 'Uses this device’s camera, or a test pattern.', 'become-camera', () => app.becomeCamera()),
    option('view', 'Make this tab a viewer', 'Watch your cameras live, one or many.', 'become-viewer', () => app.becomeViewer()));
}

/** @param {App} app */
function roleBanner(app) {
  const words = h('p');
  const symbol = h('span.choice-icon');
  const el = h('section.card.banner', { testid: 'role-banner', 'aria-label': 'This tab' },
    symbol, words,
    h('div.banner-actions', null,
      h('a.button.primary', { href: '#/live' }, 'Open'),
      h('button.button', { type: 'button', testid: 'leave-role', onclick: () => app.role.leave() }, 'Stop')));
  return {
    el,
    update() {
      const { device } = app.tab;
      if (!device) return;
      symbol.replaceChildren(icon(device.role === 'camera' ? 'camera' : 'view'));
      words.replaceChildren(h('strong', null, device.name),
        h('span', null, device.role === 'camera' ? 'This tab is a camera.' : 'This tab is a viewer.'));
    },
  };
}

/**
 * @param {App} app
 * @param {Device} device
 */
function clientRow(app, device) {
  let current = device;
  const name = h('strong');
  const detail = h('span');
  const here = presence();
  const resume = h('button.button.small', { type: 'button', onclick: () => app.takeOver(current) }, 'Use this tab');
  return {
    el: h('li.device-row', { dataset: { deviceId: device.id } }, icon('view'), h('p', null, name, detail), here, resume,
      iconButton('edit', 'Rename', () => renameDevice(app, current)),
      iconButton('trash', 'Remove', () => removeDevice(app, current))),
    update(/** @type {Device} */ next) {
      current = next;
      const online = next.status === 'online';
      const mine = app.tab.device?.id === next.id;
      text(name, next.name);
      text(detail, mine ? 'This tab' : online ? next.platform || 'Browser' : `Last seen ${ago(next.lastSeenAt)}`);
      setPresence(here, online, online ? 'Online' : 'Offline');
      show(resume, !online && app.tab.device === null);
    },
  };
}
