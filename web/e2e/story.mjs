// The whole story through /sim, in a real Chromium against a real server:
//   node story.mjs <base URL> [folder for screenshots]
// Prints each step; the first thing that is not as it should be ends it with
// exit code 1 and a sentence.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { allowSteering, contrast, frames, launch, openTab } from './browser.mjs';

const base = process.argv[2] ?? process.env.BASE_URL;
const shots = process.argv[3] ?? process.env.SHOTS;
if (!base) {
  console.error('usage: node story.mjs <base URL> [folder for screenshots]');
  process.exit(2);
}
if (shots) mkdirSync(shots, { recursive: true });

const account = { name: 'Ada Lens', email: `ada-${Date.now()}@example.org`, password: 'a long enough password' };
const started = Date.now();
/** @type {string[]} */
const faults = [];
/** @type {Map<string, import('playwright-core').Page>} */
const tabs = new Map();
let current = 'start';

/**
 * @param {string} name
 * @param {() => Promise<void>} action
 */
async function step(name, action) {
  current = name;
  await action();
  if (faults.length) throw new Error(`the page reports: ${faults.join('; ')}`);
  console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(5)} s  ${name}`);
}

/**
 * @param {boolean} claim
 * @param {string} otherwise
 */
function check(claim, otherwise) {
  if (!claim) throw new Error(otherwise);
}

const LIMIT_MS = 60_000; // for what must happen soon

/**
 * Polls until read's value satisfies enough.
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} read
 * @param {(value: T) => boolean} enough
 * @returns {Promise<T>}
 */
async function until(what, read, enough) {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    const value = await read();
    if (enough(value)) return value;
    if (Date.now() > end) throw new Error(`${what}: still ${value} after ${LIMIT_MS / 1000} s`);
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
}

/** @param {string} name */
async function shot(name) {
  if (!shots) return;
  await Promise.allSettled([...tabs].map(([tab, page]) => page.screenshot({ path: join(shots, `${name}-${tab}.png`) })));
}

/**
 * @param {import('playwright-core').BrowserContext} context
 * @param {string} name
 */
async function tab(context, name) {
  const page = await openTab(context, name, faults);
  tabs.set(name, page);
  await page.goto(new URL('/sim', base).href);
  return page;
}

/** @typedef {import('playwright-core').Page} Page */

/** @param {Page} page @param {string} id */
const at = (page, id) => page.getByTestId(id);

/** @param {Page} page @param {string} name @param {string} source */
async function becomeCamera(page, name, source) {
  await at(page, 'become-camera').click();
  await at(page, 'device-name').fill(name);
  await at(page, 'source-select').selectOption(source);
  await at(page, 'dialog-ok').click();
  await page.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();
}

/** @param {Page} page */
async function becomeViewer(page) {
  await at(page, 'become-viewer').click();
  await at(page, 'camera-list').waitFor();
}

/** @param {Page} page @param {string} camera */
async function watch(page, camera) {
  await at(page, 'camera-row').filter({ hasText: camera }).getByTestId('watch').click();
  await until(`${camera} goes live`, () => phase(page), (p) => {
    check(p !== 'failed', `the viewer says it failed: ${p}`);
    return p === 'live';
  });
}

/** @param {Page} page */
const phase = (page) => at(page, 'tile').getAttribute('data-phase');

/**
 * The frames must be more after each second. How many more depends on how
 * busy the machine is, and is not what this is about.
 * @param {Page} page
 * @param {string} what
 * @param {number} [seconds]
 */
async function framesGrow(page, what, seconds = 3) {
  for (let i = 0; i < seconds; i++) {
    let before = await frames(page);
    await page.waitForTimeout(1000);
    await until(`${what} more than ${before} frames`, () => frames(page), (after) => {
      before = Math.min(before, after); // a new connection counts from zero
      return after > before;
    });
  }
}

/**
 * The camera sends several sizes; which ones is up to its browser.
 * @param {Page} page
 */
async function chooseQuality(page) {
  const menu = at(page, 'quality');
  const heights = async () => (await menu.locator('option').evaluateAll((all) => all.map((o) => Number(o.value)))).filter(Boolean);
  const height = () => at(page, 'viewer-video').evaluate((video) => video.videoHeight);
  const offered = await until('heights to choose among', heights, (list) => list.length > 1);
  let least = Math.min(...offered);
  await until('the least picture', async () => {
    least = Math.min(...await heights()); // a busy camera makes all its pictures smaller
    if (await menu.inputValue() !== String(least)) await menu.selectOption(String(least));
    return [await height(), least];
  }, ([shown, wanted]) => shown === wanted);
  await framesGrow(page, 'the viewer, of the smaller picture, decodes', 1);
  await shot('2-small');
  await menu.selectOption('0');
  await until(`a picture of more than ${least} lines`, height, (n) => n > least);
}

/**
 * The microphone goes to the camera, and only while the button is on.
 * @param {Page} viewer @param {Page} camera
 */
async function talk(viewer, camera) {
  const heard = () => camera.evaluate(async () => {
    let packets = 0;
    for (const s of (await window.peers.at(-1).getStats()).values()) {
      if (s.type === 'inbound-rtp' && s.kind === 'audio') packets += s.packetsReceived;
    }
    return packets;
  });
  check(await heard() === 0, 'the camera hears somebody who did not ask to talk');
  await at(viewer, 'talk').click();
  await until('the camera hears the viewer', heard, (n) => n > 20);
  await shot('2-talk');
  await at(viewer, 'talk').click();
  await viewer.locator('[data-testid=talk]:not(.talking)').waitFor();
  let last = -1;
  await until('the viewer is silent again', heard, (n) => {
    const silent = n === last;
    last = n;
    return silent;
  });
}

/** @param {Page} camera */
const zoomOf = (camera) => camera.evaluate(() => window.peers.at(-1).getSenders().find((s) => s.track?.kind === 'video').track.getSettings().zoom);

/**
 * What a viewer's slider says goes to the camera over a data channel, and what
 * the camera then is comes back to all viewers.
 * @param {Page} viewer @param {Page} camera
 */
async function steer(viewer, camera) {
  check(await zoomOf(camera) === 100, 'the camera is not as it was');
  await at(viewer, 'steer').click();
  const zoom = at(viewer, 'steer-zoom');
  await until('the slider is where the camera is', () => zoom.inputValue(), (v) => v === '100');
  await zoom.fill('300');
  await until('the camera zooms', () => zoomOf(camera), (z) => z === 300);
  await at(viewer, 'steer-pan').fill('180');
  await until('the camera pans, and stays zoomed', () => camera.evaluate(() => {
    const { pan, zoom: z } = window.peers.at(-1).getSenders().find((s) => s.track?.kind === 'video').track.getSettings();
    return `${pan} ${z}`;
  }), (s) => s === '180 300');
  await shot('2-steer');
}

const FIGURES_MS = 60_000; // how long it takes is a busy machine's affair; a wrong clock or unit makes it longer

/**
 * What the viewer's browser measures reaches the server: of the stream, and in
 * sum.
 * @param {Page} viewer
 */
async function tellsHowItPlays(viewer) {
  const read = async (/** @type {string} */ path) => {
    const response = await viewer.request.get(new URL(path, base).href);
    check(response.ok(), `${path} answers ${response.status()}`);
    return response;
  };
  const stream = (await (await read('/streams?limit=200')).json()).items.find((/** @type {any} */ s) => s.status === 'streaming');
  const report = async () => (await (await read(`/streams/${stream.id}/statistics`)).json()).viewer;
  // A first report may come before there was a second to measure over.
  const figures = await until('the viewer tells the way from lens to screen', report, (r) => r?.glassToGlassMs > 0 && r.bitrate > 0);
  for (const name of ['glassToGlassMs', 'firstFrameMs']) {
    check(figures[name] > 0 && figures[name] < FIGURES_MS, `${name} is ${figures[name]}`);
  }
  check(figures.jitterMs >= 0 && !figures.blocked, `the viewer tells ${JSON.stringify(figures)}`);
  const metrics = await (await read('/ops/metrics')).text();
  for (const name of ['glass_to_glass', 'first_frame', 'bitrate']) {
    const [sum, count] = ['sum', 'count'].map((of) => Number(new RegExp(`^securecam_playback_${name}_${of} (\\S+)$`, 'm').exec(metrics)?.[1]));
    check(count > 0 && sum > 0, `${name} has the sum ${sum} of ${count}`);
    if (name !== 'bitrate') check(sum / count < FIGURES_MS / 1000, `${name} is ${sum / count} s on average`);
  }
  return `${Math.round(figures.firstFrameMs)} ms to the first frame, ${Math.round(figures.glassToGlassMs)} ms from lens to screen`;
}

const GIVES_UP_MS = 11_000; // a little more than a page waits for its restart

/**
 * The connection says that it has lost the other side; nothing else tells a
 * page that its network is another one. It restarts ICE and goes on. Returns a
 * check for later: that the page has kept this connection.
 * @param {Page} page
 */
async function changeNetwork(page) {
  const session = () => page.evaluate(() => {
    const peer = window.peers.findLast((p) => p.connectionState !== 'closed');
    const ufrag = (sdp) => /a=ice-ufrag:(\S+)/.exec(sdp)[1];
    return {
      ours: ufrag(peer.currentLocalDescription.sdp), theirs: ufrag(peer.currentRemoteDescription.sdp),
      ice: peer.iceConnectionState, peers: window.peers.length,
    };
  });
  const before = await session();
  await page.evaluate(() => {
    const peer = window.peers.findLast((p) => p.connectionState !== 'closed');
    Object.defineProperty(peer, 'connectionState', { get: () => 'disconnected', configurable: true });
    peer.onconnectionstatechange();
    delete peer.connectionState;
  });
  const after = await until('a new ICE session', session, (s) => s.ours !== before.ours && s.theirs !== before.theirs
    && ['connected', 'completed'].includes(s.ice));
  check(after.peers === before.peers, 'the page connected anew instead of restarting ICE');
  const restarted = Date.now();
  await framesGrow(page, 'after the restart, the page sends or decodes', 2);
  return async () => {
    await page.waitForTimeout(Math.max(0, restarted + GIVES_UP_MS - Date.now()));
    const { peers } = await session();
    check(peers === before.peers, 'the page gave up a connection that its restart had saved');
  };
}

/** @param {Page} page */
async function pictureIsThere(page) {
  // What the fake camera draws is now and then a plain area almost everywhere.
  await until('a picture with some contrast', () => contrast(at(page, 'viewer-video')), (value) => value > 10);
}

async function withCamera() {
  const browser = await launch({ camera: true });
  const context = await browser.newContext({ permissions: ['camera', 'microphone'], viewport: { width: 1280, height: 800 } });
  await allowSteering(context);
  const camera = await tab(context, 'camera');
  await step('signs up', async () => {
    await at(camera, 'auth-toggle').click();
    for (const key of /** @type {const} */ (['name', 'email', 'password'])) await at(camera, `auth-${key}`).fill(account[key]);
    await shot('1-sign-up');
    await at(camera, 'auth-submit').click();
    await at(camera, 'become-camera').waitFor();
  });
  await step('makes a tab a camera', () => becomeCamera(camera, 'Front door', { index: 0 }));
  const viewer = await tab(context, 'viewer');
  await step('makes another tab a viewer', () => becomeViewer(viewer));
  await step('requests the camera and sees it live', () => watch(viewer, 'Front door'));
  await step('the picture moves and is a picture', async () => {
    await framesGrow(viewer, 'the viewer decodes');
    await pictureIsThere(viewer);
  });
  await step('the viewer tells how it plays', async () => console.log(`        ${await tellsHowItPlays(viewer)}`));
  await step('chooses a smaller picture, and the best again', () => chooseQuality(viewer));
  await step('talks to the camera', () => talk(viewer, camera));
  await step('steers the camera', () => steer(viewer, camera));
  /** @type {(() => Promise<void>)[]} */
  const kept = [];
  await step('the viewer changes networks and sees on', async () => { kept.push(await changeNetwork(viewer)); });
  await step('the camera changes networks and is seen on', async () => {
    kept.push(await changeNetwork(camera));
    await framesGrow(viewer, 'the viewer of the camera that moved decodes');
  });
  const second = await tab(context, 'second');
  await step('a second viewer joins the running camera', async () => {
    const before = await camera.evaluate(() => window.peers.length);
    await becomeViewer(second);
    await watch(second, 'Front door');
    await until('the camera counts its viewers', () => at(camera, 'viewers-count').textContent(), (n) => n === '2');
    check(await camera.evaluate(() => window.peers.length) === before, 'the camera connected anew for the second viewer');
    await Promise.all([framesGrow(viewer, 'the first viewer decodes'), framesGrow(second, 'the second viewer decodes')]);
    await shot('2-live');
  });
  await step('what one viewer does to the camera, the other sees', async () => {
    await at(second, 'steer').click();
    await until('the newcomer learns the zoom', () => at(second, 'steer-zoom').inputValue(), (v) => v === '300');
    await at(second, 'tile').press('-');
    await until('the camera zooms out', () => zoomOf(camera), (z) => z === 270);
    await until('the first viewer learns it', () => at(viewer, 'steer-zoom').inputValue(), (v) => v === '270');
    await at(second, 'steer').click();
    await at(viewer, 'steer').click();
    await at(viewer, 'steer-panel').waitFor({ state: 'hidden' });
  });
  await step('both have kept the connections that they restarted', async () => {
    for (const connection of kept) await connection();
  });
  await step('ends both streams, and the camera rests', async () => {
    await at(second, 'end').click();
    await until('one viewer is left', () => at(camera, 'viewers-count').textContent(), (n) => n === '1');
    await framesGrow(viewer, 'the first viewer, alone again, decodes', 1);
    await at(viewer, 'end').click();
    await camera.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();
  });
  await step('the recording is ready', () => recordingReady(viewer, 1));
  await step('the recording plays, and plays on from its middle', () => playAndSeek(viewer));
  await step('an always-recorded camera goes live by itself', async () => {
    await at(camera, 'policy').getByRole('radio', { name: 'Always' }).click();
    await camera.locator('[data-testid=camera-stage][data-phase=live]').waitFor();
    await framesGrow(camera, 'the camera encodes', 2);
    await shot('4-always');
    await at(camera, 'policy').getByRole('radio', { name: 'While watched' }).click();
    await camera.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();
  });
  await step('its recording is ready too, and can be deleted', async () => {
    await recordingReady(viewer, 2);
    await at(viewer, 'recording-row').first().getByTestId('recording-delete').click();
    await at(viewer, 'dialog-ok').click();
    await until('one recording is left', () => at(viewer, 'recording-row').count(), (n) => n === 1);
  });
  await browser.close();
  tabs.clear();
}

/** @param {Page} page @param {number} count */
async function recordingReady(page, count) {
  await at(page, 'nav-recordings').click();
  const ready = page.locator('[data-testid=recording-row][data-status=ready]');
  await until('recordings that are ready', () => ready.count(), (n) => n >= count);
}

/** @param {Page} page */
async function playAndSeek(page) {
  await page.getByTestId('recording-play').first().click();
  const video = at(page, 'recording-video');
  const time = () => video.evaluate((el) => /** @type {HTMLVideoElement} */ (el).currentTime);
  await until('it plays', time, (t) => t > 0.5);
  const duration = await video.evaluate((el) => /** @type {HTMLVideoElement} */ (el).duration);
  check(Number.isFinite(duration) && duration > 3, `the recording's duration is ${duration}`);
  const middle = duration / 2;
  await video.evaluate((el, t) => { /** @type {HTMLVideoElement} */ (el).currentTime = t; }, middle);
  await until('it goes on after seeking', time, (t) => t > middle + 0.5);
  await shot('3-recording');
  await at(page, 'player-close').click();
}

async function withoutCamera() {
  const browser = await launch({ camera: false });
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
  const camera = await tab(context, 'pattern');
  await step('signs in on a phone without a camera', async () => {
    await at(camera, 'auth-email').fill(account.email);
    await at(camera, 'auth-password').fill(account.password);
    await at(camera, 'auth-submit').click();
    await at(camera, 'become-camera').waitFor();
  });
  await step('says why there is no camera and shows the test pattern', async () => {
    await becomeCamera(camera, 'Test pattern', { index: 0 });
    const why = await at(camera, 'source-notice').innerText();
    check(why.length > 40, `the notice explains nothing: ${why}`);
  });
  const viewer = await tab(context, 'phone');
  await step('the test pattern is seen live', async () => {
    await becomeViewer(viewer);
    await watch(viewer, 'Test pattern');
    await framesGrow(viewer, 'the viewer decodes', 2);
    await pictureIsThere(viewer);
    await shot('5-pattern');
  });
  await step('the camera tab goes away, and the viewer is told', async () => {
    await camera.getByTestId('stop-camera').click();
    await until('the viewer notices', () => phase(viewer), (p) => p === 'ended' || p === 'failed');
    const words = await at(viewer, 'stream-hint').innerText();
    check(words.length > 10, 'the viewer gives no reason');
  });
  await browser.close();
}

try {
  await withCamera();
  await withoutCamera();
  console.log(`the story is true, in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  process.exit(0);
} catch (err) {
  await shot('failed');
  console.error(`FAILED at "${current}": ${err instanceof Error ? err.message : err}`);
  for (const fault of faults) console.error(`  ${fault}`);
  process.exit(1);
}
