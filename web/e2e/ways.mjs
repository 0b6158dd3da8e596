// Firefox as a camera with three layers, and ways to a server that are rare:
//   node ways.mjs <base URL> < {"whip": credentials, "whep": credentials}
// Chromium sees each layer of it; the camera, then a Firefox viewer, restart ICE
// and go on; then a Chromium watches that has no UDP. Prints what was seen;
// exit code 1 and a sentence if something was not.

import { text } from 'node:stream/consumers';
import { launch, openTab } from './browser.mjs';
import { Firefox, restartInPage } from './firefox.mjs';

const RIDS = [
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'h', maxBitrate: 1_500_000 },
];
const LIMIT_MS = 60_000;

const [base] = process.argv.slice(2);
if (!base) {
  console.error('usage: node ways.mjs <base URL> < {"whip": credentials, "whep": credentials}');
  process.exit(2);
}
const credentials = JSON.parse(await text(process.stdin));
/** @type {string[]} */
const faults = [];

// The following run in pages, so they know nothing but their argument.

/** @param {{credentials: any, encodings: typeof RIDS}} arg */
async function publishInPage({ credentials: whip, encodings }) {
  const { Peer } = await import('/sim/js/peer.js');
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720, frameRate: 30 } });
  window.peer = new Peer(whip);
  window.peer.pc.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly', streams: [stream], sendEncodings: encodings });
  await window.peer.connect();
}

/** @param {{credentials: any}} arg */
async function playInPage({ credentials: whep }) {
  const { play } = await import('/sim/js/whep.js');
  const { peer, stream } = await play(whep);
  window.peer = peer;
  const video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true, srcObject: stream });
  document.body.replaceChildren(video);
}

async function statsInPage() {
  const { pc } = window.peer;
  const all = [...(await pc.getStats()).values()];
  const video = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video') ?? {};
  const pair = all.find((s) => s.type === 'candidate-pair' && (s.selected || s.nominated) && s.state === 'succeeded') ?? {};
  const ufrag = (description) => /a=ice-ufrag:(\S+)/.exec(description?.sdp ?? '')?.[1] ?? '';
  return {
    state: pc.connectionState, decoded: video.framesDecoded ?? 0, height: video.frameHeight ?? 0,
    protocol: all.find((s) => s.id === pair.remoteCandidateId)?.protocol ?? '',
    relay: all.find((s) => s.id === pair.localCandidateId)?.relayProtocol ?? '', // how it reaches a TURN server
    local: ufrag(pc.currentLocalDescription), remote: ufrag(pc.currentRemoteDescription),
  };
}

const layersInPage = () => window.peer.layers();
/** @param {object} wish */
const preferInPage = (wish) => window.peer.prefer(wish);

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

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
    await pause(100);
  }
}

const [firefox, chromium] = await Promise.all([Firefox.launch(), launch({ camera: false })]);
process.once('SIGTERM', () => process.exit(1)); // which ends the browsers
const address = new URL('/sim', base).href;
const [camera, fox, chrome] = [await firefox.open(address), await firefox.open(address), await openTab(await chromium.newContext(), 'viewer', faults)];
await chrome.goto(address);
const stats = (tab) => () => tab.evaluate(statsInPage);

/**
 * Waits until some pictures more are there.
 * @param {string} what
 * @param {any} tab
 */
async function goesOn(what, tab) {
  const { decoded } = await stats(tab)();
  return until(what, stats(tab), (s) => s.decoded > decoded + 20);
}

async function layers() {
  await camera.evaluate(publishInPage, { credentials: credentials.whip, encodings: RIDS });
  await until('Firefox connects as a camera', stats(camera), ({ state }) => state === 'connected');
  await chrome.evaluate(playInPage, { credentials: credentials.whep });
  await goesOn('the first pictures', chrome);
  const all = await until('three layers', () => chrome.evaluate(layersInPage), (l) => l.length === 3 && l.every((one) => one.active && one.height));
  for (const { rid, height } of [...all, all[0]]) {
    await chrome.evaluate(preferInPage, { rid });
    await until(`${height} lines`, stats(chrome), (s) => s.height === height);
    await goesOn(`pictures of ${height} lines`, chrome);
  }
  return `Firefox sends layers of ${all.map(({ height }) => height).join(', ')} lines, and Chromium sees each`;
}

/** @param {string} who @param {any} tab @param {any} watching */
async function restart(who, tab, watching) {
  const before = await stats(tab)();
  await tab.evaluate(restartInPage);
  const after = await until(`${who} restarts ICE`, stats(tab), (s) => (
    s.local !== before.local && s.remote !== before.remote && s.state === 'connected'
  ));
  await goesOn(`pictures after ${who} restarted ICE`, watching);
  return `${who} restarts ICE over ${after.protocol || 'some way'}, and pictures go on`;
}

/** Firefox does it in firewall.mjs. */
async function withoutUDP() {
  const browser = await launch({ camera: false, udp: false });
  try {
    const tab = await openTab(await browser.newContext(), 'viewer behind a firewall', faults);
    await tab.goto(address);
    await tab.evaluate(playInPage, { credentials: credentials.whep });
    await goesOn('Chromium sees pictures without UDP', tab);
    const { relay, protocol } = await until('Chromium says which way', stats(tab), (s) => s.protocol !== '');
    if (protocol !== 'tcp' && relay !== 'tcp') throw new Error(`without UDP Chromium is connected over ${protocol}, TURN over ${relay || 'nothing'}`);
    await tab.evaluate(() => window.peer.close());
    await tab.evaluate(playInPage, { credentials: { ...credentials.whep, iceServers: [] } });
    await goesOn('Chromium sees pictures over TCP', tab);
    await until('Chromium is connected over TCP', stats(tab), (s) => s.protocol === 'tcp');
    return `without UDP Chromium watches by ${relay ? 'TURN over ' : ''}TCP, and ${await restart('one without TURN servers', tab, tab)}`;
  } finally {
    await browser.close();
  }
}

async function foxWatches() {
  await fox.evaluate(playInPage, { credentials: credentials.whep });
  await goesOn('Firefox sees pictures', fox);
  return restart('a Firefox viewer', fox, fox);
}

const steps = [
  layers, () => restart('a Firefox camera', camera, chrome), foxWatches, withoutUDP,
];
let failed = false;
for (const step of steps) {
  try {
    console.log(await step());
  } catch (err) {
    failed = true;
    console.log(err instanceof Error ? err.message : String(err));
  }
}
if (faults.length) console.log(`the pages report: ${faults.join('; ')}`);
await Promise.all([firefox.kill(), chromium.close()]);
process.exit(failed || faults.length > 0 ? 1 : 0);
