// A camera tab: what it sees, who watches, and its settings.

import { bitrate, duration } from '../format.js';
import { keep } from '../stills.js';
import { listCameras, PATTERN } from '../source.js';
import { stayAwake } from '../wakelock.js';
import { toggle } from './alertspage.js';
import { iconButton, POLICIES, relabel, segmented } from './controls.js';
import { changePolicy } from './devicecard.js';
import { fillSources, sourceSelect } from './dialog.js';
import { h, show, text } from './dom.js';
import { icon } from './icons.js';
import { fitPortrait } from './tile.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../camera.js').Camera} Camera */

const PHASES = {
  opening: 'Opening the camera',
  ready: 'Ready',
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
};
const MIRROR_KEY = 'securecam.mirror';

/**
 * @param {App} app
 * @param {Camera} camera
 * @returns {{el: HTMLElement, stop: () => void}}
 */
export function cameraPage(app, camera) {
  const stage = preview(app, camera);
  const side = settings(app, camera);
  const sleep = stayAwake();
  const update = () => {
    stage.update();
    side.update();
  };
  const off = new AbortController();
  const { signal } = off;
  camera.addEventListener('change', update, { signal });
  camera.addEventListener('reading', side.read, { signal });
  app.role.gateway?.addEventListener('state', update, { signal });
  app.roster.addEventListener('change', update, { signal });
  app.tab.addEventListener('change', update, { signal });
  const timer = setInterval(() => stage.tick(), 1000);
  update();
  return {
    el: h('div.watch-page', null, h('h1.sr-only', null, 'This camera'), stage.el, side.el),
    stop() {
      off.abort();
      clearInterval(timer);
      stage.stop();
      side.stop();
      sleep();
    },
  };
}

/**
 * @param {App} app
 * @param {Camera} camera
 */
function preview(app, camera) {
  const video = h('video', { muted: true, autoplay: true, playsInline: true, testid: 'camera-preview' });
  const badge = h('span.live-badge', null, 'Live');
  const clock = h('span.tile-clock');
  const count = h('span', { testid: 'viewers-count' });
  const viewers = h('span.tile-viewers', null, icon('view'), count);
  const state = h('strong', { testid: 'camera-status' });
  const why = h('span', { testid: 'camera-problem' });
  const centre = h('div.tile-centre', { 'aria-live': 'polite' }, h('i.spinner', { 'aria-hidden': 'true' }), state, why);
  const deafen = iconButton('sound', 'Do not play what viewers say', () => camera.setDeaf(!camera.deaf), 'camera-deafen');
  const mute = iconButton('mic', 'Mute', () => camera.setMuted(!camera.muted), 'camera-mute');
  const mirror = iconButton('flip', 'Mirror the preview', () => {
    sessionStorage.setItem(MIRROR_KEY, String(!mirrored()));
    update();
  }, 'camera-mirror');
  const endAll = h('button.button.small.end', { type: 'button', testid: 'end-all', onclick: () => camera.endStreams() },
    icon('stop'), h('span', null, 'End for all'));
  const tile = h('figure.tile', { testid: 'camera-stage' }, video,
    h('div.tile-overlay', null,
      h('div.tile-top', null, badge, h('span.tile-name', null, app.tab.device?.name ?? ''), clock, viewers), centre),
    h('div.tile-controls', null, mute, deafen, mirror, h('span.grow'), endAll));

  fitPortrait(tile, video);

  /** @returns {boolean} */
  function mirrored() {
    const own = sessionStorage.getItem(MIRROR_KEY);
    return own === null ? camera.source?.mirrored ?? false : own === 'true';
  }
  function update() {
    const { phase, source } = camera;
    const offline = app.role.gateway?.state !== 'online';
    const live = phase === 'live';
    if (source && video.srcObject !== source.stream) video.srcObject = source.stream;
    video.classList.toggle('mirrored', mirrored());
    tile.dataset.phase = live ? 'live' : phase === 'ready' && !offline ? 'ready' : phase === 'ready' ? 'offline' : phase;
    text(state, phase === 'ready' && offline ? 'Connecting to the server' : PHASES[phase]);
    text(why, camera.problem || (phase === 'ready' && !offline && camera.known ? 'Sends nothing until somebody watches.' : ''));
    text(/** @type {Element} */ (tile.querySelector('.tile-name')), app.tab.device?.name ?? '');
    show(badge, live);
    show(viewers, phase !== 'ready' && phase !== 'opening');
    text(count, String(camera.viewers.size));
    viewers.title = camera.viewers.size === 1 ? 'One viewer' : `${camera.viewers.size} viewers`;
    centre.classList.toggle('quiet', live);
    relabel(mute, camera.muted ? 'micOff' : 'mic', camera.muted ? 'Unmute' : 'Mute');
    mute.classList.toggle('on', camera.muted);
    relabel(deafen, camera.deaf ? 'soundOff' : 'sound', camera.deaf ? 'Play what viewers say' : 'Do not play what viewers say');
    deafen.classList.toggle('on', camera.deaf);
    show(endAll, camera.viewers.size > 0);
    if (!camera.liveSince) text(clock, '');
  }
  return {
    el: h('section.stage', { 'aria-label': 'Preview' }, h('div.tiles', { dataset: { count: '1' } }, tile)),
    update,
    tick() {
      if (camera.liveSince) text(clock, duration(Date.now() - camera.liveSince.getTime()));
    },
    stop() {
      keep(app.tab.device?.id ?? '', video);
      video.srcObject = null;
    },
  };
}

/**
 * Whether this camera detects motion, and how easily.
 * @param {App} app
 */
function motionPanel(app) {
  const motion = app.role.motion;
  const onOff = toggle('Detect motion', 'motion-on', async (on) => { motion?.set(on); });
  const meter = h('meter.motion-meter', { min: 0, max: 1, testid: 'motion-level', 'aria-label': 'How much moves now' });
  const slider = h('input', {
    type: 'range', min: 1, max: 100, testid: 'motion-sensitivity', 'aria-label': 'Sensitivity',
    oninput: () => { motion?.adjust(Number(slider.value)); },
  });
  const details = h('div.motion-details', null, meter,
    h('label.field', null, h('span', null, 'Sensitivity'), slider));
  const words = h('p.hint', { testid: 'motion-words', 'aria-live': 'polite' });
  const update = () => {
    if (!motion) return;
    onOff.update(motion.on);
    show(details, motion.on);
    slider.value = String(motion.sensitivity);
    text(words, motion.problem || (!motion.on ? 'Your viewers are told when something moves.' : motion.moving ? 'Something moves.' : 'All is quiet.'));
  };
  // On a scale on which the threshold is the middle: what is beyond it counts.
  const level = () => { meter.value = motion ? motion.level / (motion.level + motion.threshold || 1) : 0; };
  motion?.addEventListener('change', update);
  motion?.addEventListener('level', level);
  return {
    el: h('section.panel', null, h('div.panel-head', null, h('h2', null, 'Detect motion'), onOff.el), details, words),
    update,
    stop() {
      motion?.removeEventListener('change', update);
      motion?.removeEventListener('level', level);
    },
  };
}

/**
 * @param {App} app
 * @param {Camera} camera
 */
function settings(app, camera) {
  const select = sourceSelect();
  select.onchange = () => app.role.useSource(select.value);
  const retry = h('button.button.small', { type: 'button', testid: 'retry-source', onclick: () => app.role.useSource('') }, 'Try the camera again');
  const why = h('p');
  const notice = h('div.notice', { testid: 'source-notice' }, icon('alert'), h('div', null, h('strong', null, 'Showing the test pattern'), why, retry));
  const policy = segmented({
    label: 'Record this camera',
    choices: [...POLICIES],
    testid: 'policy',
    onchange: async (value) => { if (app.tab.device) await changePolicy(app, app.tab.device, value); },
  });
  const policyWords = h('p.hint');
  const watching = h('ul.plain-list', { testid: 'watching' });
  const stats = statistics(camera);
  const motion = motionPanel(app);
  let listed = '';

  async function updateSources() {
    const value = camera.source?.id ?? '';
    if (value === listed) return;
    listed = value;
    const cameras = await listCameras();
    if (listed === value) fillSources(select, cameras, value);
  }
  return {
    el: h('aside.side', null, notice,
      h('section.panel', null, h('h2', null, 'Picture'), h('label.field', null, h('span.sr-only', null, 'Source'), select)),
      h('section.panel', null, h('h2', null, 'Record'), policy.el, policyWords),
      motion.el,
      h('section.panel', null, h('h2', null, 'Watching now'), watching),
      stats.el,
      h('div.side-foot', null, h('button.button', { type: 'button', testid: 'stop-camera', onclick: () => app.role.leave() }, 'Stop being a camera'))),
    read: stats.read,
    stop: motion.stop,
    update() {
      updateSources();
      motion.update();
      show(notice, camera.substitute !== '' && camera.source?.id === PATTERN);
      text(why, camera.substitute);
      const value = app.tab.device?.recordingPolicy ?? 'off';
      policy.update(value);
      const watched = 'Recorded while somebody watches';
      text(policyWords, {
        off: 'Nothing is recorded.',
        session: `${watched}.`,
        // Where devices send media to each other, this tab records, and only then.
        continuous: camera.forwarded ? 'Stays live and is recorded all the time.' : `${watched}: the server takes no media of its own.`,
      }[value]);
      const names = [...camera.viewers.values()].map((s) => app.roster.find(s.requesterDeviceId)?.name ?? 'A viewer');
      watching.replaceChildren(...(names.length ? names : [camera.known ? 'Nobody' : 'One moment…']).map((n) => h('li', null, n)));
      stats.read();
    },
  };
}

/** @param {Camera} camera */
function statistics(camera) {
  const rows = ['Size', 'Frames', 'Data rate', 'Codec', 'Round trip', 'Held back by'].map((label) => ({ label, value: h('dd') }));
  const el = h('section.panel', { testid: 'camera-stats' }, h('h2', null, 'Sending'),
    h('dl.stats', null, rows.map(({ label, value }) => h('div', null, h('dt', null, label), value))));
  const limits = /** @type {Record<string, string>} */ ({ none: 'nothing', cpu: 'this device’s speed', bandwidth: 'the network' });
  return {
    el,
    read() {
      const r = camera.reading;
      show(el, r !== null && camera.phase === 'live');
      if (!r) return;
      const values = [r.height ? `${r.width} × ${r.height}` : '–', `${Math.round(r.frameRate)} per second`, bitrate(r.bitsPerSecond),
        r.codec || '–', r.roundTrip ? `${Math.round(r.roundTrip * 1000)} ms` : '–', limits[r.limitedBy] ?? 'other'];
      values.forEach((value, i) => text(rows[i].value, value));
    },
  };
}
