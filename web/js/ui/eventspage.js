// What the cameras saw: by day, with pictures.

import { list, one, remove, what } from '../events.js';
import { day, duration, time } from '../format.js';
import { Latest } from '../latest.js';
import { emptyState, iconButton } from './controls.js';
import { h, keyed, show, text } from './dom.js';
import { icon } from './icons.js';
import { attempt, toast } from './toast.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../events.js').SeenEvent} SeenEvent */

const REFRESH_MS = 5_000;

/**
 * @param {App} app
 * @param {string} openId an event to show at once, "" for none
 * @returns {{el: HTMLElement, stop: () => void}}
 */
export function eventsPage(app, openId) {
  /** @type {SeenEvent[] | null} */
  let items = null;
  let cursor = '';
  let depth = 1; // pages shown
  let cameraId = '';
  const latest = new Latest();
  const off = new AbortController();
  const { signal } = off;

  const stage = h('div.player-place');
  const days = h('div.days', { testid: 'events' });
  const skeleton = h('div.rows-skeleton', { 'aria-hidden': 'true' }, [1, 2, 3, 4].map(() => h('div.skeleton')));
  const none = emptyState('pulse', 'Nothing seen yet', 'Switch on “Detect motion” at a camera, and what moves there is shown here.');
  const more = h('button.button', { type: 'button', onclick: () => { depth++; refresh(); } }, 'Show older');
  const chips = h('div.chips', { role: 'group', 'aria-label': 'Camera' });
  const showChips = keyed(chips, (/** @type {{id: string, name: string}} */ c) => c.id, (camera) => {
    const el = h('button.chip', { type: 'button', onclick: () => { cameraId = camera.id; items = null; cursor = ''; refresh(); update(); } });
    return {
      el,
      update(/** @type {{id: string, name: string}} */ next) {
        text(el, next.name);
        if (next.id === cameraId) el.setAttribute('aria-current', 'true');
        else el.removeAttribute('aria-current');
      },
    };
  });
  const nameOf = (/** @type {SeenEvent} */ e) => app.roster.nameOf(e.cameraDeviceId);
  let opened = false;
  let nameStage = () => {};
  const showDays = keyed(days, (/** @type {Day} */ d) => d.label, () => dayGroup({ nameOf, open, refresh }));

  async function refresh() {
    const wanted = cameraId;
    const due = latest.ask();
    const read = await attempt(() => pages(wanted, depth));
    if (!read || signal.aborted || wanted !== cameraId || !due()) return;
    items = read.items;
    cursor = read.nextCursor;
    update();
  }
  function update() {
    show(chips, app.roster.cameras.length > 1);
    showChips([{ id: '', name: 'All cameras' }, ...app.roster.cameras]);
    show(skeleton, items === null);
    show(none, items !== null && items.length === 0);
    show(more, cursor !== '');
    showDays(byDay(items ?? []));
    nameStage();
  }
  /** @param {SeenEvent} seen */
  function open(seen) {
    opened = true;
    const started = new Date(seen.startedAt);
    const picture = seen.thumbnailUrl ? h('img', { src: seen.thumbnailUrl }) : icon('pulse');
    const name = h('strong');
    nameStage = () => {
      text(name, nameOf(seen));
      if (seen.thumbnailUrl) picture.alt = `${what(seen.triggeredBy)} at ${nameOf(seen)}`;
    };
    nameStage();
    stage.replaceChildren(h('section.card.player', { testid: 'event-stage', 'aria-label': 'Event' },
      h('div.event-picture', null, picture),
      h('div.player-foot', null,
        h('p', null, name, h('span', null, `${what(seen.triggeredBy)} · ${day(started)}, ${time(started)}`)),
        h('a.button', { href: `#/recordings/${seen.cameraDeviceId}` }, icon('film'), 'Recordings'),
        iconButton('close', 'Close', () => stage.replaceChildren()))));
    stage.scrollIntoView({ block: 'nearest' });
  }

  const timer = setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_MS);
  app.roster.addEventListener('change', update, { signal });
  for (const name of ['motion:started', 'motion:ended']) app.role.gateway?.addEventListener(name, () => refresh(), { signal });
  refresh();
  update();
  if (openId) {
    attempt(async () => {
      const seen = await one(openId);
      if (!opened) open(seen); // nobody has chosen another one meanwhile
    });
  }
  return {
    el: h('div.recordings', null,
      h('div.page-head', null, h('h1', null, 'Events'),
        h('a.button', { href: '#/alerts', testid: 'to-alerts' }, icon('bell'), 'Alerts')),
      chips, stage, skeleton, days, none, h('div.more', null, more)),
    stop() {
      off.abort();
      clearInterval(timer);
    },
  };
}

/**
 * @param {string} cameraId
 * @param {number} depth how many pages
 */
async function pages(cameraId, depth) {
  /** @type {SeenEvent[]} */
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

/** @typedef {{label: string, items: SeenEvent[]}} Day */

/** @param {SeenEvent[]} items newest first @returns {Day[]} */
function byDay(items) {
  return [...Map.groupBy(items, (e) => day(new Date(e.startedAt)))].map(([label, dayItems]) => ({ label, items: dayItems }));
}

/** @typedef {{open: (e: SeenEvent) => void, nameOf: (e: SeenEvent) => string, refresh: () => Promise<void>}} Actions */

/** @param {Actions} actions */
function dayGroup(actions) {
  const title = h('h2');
  const rows = h('ul.rows');
  const showRows = keyed(rows, (/** @type {SeenEvent} */ e) => e.id, (e) => eventRow(e, actions));
  return {
    el: h('section.day', null, title, rows),
    update(/** @type {Day} */ next) {
      text(title, next.label);
      showRows(next.items);
    },
  };
}

/**
 * @param {SeenEvent} seen
 * @param {Actions} actions
 */
function eventRow(seen, actions) {
  let current = seen;
  // Its address changes with every answer, its picture does not.
  const picture = seen.thumbnailUrl ? h('img', { src: seen.thumbnailUrl, alt: '', loading: 'lazy' }) : icon('pulse');
  const name = h('strong');
  const detail = h('span');
  const status = h('span.status');
  const drop = iconButton('trash', 'Delete', async () => {
    await attempt(async () => {
      await remove(current.id);
      toast('The event was deleted.', 'good');
    });
    await actions.refresh();
  }, 'event-delete');
  const el = h('li.row', { testid: 'event-row', dataset: { eventId: seen.id } },
    h('button.row-play', { type: 'button', testid: 'event-open', onclick: () => actions.open(current) },
      h('span.event-thumb', null, picture), h('span.row-text', null, name, detail), status), drop);
  return {
    el,
    update(/** @type {SeenEvent} */ next) {
      current = next;
      const active = next.status === 'active';
      el.dataset.status = active ? 'recording' : 'ended';
      text(name, actions.nameOf(next));
      text(detail, `${what(next.triggeredBy)} · ${time(new Date(next.startedAt))}`);
      text(status, active ? 'Now' : duration(Date.parse(next.endedAt ?? next.startedAt) - Date.parse(next.startedAt)));
      drop.disabled = active;
    },
  };
}
