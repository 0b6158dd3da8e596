// What the pages show while answers are on their way, and that an answer which
// comes late does not undo a later one:
//   node slow.mjs <base URL> [folder for screenshots]

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { launch, openTab } from './browser.mjs';

const [base, shots] = process.argv.slice(2);
if (shots) mkdirSync(shots, { recursive: true });
const LIMIT_MS = 180_000;
/** @type {string[]} */
const faults = [];

/** @param {unknown} claim @param {string} otherwise */
function check(claim, otherwise) {
  if (!claim) throw new Error(otherwise);
}

const browser = await launch({ camera: false });
const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
const page = await openTab(context, 'page', faults);
const at = (/** @type {string} */ id) => page.getByTestId(id);
const shot = async (/** @type {string} */ name) => { if (shots) await page.screenshot({ path: join(shots, `slow-${name}.png`) }); };

/**
 * Holds back what the page asks for, or one answer.
 * @param {RegExp} path
 * @param {'request' | 'answer'} what
 * @param {import('playwright-core').Page} [on] another page
 * @returns {Promise<{held: Promise<void>, release: () => Promise<void>}>} held: until something is; release: until the page has it
 */
async function hold(path, what, on = page) {
  /** @type {(() => void)[]} */
  const [seen, go] = [[], []];
  const held = new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`nobody asks for ${path}`)), LIMIT_MS);
    seen.push(() => { clearTimeout(late); resolve(undefined); });
  });
  const gate = new Promise((resolve) => { go.push(() => resolve(undefined)); });
  /** @type {Promise<unknown>[]} */
  const all = [];
  await on.route(path, async (route) => {
    if (what === 'answer' && all.length > 0) return route.continue();
    all.push(route.request().response().then((answer) => answer?.finished()));
    const response = what === 'answer' ? await route.fetch() : undefined;
    seen[0]();
    await gate;
    return (response ? route.fulfill({ response }) : route.continue()).catch(() => {}); // nobody waits for it any more
  });
  return {
    held,
    async release() {
      go[0]();
      await Promise.all(all);
      await on.unroute(path);
      await on.evaluate(() => new Promise(requestAnimationFrame)); // which follows what the answer does
    },
  };
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
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  throw new Error(`${what}: not after ${LIMIT_MS / 1000} s`);
}

/** @param {string[]} ids */
async function hidden(...ids) {
  for (const id of ids) check(!await at(id).isVisible(), `${id} is offered before the page knows whether it means something`);
}

/**
 * As the account, or as a device.
 * @param {string} path
 * @param {object} body
 * @param {string} [token]
 */
async function post(path, body, token) {
  const headers = { origin: new URL(base).origin, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const answer = await context.request.post(new URL(path, base).href, { data: body, headers });
  check(answer.ok(), `${path}: ${answer.status()} ${await answer.text()}`);
  return answer.json();
}

/** @param {string} path @returns {Promise<any>} as the account */
const read = async (path) => (await context.request.get(new URL(path, base).href)).json();

/** A page whose camera is not real, and slow to be listed. */
async function openLens() {
  const lens = await openTab(context, 'lens', faults);
  await lens.addInitScript(() => {
    Object.assign(navigator.mediaDevices, {
      enumerateDevices: async () => {
        await window.gate;
        return [{ kind: 'videoinput', deviceId: 'lens', label: 'Lens' }];
      },
      getUserMedia: async () => Object.assign(document.createElement('canvas'), { width: 1280, height: 720 }).captureStream(),
    });
  });
  await lens.goto(new URL('/sim', base).href);
  return lens;
}

const lens = { /** @type {import('playwright-core').Page | null} */ page: null };
const lensAt = (/** @type {string} */ id) => /** @type {import('playwright-core').Page} */ (lens.page).getByTestId(id);
/** @param {string} phase */
const tileIn = (phase) => page.locator(`[data-testid=tile][data-phase=${phase}]`).waitFor();

const DEVICES = /\/devices\?/;
/** Which the page does when somebody comes back to it. */
const askAgain = () => page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));

const steps = {
  async 'a tab that is asked twice becomes one viewer'() {
    await page.goto(new URL('/sim', base).href);
    await at('become-viewer').waitFor();
    const { held, release } = await hold(/\/devices\/register$/, 'request');
    await at('become-viewer').dblclick();
    await held;
    await shot('choice');
    await release();
    await at('stage').waitFor({ state: 'attached' });
    const { items } = await (await context.request.get(new URL('/devices', base).href)).json();
    check(items.filter((/** @type {any} */ d) => d.role === 'client').length === 1, 'there are two viewers');
  },

  async 'a tab that takes its role up again is not said to have none'() {
    await page.addInitScript(() => {
      if (!location.hash.startsWith('#/live')) return;
      const { request } = LockManager.prototype;
      const gate = new Promise((resolve) => { window.unlock = resolve; });
      LockManager.prototype.request = async function later(...args) {
        await gate;
        const [name, options, granted] = args;
        return request.call(this, name, { ...options, signal: undefined }, granted);
      };
    });
    await page.reload();
    await page.getByText('One moment…').waitFor();
    await shot('role');
    await page.evaluate(() => window.unlock());
    await at('stage').waitFor({ state: 'attached' });
    await at('nav-home').click();
    await at('leave-role').click();
  },

  async 'the account page offers nothing that it does not know'() {
    const { held, release } = await hold(/\/api\/auth\/(get-session|list-sessions|passkey)/, 'request');
    await page.goto(new URL('/sim#/account', base).href);
    await held;
    await hidden('factor-on', 'factor-codes', 'factor-off', 'verify-email', 'rename-account', 'change-email', 'end-others');
    await shot('account');
    await release();
    await at('factor-on').waitFor();
    await at('verify-email').waitFor();
    await hidden('factor-codes', 'factor-off', 'end-others');
  },

  async 'a camera that is not known yet is not said to be removed'() {
    const { token } = await post('/devices/register', { name: 'Garden', role: 'camera' });
    const seen = await post('/events/motion/start', { triggeredBy: 'motion' }, token);
    const { held, release } = await hold(DEVICES, 'request');
    await page.goto(new URL(`/sim#/events/${seen.id ?? seen.event.id}`, base).href);
    await page.reload();
    await held;
    for (const id of ['event-stage', 'event-row']) {
      await at(id).waitFor();
      check(!/Removed/.test(await at(id).innerText()), `${id} says that the camera was removed`);
    }
    await shot('event');
    await release();
    for (const id of ['event-stage', 'event-row']) await at(id).filter({ hasText: 'Garden' }).waitFor();
  },

  async 'an old list does not undo what was done since'() {
    await at('nav-home').click();
    await at('camera-card').filter({ hasText: 'Garden' }).waitFor();
    const { held, release } = await hold(DEVICES, 'answer');
    await askAgain();
    await held;
    await at('rename-device').click();
    await at('device-name').fill('Orchard');
    await at('dialog-ok').click();
    await at('camera-card').filter({ hasText: 'Orchard' }).waitFor();
    await release();
    check(/Orchard/.test(await at('camera-card').innerText()), 'the page shows an older list than it knows');
    const policy = await page.evaluate(async () => {
      const { Tab } = await import('/sim/js/tab.js');
      const tab = new Tab();
      const device = (recordingPolicy, second) => ({ id: 'x', recordingPolicy, updatedAt: `2026-01-01T00:00:0${second}Z` });
      tab.adopt(device('continuous', 2), 'token');
      tab.update(device('session', 1));
      const { device: { recordingPolicy } } = tab;
      tab.forget();
      return recordingPolicy;
    });
    check(policy === 'continuous', 'an old heartbeat undoes a camera\'s policy');
  },

  async 'a camera does not wait for a viewer who has left'() {
    const opened = page.waitForEvent('websocket');
    await at('become-camera').click();
    await at('source-select').selectOption('pattern');
    await at('dialog-ok').click();
    const gateway = await opened;
    await page.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();
    const { id: cameraDeviceId } = await page.evaluate(() => JSON.parse(sessionStorage.getItem('securecam.device')).device);
    const { token } = await post('/devices/register', { name: 'Guest', role: 'client' });
    const { held, release } = await hold(/\/accept$/, 'answer');
    const stream = await post('/streams/request', { cameraDeviceId }, token);
    await held; // the server knows that the camera has accepted
    const ended = gateway.waitForEvent('framereceived', ({ payload }) => String(payload).includes('stream:ended'));
    await post(`/streams/${stream.id}/end`, {}, token);
    await ended;
    await release();
    await page.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();
    check(/Nobody/.test(await at('watching').innerText()), 'the camera believes that somebody watches');
    await at('stop-camera').click();
    await at('nav-home').click();
  },

  async 'an event that was chosen stays'() {
    const [{ id }] = (await read('/events?limit=1')).items;
    const { token } = await post('/devices/register', { name: 'Gate', role: 'camera' });
    await post('/events/motion/start', { triggeredBy: 'motion' }, token);
    const { held, release } = await hold(new RegExp(`/events/${id}$`), 'answer');
    await page.goto(new URL(`/sim#/events/${id}`, base).href);
    await held;
    await at('event-row').filter({ hasText: 'Gate' }).getByTestId('event-open').click();
    await release();
    check(/Gate/.test(await at('event-stage').innerText()), 'an event that was asked for before takes the place of what was chosen');
    await at('nav-home').click();
  },

  async 'the list of cameras shows the one that is used'() {
    lens.page = await openLens();
    await lensAt('become-camera').click();
    await lensAt('dialog-ok').waitFor();
    await lens.page.evaluate(() => { window.gate = new Promise((resolve) => { window.open = () => resolve(undefined); }); });
    await lensAt('device-name').fill('Lens');
    await lensAt('source-select').selectOption('lens');
    await lensAt('dialog-ok').click();
    await lens.page.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();
    const late = await lens.page.evaluateHandle(() => {
      const { open } = window;
      window.gate = undefined;
      return open;
    });
    await lens.page.evaluate(() => document.querySelector('[data-testid=camera-stage] video').srcObject.getTracks()[0].onended());
    await until('the test pattern stands in', async () => await lensAt('source-select').inputValue() === 'pattern');
    await late.evaluate((open) => open());
    await lens.page.evaluate(() => new Promise(requestAnimationFrame));
    check(await lensAt('source-select').inputValue() === 'pattern', 'an old list says that another camera is used');
  },

  async 'a viewer goes on when the camera has accepted'() {
    await at('become-viewer').click();
    const accept = await hold(/\/accept$/, 'request', lens.page);
    const poll = await hold(/\/streams\/(?!request$)[^/]+$/, 'answer');
    await at('camera-row').filter({ hasText: 'Lens' }).getByTestId('watch').click();
    await accept.held;
    await poll.held; // the server has said that the camera has not accepted
    await at('stream-hint').filter({ hasText: 'has not answered yet' }).waitFor();
    await shot('waking');
    await accept.release();
    await tileIn('live');
    await shot('live');
    await poll.release();
  },

  async 'what a viewer wants is said again until it is heard'() {
    /** @type {string[]} */
    const asked = [];
    await page.route(/\/whep\//, async (route) => {
      const request = route.request();
      if (request.method() !== 'PATCH' || !/json/.test(request.headers()['content-type'])) return route.continue();
      asked.push(request.postData() ?? '');
      return asked.length > 1 ? route.continue() : route.fulfill({ status: 503, json: {} });
    });
    await page.setViewportSize({ width: 1000, height: 700 });
    await until('the viewer asks twice for what suits its size', () => asked.length > 1 && asked.at(-1) === asked.at(-2));
    await page.unroute(/\/whep\//);
    await page.setViewportSize({ width: 1280, height: 860 });
    await at('end').click();
  },

  async 'a viewer who comes back is not thrown out by an old goodbye'() {
    const { held, release } = await hold(/\/streams\/request$/, 'answer');
    const row = at('camera-row').filter({ hasText: 'Lens' });
    await row.getByTestId('watch').click();
    await held;
    await row.getByTestId('end-from-list').click();
    await row.getByTestId('watch').click();
    await tileIn('live');
    const open = async () => (await read('/streams?limit=200')).items.filter((/** @type {any} */ s) => s.status === 'streaming');
    const [first, ...others] = await open();
    check(first && others.length === 0, `there are ${others.length + 1} streams`);
    await release(); // which is for who has left
    await until('the viewer has another stream', async () => (await open()).some((/** @type {any} */ s) => s.id !== first.id));
    await tileIn('live');
    await at('end').click();
    await until('nothing is left', async () => (await open()).length === 0);
  },

  async 'a microphone that was turned off stays off'() {
    const open = await page.evaluate(async () => {
      const { Talk } = await import('/sim/js/talk.js');
      const allow = [];
      Object.assign(navigator.mediaDevices, { getUserMedia: () => new Promise((resolve) => { allow.push(resolve); }) });
      const talk = new Talk({ currentDirection: 'sendrecv', sender: { replaceTrack: async () => {} } });
      const microphones = [1, 2].map(() => new AudioContext().createMediaStreamDestination().stream);
      const tries = [talk.start(), (talk.stop(), talk.start())];
      allow.forEach((resolve, n) => resolve(microphones[n]));
      await Promise.all(tries);
      if (!talk.on) return ['none, though one is wanted'];
      talk.stop();
      return microphones.flatMap((m) => m.getTracks()).map((track) => track.readyState).filter((state) => state !== 'ended');
    });
    check(open.length === 0, `microphones stay open: ${open}`);
  },

  async 'motion that the server hears of late does not go on for ever'() {
    const { held, release } = await hold(/\/motion\/start$/, 'answer', lens.page);
    await lensAt('motion-on').check({ force: true });
    await lensAt('motion-sensitivity').fill('100');
    await held; // the server knows that something moves
    await lensAt('stop-camera').click();
    const end = /** @type {import('playwright-core').Page} */ (lens.page).waitForResponse(/\/motion\/end$/);
    await release();
    check((await end).ok(), `the event goes on: ${(await end).status()}`);
    await lens.page?.close();
    await at('nav-home').click();
    await at('leave-role').click();
  },

  async 'a question of a session that was renewed meanwhile signs nobody out'() {
    await page.route(DEVICES, (route) => route.fulfill({ status: 401, json: { code: 'unauthenticated' } }), { times: 1 });
    const known = page.waitForResponse((response) => DEVICES.test(response.url()) && response.ok());
    await askAgain();
    await known;
    check(await at('camera-grid').isVisible(), 'the page believes that nobody is signed in');
  },

  async 'who signs out is not told that somebody else did it'() {
    const { held, release } = await hold(DEVICES, 'request');
    await askAgain();
    await held;
    await at('account-menu').click();
    const goodbye = await hold(/\/sign-out$/, 'answer');
    await at('sign-out').click();
    await goodbye.held; // from now on nobody is signed in
    await release();
    await goodbye.release();
    await at('auth-form').waitFor();
    check(await at('toast').count() === 0, `the page says: ${await at('toast').allInnerTexts()}`);
  },
};

let current = '';
try {
  await post('/api/auth/sign-up/email', { name: 'Ada Lens', email: 'ada@example.org', password: 'a long enough password' });
  for (const [name, step] of Object.entries(steps)) {
    current = name;
    await step();
    check(faults.length === 0, `the page reports: ${faults.join('; ')}`);
  }
} catch (err) {
  await shot('failed');
  console.error(`${current}: ${err instanceof Error ? err.stack : err}; ${faults.join('; ')}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
