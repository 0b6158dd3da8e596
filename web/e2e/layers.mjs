// A camera in Chromium that sends layers, and a viewer that goes through them:
//   node layers.mjs <base URL> < {"whip": credentials, "whep": credentials}
// Prints what each codec did; exit code 1 and a sentence if a layer could not
// be seen, or froze.

import { text } from 'node:stream/consumers';
import { launch, openTab } from './browser.mjs';

const RIDS = [
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'h', maxBitrate: 1_500_000 },
];
const svc = (/** @type {string} */ scalabilityMode) => [{ scalabilityMode, maxBitrate: 1_800_000 }];
const CASES = [
  { name: 'VP8 in three RIDs', codec: 'VP8', encodings: RIDS },
  { name: 'H.264 in three RIDs', codec: 'H264', encodings: RIDS },
  { name: 'VP9 L3T3', codec: 'VP9', encodings: svc('L3T3') },
  { name: 'AV1 L3T3', codec: 'AV1', encodings: svc('L3T3') },
  { name: 'AV1 L3T3_KEY', codec: 'AV1', encodings: svc('L3T3_KEY') },
  { name: 'AV1 L3T3 without dependency descriptor', codec: 'AV1', encodings: svc('L3T3'), plain: true },
];
const LIMIT_MS = 60_000;
const WATCH_MS = 1_000;
const SPATIAL = 3;
/** In all, or that share of the time that a busy machine takes: the camera itself stalls there while it encodes keyframes. */
const MOST_FROZEN_S = 3;
const MOST_FROZEN = 0.3;

const [base, only = ''] = process.argv.slice(2);
if (!base) {
  console.error('usage: node layers.mjs <base URL> [part of a name] < {"whip": credentials, "whep": credentials}');
  process.exit(2);
}
const credentials = JSON.parse(await text(process.stdin));
/** @type {string[]} */
const faults = [];

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// The following run in pages, so they know nothing but their argument.

/** @param {{credentials: any, codec: string, encodings: any[]}} arg */
async function publishInPage({ credentials: whip, codec, encodings }) {
  const { Peer } = await import('/sim/js/peer.js');
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

/** @param {{credentials: any, plain: boolean}} arg */
async function playInPage({ credentials: whep, plain }) {
  const { play } = await import('/sim/js/whep.js');
  if (plain) RTCRtpTransceiver.prototype.setHeaderExtensionsToNegotiate = () => {};
  window.peer?.close();
  const { peer, stream } = await play(whep);
  window.peer = peer;
  const video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true, srcObject: stream });
  document.body.replaceChildren(video);
  await video.play();
}

async function statsInPage() {
  const all = [...(await window.peer.pc.getStats()).values()];
  const video = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video') ?? {};
  return {
    decoded: video.framesDecoded ?? 0, height: video.frameHeight ?? 0, freezes: video.freezeCount ?? 0,
    frozen: video.totalFreezesDuration ?? 0, plis: video.pliCount ?? 0, packets: video.packetsReceived ?? 0,
    lost: video.packetsLost ?? 0, repaired: video.retransmittedPacketsReceived ?? 0, dropped: video.framesDropped ?? 0,
  };
}

/** Frames of the camera, of which a picture has one in each spatial layer. */
async function sentInPage() {
  const all = [...(await window.peer.pc.getStats()).values()];
  return all.find((s) => s.type === 'outbound-rtp' && s.kind === 'video').framesSent;
}

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
    await pause(50);
  }
}

const browser = await launch({ camera: true });
process.once('SIGTERM', () => process.exit(1)); // which ends the browser
const context = await browser.newContext({ permissions: ['camera'] });
const [camera, viewer] = [await openTab(context, 'camera', faults), await openTab(context, 'viewer', faults)];
await Promise.all([camera, viewer].map((page) => page.goto(new URL('/sim', base).href)));
const stats = () => viewer.evaluate(statsInPage);

/**
 * The wishes that lead through the layers, the least first, and the height that
 * each must show.
 * @param {boolean} plain
 */
async function steps(plain) {
  const layers = await until('layers', () => viewer.evaluate(() => window.peer.layers()), (all) => (
    all.length === 3 ? all.every((l) => l.active && l.height) : all.length === 1 && all[0].spatialLayers === 3
  ));
  if (layers.length === 3) return layers.map(({ rid, height }) => ({ wish: { rid }, height }));
  const { height } = layers[0];
  // Who gets the lowest spatial layer alone is also told the largest picture by
  // the stream's head: it shows what it has.
  if (plain) return [{ wish: {}, height: height / 4 }];
  return [0, 1, 2].map((spatialId) => ({ wish: { spatialId }, height: height / 2 ** (2 - spatialId) }));
}

/** Fewer pictures are wished for, and all of them again, which layers above must be joined for. */
async function frameRates() {
  const read = async () => ({ sent: (await camera.evaluate(sentInPage)) / SPATIAL, decoded: (await stats()).decoded });
  const seen = [];
  for (const { temporalId, right } of [
    { temporalId: 0, right: (/** @type {number} */ share) => share < 0.4 }, { temporalId: 2, right: (/** @type {number} */ share) => share > 0.6 },
  ]) {
    await viewer.evaluate((w) => window.peer.prefer(w), { temporalId });
    // A busy viewer is behind with what was sent before the wish came to the server, and passes over what is late.
    const [decoded, sent] = await until(`pictures up to temporal layer ${temporalId}, seen and sent`, async () => {
      const before = await read();
      const after = await until('pictures to count', read, (now) => now.sent > before.sent + 30);
      return [after.decoded - before.decoded, Math.round(after.sent - before.sent)];
    }, (counted) => right(counted[0] / counted[1]));
    seen.push(`${decoded} of ${sent} up to T${temporalId}`);
  }
  return seen;
}

/** @param {typeof CASES[0] & {plain?: boolean}} arg */
async function run({ name, codec, encodings, plain = false }) {
  const began = Date.now();
  await camera.evaluate(publishInPage, { credentials: credentials.whip, codec, encodings });
  await until('the camera connects', () => camera.evaluate(() => window.peer.pc.connectionState), (s) => s === 'connected');
  await viewer.evaluate(playInPage, { credentials: credentials.whep, plain });
  await until('the first picture', stats, ({ decoded }) => decoded > 0);
  const ways = await steps(plain);
  const seen = [];
  for (const { wish, height } of plain ? ways : [...ways, ...ways.slice(0, -1).reverse()]) {
    await viewer.evaluate((w) => window.peer.prefer(w), wish);
    const before = await until(`a picture of ${height} lines by ${JSON.stringify(wish)}`, stats, (s) => s.height === height);
    await pause(WATCH_MS);
    const { decoded } = await stats();
    seen.push(`${height}p at ${Math.round((decoded - before.decoded) / WATCH_MS * 1000)} fps`);
    // A busy machine encodes few; a viewer who is sent what cannot be decoded sees none.
    await until(`${height} lines that move`, stats, (s) => s.decoded > before.decoded + 10);
  }
  if (name.startsWith('VP9')) seen.push(...await frameRates());
  // Who is not let run loses packets on this machine too, which are sent again.
  const end = await until('what was lost, again', stats, ({ lost, repaired }) => lost <= repaired);
  if (end.frozen > Math.max(MOST_FROZEN_S, MOST_FROZEN * (Date.now() - began) / 1000)) throw new Error(`frozen for ${end.frozen} s`);
  if (faults.length) throw new Error(`the pages report: ${faults.join('; ')}`);
  console.log(`${name}: ${seen.join(', ')}; ${end.freezes} freezes of ${end.frozen.toFixed(2)} s in all, ${end.plis} PLIs, ${end.lost} packets repaired, ${Date.now() - began} ms`);
}

let failed = false;
for (const each of CASES.filter(({ name }) => name.includes(only))) {
  await run(each).catch((err) => {
    failed = true;
    console.log(`${each.name}: ${err.message}`);
  });
}
await browser.close();
process.exit(failed ? 1 : 0);
