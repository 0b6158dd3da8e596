// Chromium and Firefox show each other what they encode:
//   node codecs.mjs <base URL> < {"whip": credentials, "whep": credentials}
// A Chromium camera sends layers of VP8 and VP9, through which Firefox goes, and
// of AV1; then Firefox is the camera, and both watch. Prints what was seen; exit
// code 1 and a sentence if something was not. Debian's Firefox has no H.264.

import { text } from 'node:stream/consumers';
import { launch, openTab } from './browser.mjs';
import { Firefox } from './firefox.mjs';

const RIDS = [
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'h', maxBitrate: 1_500_000 },
];
const svc = (/** @type {string} */ scalabilityMode) => [{ scalabilityMode, maxBitrate: 1_800_000 }];
const CASES = [
  { from: 'chromium', to: ['firefox'], name: 'VP8 in three RIDs', codec: 'VP8', encodings: RIDS, layered: true },
  { from: 'chromium', to: ['firefox'], name: 'VP9 L3T3', codec: 'VP9', encodings: svc('L3T3'), layered: true },
  // Without the dependency descriptor, which Firefox does not take, the lowest spatial layer alone can be decoded.
  { from: 'chromium', to: ['firefox'], name: 'AV1 L3T3', codec: 'AV1', encodings: svc('L3T3') },
  { from: 'firefox', to: ['chromium', 'firefox'], name: 'VP9', codec: 'VP9', encodings: [{}] },
  { from: 'firefox', to: ['chromium', 'firefox'], name: 'AV1', codec: 'AV1', encodings: [{}] },
];
const LIMIT_MS = 60_000;

const [base, only = ''] = process.argv.slice(2);
if (!base) {
  console.error('usage: node codecs.mjs <base URL> [part of a name] < {"whip": credentials, "whep": credentials}');
  process.exit(2);
}
const credentials = JSON.parse(await text(process.stdin));
/** @type {string[]} */
const faults = [];

// The following run in pages, so they know nothing but their argument.

/** @param {{credentials: any, codec: string, encodings: any[]}} arg */
async function publishInPage({ credentials: whip, codec, encodings }) {
  const { Peer } = await import('/sim/js/peer.js');
  // Of less, Chromium makes fewer than three layers.
  window.stream ??= await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720, frameRate: 30 } });
  window.peer?.close();
  window.peer = new Peer(whip);
  const transceiver = window.peer.pc.addTransceiver(window.stream.getVideoTracks()[0], {
    direction: 'sendonly', streams: [window.stream], sendEncodings: encodings,
  });
  const { codecs } = RTCRtpSender.getCapabilities('video');
  transceiver.setCodecPreferences(codecs.filter((c) => c.mimeType === `video/${codec}` || c.mimeType === 'video/rtx'));
  await window.peer.connect(undefined, (answer) => (
    answer.replace(/^(a=rtpmap:(\d+) \w+\/90000\r\n)/m, '$1a=fmtp:$2 x-google-start-bitrate=1800\r\n')
  ));
}

/** @param {{credentials: any}} arg */
async function playInPage({ credentials: whep }) {
  const { play } = await import('/sim/js/whep.js');
  window.peer?.close();
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
  return {
    state: pc.connectionState, decoded: video.framesDecoded ?? 0, height: video.frameHeight ?? 0, packets: video.packetsReceived ?? 0,
    codec: all.find((s) => s.id === video.codecId)?.mimeType ?? '', plis: video.pliCount ?? 0,
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

const [firefox, chromium] = await Promise.all([Firefox.launch(), launch({ camera: true })]);
process.once('SIGTERM', () => process.exit(1)); // which ends the browsers
const address = new URL('/sim', base).href;
const context = await chromium.newContext({ permissions: ['camera'] });
/** @type {Record<string, Record<'camera' | 'viewer', any>>} */
const tabs = {
  chromium: { camera: await openTab(context, 'camera', faults), viewer: await openTab(context, 'viewer', faults) },
  firefox: { camera: await firefox.open(address), viewer: await firefox.open(address) },
};
await Promise.all([tabs.chromium.camera, tabs.chromium.viewer].map((tab) => tab.goto(address)));
const stats = (/** @type {any} */ tab) => () => tab.evaluate(statsInPage);

/**
 * Waits until pictures are there, and then some more.
 * @param {string} what
 * @param {any} tab
 * @param {(s: any) => boolean} [right]
 */
async function goesOn(what, tab, right = (s) => s.decoded > 0) {
  const { decoded } = await until(what, stats(tab), right);
  return until(`${what} that moves`, stats(tab), (s) => s.decoded > decoded + 10);
}

/**
 * Goes down and up through what the camera sends, and returns the heights that
 * were seen. A camera on a busy machine changes them by itself, so the wanted
 * one is read beside the picture's.
 * @param {string} what
 * @param {any} tab
 */
async function goThrough(what, tab) {
  const read = () => tab.evaluate(layersInPage);
  const three = (/** @type {any[]} */ all) => (
    all.length === 3 ? all.every((l) => l.active && l.height) : all.length === 1 && all[0].spatialLayers === 3
  );
  const layers = await until(`${what}: layers`, read, three);
  const up = [0, 1, 2].map((i) => (layers.length === 3
    ? { wish: { rid: layers[i].rid }, heightOf: (/** @type {any[]} */ now) => now.find(({ rid }) => rid === layers[i].rid)?.height }
    : { wish: { spatialId: i }, heightOf: (/** @type {any[]} */ [now]) => now && now.height / 2 ** (2 - i) }));
  const seen = [];
  for (const { wish, heightOf } of [...up, ...up.slice(0, -1).reverse()]) {
    await tab.evaluate(preferInPage, wish);
    const wanted = `${what} by ${JSON.stringify(wish)}`;
    const { height } = await until(wanted, async () => {
      const [now, { height: shown }] = await Promise.all([read(), stats(tab)()]);
      return { wanted: three(now) ? heightOf(now) : 0, height: shown };
    }, (s) => s.height === s.wanted);
    await goesOn(wanted, tab);
    seen.push(height);
  }
  return seen;
}

/** @param {typeof CASES[0] & {layered?: boolean}} arg */
async function run({ from, to, name, codec, encodings, layered = false }) {
  const { camera } = tabs[from];
  await camera.evaluate(publishInPage, { credentials: credentials.whip, codec, encodings });
  await until(`${from} connects as a camera`, () => camera.evaluate(() => window.peer.pc.connectionState), (s) => s === 'connected');
  const seen = [];
  for (const who of to) {
    const { viewer } = tabs[who];
    await viewer.evaluate(playInPage, { credentials: credentials.whep });
    const what = `${from}'s ${name} in ${who}`;
    const { codec: shown } = await goesOn(what, viewer);
    if (shown !== `video/${codec}`) throw new Error(`${what}: ${shown}`);
    const heights = layered ? await goThrough(what, viewer) : [];
    const end = await stats(viewer)();
    seen.push(`${who} sees ${heights.join(', ') || end.height} lines (${end.decoded} pictures, ${end.plis} PLIs)`);
  }
  await Promise.all(to.map((who) => tabs[who].viewer.evaluate(() => window.peer.close())));
  await camera.evaluate(() => window.peer.close());
  return `${from}'s ${name}: ${seen.join('; ')}`;
}

let failed = false;
for (const each of CASES.filter(({ name }) => name.includes(only))) {
  const began = Date.now();
  try {
    console.log(`${await run(each)}; ${Date.now() - began} ms`);
  } catch (err) {
    failed = true;
    console.log(err instanceof Error ? err.message : String(err));
  }
}
if (faults.length) console.log(`the pages report: ${faults.join('; ')}`);
await Promise.all([firefox.kill(), chromium.close()]);
process.exit(failed || faults.length > 0 ? 1 : 0);
