// A camera and two viewers in Chromium, on a server that forwards no media:
//   node p2p.mjs <base URL> [folder for screenshots]
// The server must run with MEDIA_MODE=p2p.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { allowSteering, contrast, frames, launch, openTab } from './browser.mjs';

const base = process.argv[2];
const shots = process.argv[3];
if (shots) mkdirSync(shots, { recursive: true });
const account = { name: 'Ada Lens', email: `ada-${Date.now()}@example.org`, password: 'a long enough password' };
/** @type {string[]} */
const faults = [];
const LIMIT_MS = 180_000; // a busy machine takes its time

/** @typedef {import('playwright-core').Page} Page */

/** @param {Page} page @param {string} id */
const at = (page, id) => page.getByTestId(id);

/** @param {unknown} claim @param {string} otherwise */
function check(claim, otherwise) {
  if (!claim) throw new Error(otherwise);
}

/**
 * @template T
 * @param {string} what
 * @param {() => T | Promise<T>} read
 * @returns {Promise<T>} its first value that is one
 */
async function until(what, read) {
  for (const end = Date.now() + LIMIT_MS; Date.now() < end;) {
    const value = await read();
    if (value) return value;
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
  throw new Error(`${what}: not after ${LIMIT_MS / 1000} s`);
}

/** A page's way to the gateway, which each time begins anew, without what it missed. */
class Wire {
  /** The next call to this page gets "bye" for an answer. */
  refuses = false;
  /** The connections for which this page has asked, as often as it has. @type {string[]} */
  calls = [];
  /** @type {string[] | null} the answers that are on their way while not null */
  #held = null;
  #cut = false;
  #hangUp = () => {};
  #pass = (/** @type {string} */ _text) => {};

  /** @param {Page} page that is not loaded yet */
  async tap(page) {
    await page.routeWebSocket('**/realtime', (socket) => {
      if (this.#cut) return void socket.close({ code: 4000 });
      const server = socket.connectToServer();
      this.#hangUp = () => { for (const end of [server, socket]) end.close({ code: 4000 }); };
      socket.onMessage((text) => {
        const { event, data } = JSON.parse(String(text));
        if (event === 'webrtc:signal' && data.signal.type === 'offer') this.calls.push(data.signal.connection);
        server.send(forgetful(String(text)));
      });
      this.#pass = (text) => socket.send(text);
      server.onMessage((text) => {
        if (this.#cut) return undefined;
        const { event, data } = JSON.parse(String(text));
        if (this.#held && data?.signal?.type === 'answer') return void this.#held.push(text);
        if (!this.refuses || data?.signal?.type !== 'offer') return socket.send(text);
        this.refuses = false;
        const signal = { type: 'bye', connection: data.signal.connection };
        return server.send(JSON.stringify({ event, data: { streamSessionId: data.streamSessionId, signal } }));
      });
    });
  }

  /** Answers to this page take their time. */
  hold() {
    this.#held = [];
  }

  /** The last of them arrives, the others are lost. */
  release() {
    this.#pass(this.#held.at(-1));
    this.#held = null;
  }

  cut() {
    this.#cut = true;
    this.#hangUp();
  }

  mend() {
    this.#cut = false;
  }
}

/** @param {string} text what a page tells the gateway */
function forgetful(text) {
  const message = JSON.parse(text);
  if (message.event === 'authenticate') delete message.data.after;
  return JSON.stringify(message);
}

/** @param {import('playwright-core').BrowserContext} context @param {string} name @param {Wire} [wire] */
async function open(context, name, wire) {
  const page = await openTab(context, name, faults);
  await wire?.tap(page);
  await page.goto(new URL('/sim', base).href);
  return page;
}

/** @param {Page} page @param {string} name */
async function shot(page, name) {
  if (shots) await page.screenshot({ path: join(shots, `p2p-${name}.png`) });
}

/** @param {Page} page */
async function sees(page) {
  await until('the viewer is live', async () => await at(page, 'tile').getAttribute('data-phase') === 'live');
  await until('a picture', async () => await contrast(at(page, 'viewer-video')) > 10);
  const before = await frames(page);
  await until('the picture moves', async () => await frames(page) > before + 10);
}

/** @param {Page} page @param {string} camera */
async function watch(page, camera) {
  await at(page, 'camera-row').filter({ hasText: camera }).getByTestId('watch').click();
  await sees(page);
}

/** @param {Page} page */
const openPeers = (page) => page.evaluate(() => window.peers.filter((p) => p.connectionState === 'connected').length);

/** Audio packets that the page has received. @param {Page} page */
const heard = (page) => page.evaluate(async () => {
  let packets = 0;
  for (const peer of window.peers) {
    for (const s of (await peer.getStats()).values()) if (s.type === 'inbound-rtp' && s.kind === 'audio') packets += s.packetsReceived;
  }
  return packets;
});

const browser = await launch({ camera: true });
const context = await browser.newContext({ permissions: ['camera', 'microphone'], viewport: { width: 1280, height: 800 } });
await allowSteering(context);
const wires = { camera: new Wire(), second: new Wire() };
const camera = await open(context, 'camera', wires.camera);
await at(camera, 'auth-toggle').click();
for (const key of /** @type {const} */ (['name', 'email', 'password'])) await at(camera, `auth-${key}`).fill(account[key]);
await at(camera, 'auth-submit').click();
await at(camera, 'become-camera').click();
await at(camera, 'device-name').fill('Front door');
await at(camera, 'source-select').selectOption({ index: 0 });
await at(camera, 'dialog-ok').click();
await camera.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();

const viewers = [await open(context, 'first'), await open(context, 'second', wires.second)];
for (const [n, viewer] of viewers.entries()) {
  await at(viewer, 'become-viewer').click();
  await at(viewer, 'camera-list').waitFor();
  await watch(viewer, 'Front door');
  await until('a connection for each viewer', async () => await openPeers(camera) === n + 1);
}
await camera.locator('[data-testid=camera-stage][data-phase=live]').waitFor();
await until('the camera counts both viewers', async () => await at(camera, 'viewers-count').textContent() === '2');
await Promise.all(viewers.map((viewer) => until('the viewer hears the camera', () => heard(viewer))));

// The devices' own reports tell each how far the other's clock is off.
const read = async (/** @type {string} */ path) => (await context.request.get(new URL(path, base).href)).json();
const streams = (await read('/streams?limit=200')).items.filter((/** @type {any} */ s) => s.status === 'streaming');
const told = await until('a viewer tells the way from lens to screen', async () => {
  const all = await Promise.all(streams.map((/** @type {any} */ s) => read(`/streams/${s.id}/statistics`)));
  return all.find(({ viewer }) => viewer?.glassToGlassMs > 0);
});
check(told.viewer.glassToGlassMs < 60_000, // a wrong clock makes it longer
  `from lens to screen it takes ${told.viewer.glassToGlassMs} ms`);
await until('nothing is wrong with a stream that plays', async () => {
  const { findings } = await read(`/streams/${told.streamId}/diagnosis`);
  return findings.every((/** @type {any} */ f) => f.severity !== 'error');
});

const before = await heard(camera);
await at(viewers[0], 'talk').click();
await until('the camera hears a viewer', async () => await heard(camera) > before + 20);
await shot(camera, 'camera');
await shot(viewers[0], 'viewer');
await at(viewers[0], 'talk').click();

// What a viewer does to the camera, the other learns from it.
for (const viewer of viewers) await at(viewer, 'steer').click();
await at(viewers[0], 'steer-zoom').fill('250');
await until('the other viewer learns how the camera is zoomed', async () => await at(viewers[1], 'steer-zoom').inputValue() === '250');

// A connection that breaks is made again by its viewer.
await camera.evaluate(() => {
  const peer = window.peers.findLast((p) => p.connectionState === 'connected');
  Object.defineProperty(peer, 'connectionState', { get: () => 'failed' });
  peer.onconnectionstatechange();
});
await until('the second viewer has called again', async () => await viewers[1].evaluate(() => window.peers.length) >= 2);
await Promise.all(viewers.map(sees));

// The camera hears that its upload was given up, keeps what it has, and finds
// it awaited again.
let givenUp = 0;
await camera.route(/recordings\?streamId=/, async (route) => {
  const response = await route.fetch();
  const { items: [recording] } = await response.json();
  givenUp++;
  await route.fulfill({ response, json: { items: [{ ...recording, status: 'failed' }] } });
}, { times: 1 });
await at(viewers[1], 'end').click();
await until('one viewer is left', async () => await openPeers(camera) === 1);
await sees(viewers[0]);

// What the camera has recorded meanwhile it uploads.
const recorded = await until('the camera has uploaded what was watched', async () => {
  const { items } = await (await context.request.get(new URL('/recordings?status=ready', base).href)).json();
  return items[0];
});
check(givenUp === 1, 'the camera has not looked whether its upload is awaited');
check(recorded.size > 10_000 && recorded.durationMs > 1_000, `the recording is ${JSON.stringify(recorded)}`);
const replayed = await viewers[0].evaluate(async (id) => {
  const { downloadUrl } = await import('/sim/js/recordings.js');
  const video = document.createElement('video');
  video.src = (await downloadUrl(id)).url;
  video.muted = true;
  await video.play();
  return video.videoWidth;
}, recorded.id);
check(replayed > 0, 'the recording has no picture');

// Who is refused calls again at once, and then waits for a slow camera as long
// as it takes, and says so; by then the camera needs new secrets for the TURN
// server.
await camera.evaluate(() => {
  const { now } = Date;
  Date.now = () => now() + 3_600_000;
});
wires.camera.refuses = true;
const renewal = camera.waitForResponse(/publish-credentials/, { timeout: LIMIT_MS });
wires.second.hold();
wires.second.calls = [];
await at(viewers[1], 'camera-row').filter({ hasText: 'Front door' }).getByTestId('watch').click();
await until('the viewer has called again, and asked three times', () => wires.second.calls.length >= 4);
check(new Set(wires.second.calls).size === 2, `the viewer gives its connections up: ${wires.second.calls}`);
await until('the viewer says what it waits for', async () => /has not answered yet/.test(await at(viewers[1], 'stream-hint').innerText()));
await shot(viewers[1], 'waiting');
wires.second.release();
await sees(viewers[1]);
const fresh = (await (await renewal).json()).iceServers.map((s) => s.username).join();
const used = await camera.evaluate(() => window.peers.map((p) => p.getConfiguration().iceServers.map((s) => s.username).join()));
check(fresh.includes(':') && used.includes(fresh), `the camera uses the secrets of ${used}, not of ${fresh}`);

// Who may no longer watch is cut off when the camera hears of it, though not
// by an event, and the viewer goes on.
const lost = await viewers[1].evaluate(() => JSON.parse(sessionStorage.getItem('securecam.device')).device.id);
await viewers[1].route('**/*', (route) => route.abort());
for (const wire of Object.values(wires)) wire.cut();
const removed = await context.request.delete(new URL(`/devices/${lost}`, base).href, { headers: { origin: new URL(base).origin } });
check(removed.ok(), `the device is not removed: ${removed.status()}`);
check(await at(camera, 'viewers-count').textContent() === '2', 'the camera knows already');
wires.camera.mend();
await until('only who may watch is connected', async () => await openPeers(camera) === 1);
await sees(viewers[0]);
await viewers[1].close();

// A camera that is always on is live while watched, here as well.
await at(viewers[0], 'end').click();
await at(camera, 'policy').getByRole('radio', { name: 'Always' }).click();
await camera.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();
await until('the page promises no more', async () => /while somebody watches/.test(await camera.locator('main').textContent() ?? ''));
await watch(viewers[0], 'Front door');

// A camera that comes back is called again by who watches.
await camera.reload();
await until('the viewer has called the camera that came back', async () => await openPeers(camera) === 1);
await sees(viewers[0]);
check(!faults.length, `the pages report: ${faults.join('; ')}`);
await browser.close();
