// Motion in one tab, told to others: by push, by webhook, by ntfy, in the list.
//   node alerts.mjs <base URL> [folder for screenshots]
// The server must allow 127.0.0.0/8 in OUTGOING_NETWORKS. The receivers are
// here, and read what they get with code of their own.

import { createDecipheriv, createECDH, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { launch, openTab } from './browser.mjs';

const base = process.argv[2];
const shots = process.argv[3];
if (shots) mkdirSync(shots, { recursive: true });
const account = { name: 'Ada Lens', email: `ada-${Date.now()}@example.org`, password: 'a long enough password' };
/** @type {string[]} */
const faults = [];

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
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  throw new Error(`${what}: not after a minute`);
}

// What a browser keeps of its subscription.
const own = createECDH('prime256v1');
own.generateKeys();
const secret = randomBytes(16);

/** RFC 8291, section 3.4, and RFC 8188: what Node.js makes of the RFCs. @param {Buffer} body */
function decrypt(body) {
  const salt = body.subarray(0, 16);
  const sender = body.subarray(21, 86);
  const info = Buffer.concat([Buffer.from('WebPush: info\0'), own.getPublicKey(), sender]);
  const ikm = Buffer.from(hkdfSync('sha256', own.computeSecret(sender), secret, info, 32));
  const key = Buffer.from(hkdfSync('sha256', ikm, salt, 'Content-Encoding: aes128gcm\0', 16));
  const nonce = Buffer.from(hkdfSync('sha256', ikm, salt, 'Content-Encoding: nonce\0', 12));
  const cipher = createDecipheriv('aes-128-gcm', key, nonce);
  cipher.setAuthTag(body.subarray(-16));
  const text = Buffer.concat([cipher.update(body.subarray(86, -16)), cipher.final()]).toString();
  check(text.endsWith('\x02'), 'the push has no delimiter');
  return JSON.parse(text.slice(0, -1));
}

/** @type {{path: string, headers: import('node:http').IncomingHttpHeaders, body: Buffer}[]} */
const received = [];
const receiver = createServer((request, response) => {
  /** @type {Buffer[]} */
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    received.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(parts) });
    response.writeHead(201).end();
  });
});
await new Promise((resolve) => { receiver.listen(0, '127.0.0.1', () => resolve(undefined)); });
const outside = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (receiver.address()).port}`;
/** @param {string} path @param {(r: typeof received[0]) => boolean} [wanted] */
const arrival = (path, wanted = () => true) => until(`a message to ${path}`, () => received.find((r) => r.path === path && wanted(r)));

const browser = await launch({ camera: true });
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  await context.grantPermissions(['notifications'], { origin: new URL(base).origin });
  // A push service is on the Internet, and this machine need not be: the
  // subscription is what the browser would give, with an endpoint here.
  await context.addInitScript(({ endpoint, p256dh, auth }) => {
    let held = null;
    PushManager.prototype.getSubscription = async () => held;
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
      if (!userVisibleOnly || applicationServerKey.length !== 65) throw new Error('a bad wish for a subscription');
      held = {
        endpoint, options: { applicationServerKey: applicationServerKey.buffer },
        toJSON: () => ({ endpoint, expirationTime: null, keys: { p256dh, auth } }),
        unsubscribe: async () => { held = null; return true; },
      };
      return held;
    };
  }, { endpoint: `${outside}/push`, p256dh: own.getPublicKey('base64url'), auth: secret.toString('base64url') });

  const viewer = await openTab(context, 'viewer', faults);
  await viewer.goto(`${base}/sim`);
  await viewer.evaluate(async (form) => {
    const answer = await fetch('/api/auth/sign-up/email', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(form) });
    if (!answer.ok) throw new Error(`sign up: ${answer.status}`);
  }, account);
  await viewer.goto(`${base}/sim#/alerts`);
  await viewer.reload();

  const alertsHere = viewer.locator('[data-testid=alerts-here]:enabled'); // what the page knows of
  await alertsHere.check({ force: true });
  await viewer.getByTestId('alerts-test').click();
  const test = decrypt((await arrival('/push')).body);
  check(test.type === 'test', `the test push says ${JSON.stringify(test)}`);

  await viewer.getByTestId('webhook-add').click();
  await viewer.getByTestId('webhook-kind').locator('input[value=webhook]').check();
  await viewer.getByTestId('webhook-name').fill('Home automation');
  await viewer.getByTestId('webhook-url').fill(`${outside}/hook`);
  await viewer.getByTestId('dialog-ok').click();
  const hookSecret = await viewer.getByTestId('webhook-secret').innerText();
  await viewer.getByTestId('dialog-ok').click();
  await viewer.getByTestId('webhook-add').click();
  await viewer.getByTestId('webhook-url').fill(`${outside}/my-topic`);
  await viewer.getByTestId('dialog-ok').click();
  await until('two receivers', async () => await viewer.getByTestId('webhook-row').count() === 2);
  await viewer.getByTestId('webhook-ping').first().click();
  await arrival('/');
  if (shots) await viewer.screenshot({ path: join(shots, 'alerts.png') });

  const camera = await openTab(context, 'camera', faults);
  await camera.goto(`${base}/sim`);
  await camera.getByTestId('become-camera').click();
  await camera.getByTestId('device-name').fill('Garden');
  await camera.getByTestId('source-select').selectOption('pattern');
  await camera.getByTestId('dialog-ok').click();
  await camera.locator('[data-testid=camera-stage][data-phase=ready]').waitFor();
  check(!await camera.getByTestId('motion-on').isChecked(), 'motion is detected before anybody wants that');
  await camera.getByTestId('motion-on').check({ force: true });
  await camera.getByTestId('motion-sensitivity').fill('95');

  /** @param {string} words that the message has, of several that may come in any order */
  const about = (words) => (/** @type {typeof received[0]} */ r) => r.body.includes('Garden') && r.body.includes(words);
  const hook = await arrival('/hook', about('motion:started'));
  const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = hook.headers;
  const mac = createHmac('sha256', Buffer.from(hookSecret.slice('whsec_'.length), 'base64')).update(`${id}.${at}.${hook.body}`).digest('base64');
  check(signature === `v1,${mac}`, 'the signature of the webhook does not fit');
  const message = JSON.parse(String(hook.body));
  check(message.type === 'motion:started' && message.data.cameraName === 'Garden', `the webhook says ${hook.body}`);
  const thumbnail = await fetch(message.data.thumbnailUrl);
  check(thumbnail.ok && thumbnail.headers.get('content-type') === 'image/jpeg', `the thumbnail answers ${thumbnail.status}`);
  const topic = JSON.parse(String((await arrival('/', about('Motion detected.'))).body));
  check(topic.topic === 'my-topic' && topic.message === 'Motion detected.' && topic.attach, `ntfy gets ${JSON.stringify(topic)}`);
  // On a slow machine the picture stands still at times: then there is another event, and its messages may be sooner.
  const { eventId } = message.data;
  const push = await until('a push of the motion', () => (
    received.filter((r) => r.path === '/push').map((r) => decrypt(r.body)).find((m) => m.type === 'motion:started' && m.eventId === eventId)
  ));
  check(push.cameraName === 'Garden', `the push says ${JSON.stringify(push)}`);
  if (shots) await camera.screenshot({ path: join(shots, 'alerts-camera.png') });

  await viewer.goto(`${base}/sim#/events/${eventId}`);
  await viewer.getByTestId('event-stage').waitFor();
  const row = `[data-testid=event-row][data-event-id="${eventId}"]`;
  await until('the picture of the event', () => viewer.locator(`${row} img`).evaluate((img) => img.naturalWidth > 0));
  if (shots) await viewer.screenshot({ path: join(shots, 'alerts-events.png') });
  await camera.getByTestId('motion-on').uncheck({ force: true });
  await until('the end of the event', () => viewer.locator(`${row}[data-status=ended]`).count());
  // A slow answer: meanwhile the page offers nothing that it does not know.
  let answer = () => {};
  const looked = new Promise((resolve) => { answer = () => resolve(undefined); });
  await viewer.route('**/push-subscription', async (route) => {
    await looked;
    await route.continue();
  });
  await viewer.goto(`${base}/sim#/alerts`);
  await viewer.locator('[data-testid=alerts-here]:disabled').waitFor({ state: 'attached' });
  check(!await viewer.getByTestId('alerts-test').isVisible(), 'a test is offered before the page knows whether alerts come here');
  answer();
  await alertsHere.uncheck({ force: true });
  await until('no more alerts here', async () => !await viewer.getByTestId('alerts-test').isVisible());
  if (faults.length) throw new Error(`the pages report: ${faults.join('; ')}`);
} finally {
  await browser.close();
  receiver.close();
  receiver.closeAllConnections();
}
