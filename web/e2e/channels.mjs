// Messages on data channels between browsers, without a line of the product's
// own scripts, as anybody's page would by WHIP and WHEP:
//   node channels.mjs <base URL> < {"whip": credentials, "whep": credentials}
// Each of Chromium and Firefox is the camera once, and the other its viewer.
// Prints what was seen; exit code 1 and a sentence if something was not.

import { text } from 'node:stream/consumers';
import { launch, openTab } from './browser.mjs';
import { Firefox } from './firefox.mjs';

const LIMIT_MS = 60_000;
const LONGEST = 16 << 10; // bytes of a message that the server takes
const SERIES = 40;

const [base] = process.argv.slice(2);
if (!base) {
  console.error('usage: node channels.mjs <base URL> < {"whip": credentials, "whep": credentials}');
  process.exit(2);
}
const credentials = JSON.parse(await text(process.stdin));
/** @type {string[]} */
const faults = [];

// The following run in pages, so they know nothing but their argument.

/** @param {{whip?: any, whep?: any}} arg one of the two */
async function connectInPage({ whip, whep }) {
  const { url, token } = whip ?? whep;
  window.pc?.close();
  const pc = new RTCPeerConnection();
  const heard = /** @type {Record<string, any[]>} */ ({ messages: [], quality: [] });
  const channels = Object.fromEntries(Object.keys(heard).map((label) => {
    const channel = pc.createDataChannel(label);
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => heard[label].push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
    return [label, channel];
  }));
  if (whip) {
    channels.quality.close(); // which means nothing from a camera
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d');
    setInterval(() => context.fillRect(Math.random() * 300, Math.random() * 150, 9, 9), 40);
    const stream = canvas.captureStream(25);
    pc.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly', streams: [stream] });
  } else {
    pc.addTransceiver('video', { direction: 'recvonly' });
  }
  Object.assign(window, { pc, heard, channels });
  await pc.setLocalDescription();
  await new Promise((resolve) => {
    const look = () => pc.iceGatheringState === 'complete' && resolve(undefined);
    pc.onicegatheringstatechange = look;
    look();
  });
  const response = await fetch(url, {
    method: 'POST', headers: { 'content-type': 'application/sdp', authorization: `Bearer ${token}` }, body: pc.localDescription.sdp,
  });
  if (response.status !== 201) throw new Error(`${url} answers ${response.status} ${await response.text()}`);
  await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
}

const stateInPage = () => `${window.pc.connectionState} ${window.channels.messages.readyState}`;
/** @param {string} label */
const heardInPage = (label) => window.heard[label].splice(0);
/** @param {{label: string, all: (string | number[])[]}} arg lists of numbers are bytes */
const sayInPage = ({ label, all }) => { for (const one of all) window.channels[label].send(typeof one === 'string' ? one : new Uint8Array(one)); };

/**
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} read
 * @param {(value: T) => boolean} enough
 * @returns {Promise<T>}
 */
async function until(what, read, enough) {
  for (const end = Date.now() + LIMIT_MS; ;) {
    const value = await read();
    if (enough(value)) return value;
    if (Date.now() > end) throw new Error(`${what}: still ${JSON.stringify(value)}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

/**
 * @param {any} tab
 * @param {string} label
 * @param {number} n
 * @returns {Promise<any[]>} the next n messages
 */
async function hears(tab, label, n) {
  /** @type {any[]} */
  const all = [];
  await until(`${n} messages`, async () => all.push(...await tab.evaluate(heardInPage, label)), (count) => count >= n);
  return all;
}

/** @param {any} got @param {any} want @param {string} what */
function same(got, want, what) {
  const [a, b] = [got, want].map((v) => JSON.stringify(v));
  if (a !== b) throw new Error(`${what}: ${a.slice(0, 200)}, not ${b.slice(0, 200)}`);
}

const say = (/** @type {any} */ tab, /** @type {(string | number[])[]} */ ...all) => tab.evaluate(sayInPage, { label: 'messages', all });
const bytes = [0, 1, 254, 255];
const long = 'x'.repeat(LONGEST);
const series = Array.from({ length: SERIES }, (_, i) => `${i}`);

/**
 * @param {any} camera
 * @param {any} viewer
 */
async function talk(camera, viewer) {
  await camera.evaluate(connectInPage, { whip: credentials.whip });
  await until('the camera connects', () => camera.evaluate(stateInPage), (s) => s === 'connected open');
  await viewer.evaluate(connectInPage, { whep: credentials.whep });
  await until('the viewer connects', () => viewer.evaluate(stateInPage), (s) => s === 'connected open');
  // What is said to a camera whose channel is not known yet is dropped: an answer tells.
  const [{ from }] = await until('the camera hears the viewer', async () => {
    await say(viewer, 'hello');
    return (await camera.evaluate(heardInPage, 'messages')).map((/** @type {string} */ m) => JSON.parse(m));
  }, (all) => all.length > 0);
  await say(viewer, 'end of hello');
  await until('the rest of it', async () => camera.evaluate(heardInPage, 'messages'), (all) => all.some((m) => m.includes('end of hello')));

  await say(viewer, '{"zoom":2}', bytes, long, ...series);
  const told = (await hears(camera, 'messages', 3 + SERIES)).map((m) => JSON.parse(m));
  same(told.slice(0, 2), [{ from, text: '{"zoom":2}' }, { from, binary: 'AAH+/w==' }], 'the camera hears');
  same(told[2].text.length, LONGEST, 'the longest message');
  same(told.slice(3).map((m) => m.text), series, 'a series of messages, in order');

  await say(camera, JSON.stringify({ to: from, text: 'taken' }), JSON.stringify({ to: 'another', text: 'secret' }),
    JSON.stringify({ binary: 'AAH+/w==' }), JSON.stringify({ text: 'for all' }));
  same(await hears(viewer, 'messages', 3), ['taken', bytes, 'for all'], 'the viewer hears');

  await viewer.evaluate(sayInPage, { label: 'quality', all: ['{"maxHeight":360}', '{"maxHeight":-1}'] });
  const answers = (await hears(viewer, 'quality', 2)).map((m) => JSON.parse(m).status);
  same(answers, ['taken', 'refused'], 'what the viewer wants to be sent');
  same(await camera.evaluate(heardInPage, 'messages'), [], 'the camera hears nothing of that');
  await viewer.evaluate(() => window.pc.close());
}

const [firefox, chromium] = await Promise.all([Firefox.launch(), launch({ camera: false })]);
process.once('SIGTERM', () => process.exit(1)); // which ends the browsers
const address = new URL('/sim', base).href;
const [fox, chrome] = [await firefox.open(address), await openTab(await chromium.newContext(), 'chromium', faults)];
await chrome.goto(address);
try {
  await talk(chrome, fox);
  console.log('Chromium as a camera and Firefox as its viewer hear each other');
  await talk(fox, chrome);
  console.log('Firefox as a camera and Chromium as its viewer hear each other');
  if (faults.length) throw new Error(`the pages report: ${faults.join('; ')}`);
} catch (err) {
  console.error(`FAILED: ${err instanceof Error ? err.message : err}`);
  process.exit(1);
}
await Promise.all([chromium.close(), firefox.kill()]);
process.exit(0);
