// What was recorded: by day, by camera, with a player.

import { day, duration, size, time } from '../format.js';
import { Latest } from '../latest.js';
import { downloadUrl, list, remove } from '../recordings.js';
import { emptyState, iconButton } from './controls.js';
import { confirmDialog } from './dialog.js';
import { h, keyed, show, text } from './dom.js';
import { icon } from './icons.js';
import { player } from './player.js';
import { attempt, toast } from './toast.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../recordings.js').Recording} Recording */

const REFRESH_MS = 3_000;

/**
 * @param {App} app
 * @param {string} cameraId "" for all cameras
 * @returns {{el: HTMLElement, stop: () => void}}
 */
export function recordingsPage(app, cameraId) {
  /** @type {Recording[] | null} */
  let items = null;
  let cursor = '';
  let depth = 1; // pages shown
  let stopped = false;
  /** @type {ReturnType<typeof player> & {recording: Recording} | null} */
  let playing = null;
  const latest = new Latest();

  const stage = h('div.player-place');
  const days = h('div.days', { testid: 'recordings' });
  const skeleton = h('div.rows-skeleton', { 'aria-hidden': 'true' }, [1, 2, 3, 4].map(() => h('div.skeleton')));
  const none = emptyState('film', 'Nothing recorded yet', 'Cameras are recorded while somebody watches, unless you choose otherwise at the camera.');
  const more = h('button.button', { type: 'button', onclick: () => { depth++; refresh(); } }, 'Show older');
  const filter = cameraFilter(app, cameraId);
  const nameOf = (/** @type {Recording} */ r) => app.roster.nameOf(r.cameraDeviceId);
  const actions = { play: open, nameOf, refresh };
  const showDays = keyed(days, (/** @type {Day} */ d) => d.label, () => dayGroup(actions));

  async function refresh() {
    const due = latest.ask();
    const read = await attempt(() => pages(cameraId, depth));
    if (!read || stopped || !due()) return;
    items = read.items;
    cursor = read.nextCursor;
    update();
  }
  function update() {
    filter.update();
    show(skeleton, items === null);
    show(none, items !== null && items.length === 0);
    show(more, cursor !== '');
    showDays(byDay(items ?? []));
    if (playing) playing.entitle(nameOf(playing.recording));
    for (const row of days.querySelectorAll('[data-recording-id]')) {
      row.classList.toggle('playing', /** @type {HTMLElement} */ (row).dataset.recordingId === playing?.recording.id);
    }
  }
  /** @param {Recording} recording */
  function open(recording) {
    close();
    const started = new Date(recording.startedAt);
    const detail = `${day(started)}, ${time(started)}`;
    playing = { recording, ...player(recording, { detail, close, save: () => save(recording, nameOf(recording)) }) };
    stage.replaceChildren(playing.el);
    stage.scrollIntoView({ block: 'nearest' });
    update();
  }
  function close() {
    playing?.stop();
    playing = null;
    stage.replaceChildren();
    if (!stopped) update();
  }
  const timer = setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_MS);
  app.roster.addEventListener('change', update);
  refresh();
  update();
  return {
    el: h('div.recordings', null,
      h('div.page-head', null, h('h1', null, 'Recordings'), filter.el), stage, skeleton, days, none,
      h('div.more', null, more)),
    stop() {
      stopped = true;
      clearInterval(timer);
      app.roster.removeEventListener('change', update);
      close();
    },
  };
}

/**
 * @param {string} cameraId
 * @param {number} depth how many pages
 */
async function pages(cameraId, depth) {
  /** @type {Recording[]} */
  const items = [];
  let cursor = '';
  for (let i = 0; i < depth; i++) {
    const page = await list({ cameraId, cursor });
    items.push(...page.items);
    cursor = page.nextCursor ?? '';
    if (!cursor) break;
  }
  return { items, nextCursor: cursor };
}

/** @typedef {{label: string, items: Recording[]}} Day */

/**
 * @param {Recording[]} items newest first
 * @returns {Day[]}
 */
function byDay(items) {
  /** @type {Map<string, Recording[]>} */
  const days = new Map();
  for (const item of items) {
    const label = day(new Date(item.startedAt));
    days.set(label, [...(days.get(label) ?? []), item]);
  }
  return [...days].map(([label, dayItems]) => ({ label, items: dayItems }));
}

/**
 * @param {App} app
 * @param {string} cameraId
 */
function cameraFilter(app, cameraId) {
  const el = h('nav.chips', { 'aria-label': 'Camera' });
  const showChips = keyed(el, (/** @type {{id: string, name: string}} */ c) => c.id, (camera) => {
    const chip = h('a.chip', { href: camera.id ? `#/recordings/${camera.id}` : '#/recordings' });
    if (camera.id === cameraId) chip.setAttribute('aria-current', 'true');
    return { el: chip, update: (/** @type {{name: string}} */ next) => text(chip, next.name) };
  });
  return {
    el,
    update() {
      show(el, app.roster.cameras.length > 1 || cameraId !== '');
      showChips([{ id: '', name: 'All cameras' }, ...app.roster.cameras]);
    },
  };
}

/** @typedef {{play: (r: Recording) => void, nameOf: (r: Recording) => string, refresh: () => Promise<void>}} Actions */

/** @param {Actions} actions */
function dayGroup(actions) {
  const title = h('h2');
  const rows = h('ul.rows');
  const showRows = keyed(rows, (/** @type {Recording} */ r) => r.id, (r) => recordingRow(r, actions));
  return {
    el: h('section.day', null, title, rows),
    update(/** @type {Day} */ next) {
      text(title, next.label);
      showRows(next.items);
    },
  };
}

/**
 * @param {Recording} recording
 * @param {Actions} actions
 */
function recordingRow(recording, actions) {
  let current = recording;
  const name = h('strong');
  const detail = h('span', { testid: 'recording-detail' });
  const status = h('span.status');
  const play = h('button.row-play', { type: 'button', testid: 'recording-play', onclick: () => actions.play(current) },
    h('span.row-icon', null, icon('play')), h('span.row-text', null, name, detail), status);
  const download = iconButton('download', 'Download', () => save(current, actions.nameOf(current)), 'recording-download');
  const drop = iconButton('trash', 'Delete', () => removeRecording(current, actions), 'recording-delete');
  const el = h('li.row', { testid: 'recording-row', dataset: { recordingId: recording.id } }, play, download, drop);
  return {
    el,
    update(/** @type {Recording} */ next) {
      current = next;
      const ready = next.status === 'ready';
      el.dataset.status = next.status;
      text(name, actions.nameOf(next));
      text(detail, describe(next));
      text(status, { recording: 'Recording', ready: duration(next.durationMs ?? 0), failed: 'Failed', awaiting_upload: 'Uploading' }[next.status]);
      play.disabled = download.disabled = !ready;
      drop.disabled = !ready && next.status !== 'failed';
    },
  };
}

/** @param {Recording} r */
function describe(r) {
  const at = time(new Date(r.startedAt));
  if (r.status === 'recording') return `Since ${at}`;
  if (r.status === 'failed') return `${at} · ${r.error === 'no_media' ? 'the camera sent nothing' : r.error || 'something went wrong'}`;
  return [at, r.size ? size(r.size) : ''].filter(Boolean).join(' · ');
}

/**
 * @param {Recording} recording
 * @param {string} name
 */
async function save(recording, name) {
  await attempt(async () => {
    const { url, contentType } = await downloadUrl(recording.id, true);
    const at = recording.startedAt.slice(0, 19).replaceAll(':', '-');
    const ending = contentType.includes('matroska') ? 'mkv' : 'webm';
    h('a', { href: url, download: `${name} ${at}.${ending}` }).click();
  });
}

/**
 * @param {Recording} recording
 * @param {Actions} actions
 */
async function removeRecording(recording, actions) {
  const started = new Date(recording.startedAt);
  const sure = await confirmDialog('Delete this recording?',
    `${actions.nameOf(recording)}, ${day(started)} at ${time(started)}. This cannot be undone.`, 'Delete');
  if (!sure) return;
  await attempt(async () => {
    await remove(recording.id);
    toast('The recording was deleted.', 'good');
  });
  await actions.refresh();
}
