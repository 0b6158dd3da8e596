// One camera of the account, as a card.

import { remove, update as updateDevice } from '../devices.js';
import { ago } from '../format.js';
import { draw, forget } from '../stills.js';
import { iconButton, POLICIES, presence, segmented, setPresence } from './controls.js';
import { confirmDialog, renameDialog } from './dialog.js';
import { h, show, text } from './dom.js';
import { icon } from './icons.js';
import { attempt, toast } from './toast.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../devices.js').Device} Device */

/**
 * @param {App} app
 * @param {Device} device
 * @returns {{el: HTMLElement, update: (device: Device) => void}}
 */
export function cameraCard(app, device) {
  let current = device;
  const here = presence();
  const name = h('h3.card-name');
  const detail = h('p.card-detail');
  const still = h('canvas.still', { 'aria-hidden': 'true' });
  const watch = h('button.button.primary', { type: 'button', testid: 'watch-camera', onclick: () => app.watch(current) },
    icon('view'), h('span', null, 'Watch'));
  const resume = h('button.button', { type: 'button', testid: 'resume-device', onclick: () => app.takeOver(current) }, 'Use this tab');
  const policy = segmented({
    label: 'Record',
    choices: [...POLICIES],
    testid: 'card-policy',
    onchange: (value) => changePolicy(app, current, value),
  });
  const el = h('article.card.camera-card', { testid: 'camera-card', dataset: { deviceId: device.id } },
    h('div.camera-screen', null, still, icon('camera'), here),
    h('div.camera-body', null,
      h('div.card-title', null, h('div', null, name, detail),
        iconButton('edit', 'Rename', () => renameDevice(app, current), 'rename-device'),
        iconButton('trash', 'Remove', () => removeDevice(app, current), 'remove-device')),
      h('div.policy-row', null, h('span.policy-label', { 'aria-hidden': 'true' }, 'Record'), policy.el),
      h('div.card-actions', null, watch, resume,
        h('a.button.quiet', { href: `#/recordings/${device.id}` }, icon('film'), h('span', null, 'Recordings')))));
  draw(device.id, still).then((drawn) => el.classList.toggle('has-still', drawn));

  return {
    el,
    update(next) {
      current = next;
      const online = next.status === 'online';
      const mine = app.tab.device?.id === next.id;
      text(name, next.name);
      text(detail, mine ? 'This tab' : online ? next.platform || 'Browser' : `Last seen ${ago(next.lastSeenAt)}`);
      setPresence(here, online, online ? 'Online' : 'Offline');
      policy.update(next.recordingPolicy);
      show(watch, !mine && (online || app.tab.device !== null));
      watch.disabled = !online || app.tab.device?.role === 'camera';
      watch.title = app.tab.device?.role === 'camera' ? 'This tab is a camera. Open another tab to watch.'
        : online ? '' : 'This camera is offline.';
      show(resume, !online && app.tab.device === null);
    },
  };
}

/**
 * @param {App} app
 * @param {Device} device
 * @param {Device['recordingPolicy']} recordingPolicy
 */
export async function changePolicy(app, device, recordingPolicy) {
  await attempt(async () => {
    app.tab.update(await updateDevice(device.id, { recordingPolicy }));
    const words = { off: 'is not recorded', session: 'is recorded while somebody watches', continuous: 'stays live and is always recorded' };
    toast(`${device.name} ${words[recordingPolicy]}.`, 'good');
  });
  await app.roster.refresh();
}

/**
 * @param {App} app
 * @param {Device} device
 */
export async function renameDevice(app, device) {
  const name = await renameDialog(device.name);
  if (!name || name === device.name) return;
  await attempt(async () => app.tab.update(await updateDevice(device.id, { name })));
  await app.roster.refresh();
}

/**
 * @param {App} app
 * @param {Device} device
 */
export async function removeDevice(app, device) {
  const sure = await confirmDialog(`Remove ${device.name}?`,
    'It is signed off at once and cannot send or watch any more. Its recordings stay.', 'Remove');
  if (!sure) return;
  await attempt(async () => {
    if (app.tab.device?.id === device.id) app.role.leave();
    await remove(device.id);
    forget(device.id);
    toast(`${device.name} was removed.`, 'good');
  });
  await app.roster.refresh();
}
