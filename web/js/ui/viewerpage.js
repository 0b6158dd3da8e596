// A viewer tab: the stage with what is watched, and the cameras at its side.

import { link } from '../devices.js';
import { ago } from '../format.js';
import { emptyState, presence, setPresence } from './controls.js';
import { h, keyed, show, text } from './dom.js';
import { icon } from './icons.js';
import { tile } from './tile.js';
import { attempt } from './toast.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../devices.js').Device} Device */
/** @typedef {import('../viewer.js').Viewer} Viewer */
/** @typedef {import('../watch.js').Watch} Watch */

/**
 * @param {App} app
 * @param {Viewer} viewer
 * @returns {{el: HTMLElement, stop: () => void}}
 */
export function viewerPage(app, viewer) {
  const tiles = h('div.tiles', { testid: 'stage' });
  const nothing = emptyState('view', 'Nothing on the stage', 'Choose a camera from the list. You can watch several at once.');
  const list = h('ul.side-list', { testid: 'camera-list' });
  const skeleton = h('div.side-skeleton', { 'aria-hidden': 'true' }, h('div.skeleton'), h('div.skeleton'));
  const none = emptyState('camera', 'No camera yet', 'Open SecureCam in another tab or on a phone, and make that one a camera.');
  /** @type {Set<() => void>} */
  const removers = new Set();
  const showTiles = keyed(tiles, (/** @type {Watch} */ w) => keyOf(w), (w) => {
    const part = tile(w, { close: () => viewer.close(w.camera.id), again: () => viewer.watch(w.camera) });
    removers.add(part.remove);
    w.addEventListener('change', update);
    return { ...part, remove: () => { removers.delete(part.remove); part.remove(); w.removeEventListener('change', update); } };
  });
  const showList = keyed(list, (/** @type {Device} */ d) => d.id, (d) => cameraRow(app, viewer, d));

  function update() {
    const watches = [...viewer.watches.values()];
    tiles.dataset.count = String(Math.min(watches.length, 4));
    showTiles(watches);
    show(nothing, watches.length === 0);
    show(skeleton, app.roster.devices === null);
    show(none, app.roster.devices !== null && app.roster.cameras.length === 0);
    showList(app.roster.cameras);
  }
  viewer.addEventListener('change', update);
  app.roster.addEventListener('change', update);
  update();

  return {
    el: h('div.watch-page', null, h('h1.sr-only', null, 'Watch'),
      h('section.stage', { 'aria-label': 'Stage' }, tiles, nothing),
      h('aside.side', null, h('h2', null, 'Cameras'), skeleton, list, none)),
    stop() {
      viewer.removeEventListener('change', update);
      app.roster.removeEventListener('change', update);
      for (const remove of removers) remove();
      for (const watch of viewer.watches.values()) watch.removeEventListener('change', update);
    },
  };
}

/** @type {WeakMap<Watch, string>} */
const keys = new WeakMap();
let lastKey = 0;

/**
 * A new watch of the same camera is another tile.
 * @param {Watch} watch
 */
function keyOf(watch) {
  if (!keys.has(watch)) keys.set(watch, String(++lastKey));
  return /** @type {string} */ (keys.get(watch));
}

/**
 * @param {App} app
 * @param {Viewer} viewer
 * @param {Device} device
 */
function cameraRow(app, viewer, device) {
  let current = device;
  const name = h('strong');
  const here = presence();
  const watch = h('button.button.small.primary', {
    type: 'button', testid: 'watch', dataset: { deviceId: device.id }, onclick: () => viewer.watch(current),
  }, 'Watch');
  const end = h('button.button.small', { type: 'button', testid: 'end-from-list', onclick: () => viewer.close(device.id) }, 'End');
  const allow = h('button.button.small', {
    type: 'button', testid: 'link', title: 'Let this viewer watch that camera',
    onclick: () => attempt(() => link(device.id, app.tab.device?.id ?? '')).then(() => app.roster.refresh()),
  }, icon('link'), h('span', null, 'Allow'));
  return {
    el: h('li.side-row', { testid: 'camera-row', dataset: { deviceId: device.id } },
      h('p', null, name, here),
      h('a.icon-button', { href: `#/recordings/${device.id}`, title: 'Recordings', 'aria-label': `Recordings of ${device.name}` }, icon('film')),
      watch, end, allow),
    update(/** @type {Device} */ next) {
      current = next;
      const online = next.status === 'online';
      const running = viewer.watches.get(next.id);
      const linked = app.roster.linked(next.id, app.tab.device?.id ?? '');
      const watching = running !== undefined && !running.over;
      text(name, next.name);
      setPresence(here, online, watching && running.phase === 'live' ? (running.hint ? 'No picture' : 'Live here') : online ? 'Online' : `Last seen ${ago(next.lastSeenAt)}`);
      show(watch, linked && !watching);
      show(end, watching);
      show(allow, !linked);
      watch.disabled = !online;
    },
  };
}
