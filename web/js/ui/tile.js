// One watched camera on the stage: picture, state in words, controls.

import { bitrate, duration } from '../format.js';
import { draw, keep } from '../stills.js';
import { iconButton, relabel } from './controls.js';
import { h, show, text } from './dom.js';
import { icon } from './icons.js';
import { steerPanel } from './steerpanel.js';
import { toast } from './toast.js';

/** @typedef {import('../watch.js').Watch} Watch */

const PHASES = {
  waking: 'Waking the camera',
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
  ended: 'Ended',
  failed: 'Could not connect',
};
const STILL_MS = 10_000;
const MAX_DENSITY = 2; // more pixels to a point than the eye tells apart are not worth their bits

/**
 * @param {Watch} watch
 * @param {{close: () => void, again: () => void}} actions
 * @returns {{el: HTMLElement, update: () => void, remove: () => void}}
 */
export function tile(watch, actions) {
  const video = h('video', { muted: true, autoplay: true, playsInline: true, testid: 'viewer-video' });
  const parts = overlay(watch, actions);
  const controls = tileControls(watch, video, actions);
  const el = h('figure.tile', { testid: 'tile', tabIndex: 0, 'aria-label': watch.camera.name, dataset: { deviceId: watch.camera.id } },
    parts.still, video, parts.el, controls.el);

  const update = () => {
    el.dataset.phase = watch.phase;
    parts.update();
    controls.update();
  };
  const onStream = () => watch.play(video);
  const timer = setInterval(() => {
    if (watch.phase === 'live' && !watch.hint) keep(watch.camera.id, video);
  }, STILL_MS);
  video.addEventListener('playing', () => setTimeout(() => keep(watch.camera.id, video), 1000), { once: true });
  watch.addEventListener('change', update);
  watch.addEventListener('layers', update);
  watch.addEventListener('reading', parts.read);
  watch.addEventListener('stream', onStream);
  el.addEventListener('keydown', (/** @type {KeyboardEvent} */ e) => controls.key(e));
  el.addEventListener('dblclick', () => controls.full());
  el.addEventListener('click', () => { // a browser that let the page play nothing allows it then
    if (video.paused && video.srcObject) watch.play(video);
  });
  fitPortrait(el, video);
  const size = new ResizeObserver(([{ contentRect: { width, height } }]) => {
    if (width && height) watch.fit(Math.round(Math.min(width, height) * Math.min(devicePixelRatio, MAX_DENSITY)));
  });
  size.observe(el);
  if (watch.stream) onStream();
  update();
  return {
    el,
    update,
    remove() {
      clearInterval(timer);
      size.disconnect();
      watch.removeEventListener('change', update);
      watch.removeEventListener('layers', update);
      watch.removeEventListener('reading', parts.read);
      watch.removeEventListener('stream', onStream);
      video.srcObject = null;
    },
  };
}

/**
 * Small screens give an upright picture more height.
 * @param {HTMLElement} el
 * @param {HTMLVideoElement} video
 */
export function fitPortrait(el, video) {
  video.addEventListener('resize', () => el.classList.toggle('portrait', video.videoHeight > video.videoWidth));
}

/**
 * @param {Watch} watch
 * @param {{close: () => void, again: () => void}} actions
 */
function overlay(watch, actions) {
  const still = h('canvas.tile-still', { 'aria-hidden': 'true' });
  draw(watch.camera.id, still);
  const badge = h('span.live-badge', null, 'Live');
  const clock = h('span.tile-clock', { testid: 'watch-time' });
  const words = h('strong', { testid: 'stream-status' });
  const why = h('span', { testid: 'stream-hint' });
  const again = h('button.button.small', { type: 'button', testid: 'watch-again', onclick: actions.again }, 'Try again');
  const close = h('button.button.small', { type: 'button', onclick: actions.close }, 'Close');
  const centre = h('div.tile-centre', { 'aria-live': 'polite' }, h('i.spinner', { 'aria-hidden': 'true' }), words, why,
    h('div.tile-again', null, again, close));
  const stats = h('span.tile-stats', { testid: 'watch-stats' });
  const update = () => {
    const live = watch.phase === 'live';
    text(words, live && watch.hint ? 'No picture' : watch.phase === 'failed' && watch.liveSince ? 'Interrupted' : PHASES[watch.phase]);
    text(why, watch.hint || watch.reason);
    show(badge, live && !watch.hint);
    centre.classList.toggle('quiet', live && !watch.hint);
    centre.classList.toggle('told', live && watch.hint !== '');
    show(/** @type {HTMLElement} */ (again.parentElement), watch.over);
  };
  return {
    still,
    update,
    el: h('div.tile-overlay', null,
      h('div.tile-top', null, badge, h('span.tile-name', null, watch.camera.name), clock, stats), centre),
    read() {
      const r = watch.reading;
      if (watch.liveSince) text(clock, duration(Date.now() - watch.liveSince.getTime()));
      if (!r || watch.phase !== 'live') return;
      const parts = [r.height ? `${r.width}×${r.height}` : '', r.frameRate ? `${Math.round(r.frameRate)} fps` : '',
        bitrate(r.bitsPerSecond), r.codec, r.relayed ? 'relayed' : ''];
      text(stats, parts.filter(Boolean).join(' · '));
      stats.title = `Round trip ${Math.round(r.roundTrip * 1000)} ms, ${(r.lost * 100).toFixed(1)} % lost, ${r.freezes} freezes`;
    },
  };
}

/**
 * @param {Watch} watch
 * @param {HTMLVideoElement} video
 * @param {{close: () => void}} actions
 */
function tileControls(watch, video, actions) {
  const sound = iconButton('soundOff', 'Turn sound on (m)', () => {
    video.muted = !video.muted;
    update();
  }, 'watch-mute');
  const unmute = h('button.button.small.unmute', { type: 'button', 'aria-label': 'Sound on', testid: 'unmute', onclick: () => sound.click() },
    icon('soundOff'), h('span', null, 'Sound on'));
  const full = () => fullscreen(/** @type {HTMLElement} */ (video.parentElement), video);
  const shot = () => snapshot(video, watch.camera.name);
  const pip = () => pictureInPicture(video);
  const talk = iconButton('mic', 'Talk to the camera (t)', () => (watch.talk?.on ? watch.talk.stop() : watch.talk?.start()), 'talk');
  const steer = steerPanel(watch);
  const keys = /** @type {Record<string, () => void>} */ ({ ...steer.keys, t: () => talk.click(), m: () => sound.click(), f: full, s: shot, p: pip });
  const tools = [iconButton('shot', 'Save a picture (s)', shot, 'snapshot'),
    document.pictureInPictureEnabled && iconButton('pip', 'Picture in picture (p)', pip, 'pip'),
    iconButton('full', 'Full screen (f)', full, 'fullscreen')];
  const quality = qualityMenu(watch);
  const end = h('button.button.small.end', { type: 'button', 'aria-label': 'End', testid: 'end', onclick: actions.close }, icon('stop'), h('span', null, 'End'));
  let everHeard = false;
  const update = () => {
    everHeard ||= !video.muted;
    relabel(sound, video.muted ? 'soundOff' : 'sound', video.muted ? 'Turn sound on (m)' : 'Turn sound off (m)');
    show(unmute, watch.phase === 'live' && !everHeard);
    show(sound, everHeard);
    for (const tool of tools) if (tool) tool.disabled = watch.phase !== 'live';
    quality.update();
    steer.update();
    show(talk, watch.phase === 'live' && Boolean(watch.talk?.possible));
    talk.classList.toggle('talking', Boolean(watch.talk?.on));
    relabel(talk, 'mic', watch.talk?.on ? 'Stop talking (t)' : 'Talk to the camera (t)');
    if (watch.talk?.problem) toast(watch.talk.problem);
    show(end, !watch.over);
  };
  return {
    update,
    full,
    el: h('div.tile-controls', null, unmute, sound, talk, h('span.grow'), quality.el, steer.button, tools, end, steer.panel),
    key(/** @type {KeyboardEvent} */ e) {
      if (e.ctrlKey || e.metaKey || e.altKey || !keys[e.key] || watch.over) return;
      e.preventDefault();
      keys[e.key]();
    },
  };
}

/**
 * The heights that the camera sends, to choose among; hidden where there is
 * but one.
 * @param {Watch} watch
 */
function qualityMenu(watch) {
  const select = h('select.tile-quality', {
    title: 'Picture quality', 'aria-label': 'Picture quality', testid: 'quality',
    onchange: () => watch.choose(Number(select.value)),
  });
  let shown = '';
  return {
    el: select,
    update() {
      const heights = [...new Set(watch.layers.filter((l) => l.active && l.height).map((l) => Math.min(l.width, l.height)))];
      if (watch.height && !heights.includes(watch.height)) heights.push(watch.height);
      heights.sort((a, b) => b - a);
      show(select, watch.phase === 'live' && heights.length > 1);
      if (shown === heights.join()) return;
      shown = heights.join();
      select.replaceChildren(h('option', { value: '0' }, 'Auto'), ...heights.map((n) => h('option', { value: String(n) }, `${n}p`)));
      select.value = String(watch.height);
    },
  };
}

/**
 * @param {HTMLElement} el
 * @param {HTMLVideoElement & {webkitEnterFullscreen?: () => void}} video
 */
function fullscreen(el, video) {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (el.requestFullscreen) el.requestFullscreen().catch(() => toast('This browser does not allow full screen here.'));
  else video.webkitEnterFullscreen?.(); // iPhones know only this one
}

/** @param {HTMLVideoElement} video */
async function pictureInPicture(video) {
  try {
    if (document.pictureInPictureElement === video) await document.exitPictureInPicture();
    else await video.requestPictureInPicture();
  } catch {
    toast('Picture in picture is not possible right now.');
  }
}

/**
 * Saves the present frame as a file.
 * @param {HTMLVideoElement} video
 * @param {string} name
 */
function snapshot(video, name) {
  const canvas = h('canvas', { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  canvas.toBlob((/** @type {Blob | null} */ blob) => {
    if (!blob) return;
    const url = URL.createObjectURL(blob);
    const at = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
    h('a', { href: url, download: `${name} ${at}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    toast('The picture was saved.', 'good');
  }, 'image/png');
}
