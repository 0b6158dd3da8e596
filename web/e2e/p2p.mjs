// A camera and two viewers in Chromium, on a server that forwards no media:
//   node p2p.mjs <base URL> [folder for screenshots]
// The server must run with MEDIA_MODE=p2p.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { contrast, frames, launch, openTab } from './browser.mjs';

const base = process.argv[2];
const shots = process.argv[3];
if (shots) mkdirSync(shots, { recursive: true });
const account = { name: 'Ada Lens', email: `ada-${Date.now()}@example.org`, password: 'a long enough password' };
/** @type {string[]} */
const faults = [];

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
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    const value = await read();
    if (value) return value;
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
  throw new Error(`${what}: not after 60 s`);
}

/** @param {import('playwright-core').BrowserContext} context @param {string} name */
async function open(context, name) {
  const page = await openTab(context, name, faults);
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
const camera = await open(context, 'camera');
await at(camera, 'auth-toggle').click();
for (const key of /** @type {const} */ (['name', 'email', 'password'])) await at(camera, `auth-${key}`).fill(account[key]);
await at(camera, 'auth-submit').click();
await at(camera, 'become-camera').click();
await at(camera, 'device-name').fill('Front door');
await at(camera, 'source-select').selectOption({ index: 0 });
await at(camera, 'dialog-ok').click();
await camera.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();

const viewers = [await open(context, 'first'), await open(context, 'second')];
for (const [n, viewer] of viewers.entries()) {
  await at(viewer, 'become-viewer').click();
  await at(viewer, 'camera-list').waitFor();
  await watch(viewer, 'Front door');
  await until('a connection for each viewer', async () => await openPeers(camera) === n + 1);
}
await camera.locator('[data-testid=camera-stage][data-phase=live]').waitFor();
check(await at(camera, 'viewers-count').textContent() === '2', 'the camera miscounts its viewers');
await Promise.all(viewers.map((viewer) => until('the viewer hears the camera', () => heard(viewer))));

const before = await heard(camera);
await at(viewers[0], 'talk').click();
await until('the camera hears a viewer', async () => await heard(camera) > before + 20);
await shot(camera, 'camera');
await shot(viewers[0], 'viewer');
await at(viewers[0], 'talk').click();

// A connection that breaks is made again by its viewer.
await camera.evaluate(() => {
  const peer = window.peers.findLast((p) => p.connectionState === 'connected');
  Object.defineProperty(peer, 'connectionState', { get: () => 'failed' });
  peer.onconnectionstatechange();
});
await until('the second viewer has called again', async () => await viewers[1].evaluate(() => window.peers.length) === 2);
await Promise.all(viewers.map(sees));

// A camera that is always on is live while watched, here as well.
await at(viewers[1], 'end').click();
await until('one viewer is left', async () => await openPeers(camera) === 1);
await sees(viewers[0]);
await at(viewers[0], 'end').click();
await at(camera, 'policy').getByRole('radio', { name: 'Always' }).click();
await camera.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();
await watch(viewers[0], 'Front door');

// A camera that comes back is called again by who watches.
await camera.reload();
await until('the viewer has called the camera that came back', async () => await openPeers(camera) === 1);
await sees(viewers[0]);
check(!faults.length, `the pages report: ${faults.join('; ')}`);
await browser.close();
