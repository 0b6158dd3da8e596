// Chromium as a camera and a viewer of another stack's, for a test that runs
// that one:
//   node stacks.mjs <base URL>
// Each line on standard input is a request in JSON, {"do": name, ...}, and is
// answered by a line on standard output, {"result": ...} or {"error": text}.
//
//   publish  {credentials, codec}  a camera of 640x360 that sends nothing but that codec goes live
//   see      {credentials}         decodes some pictures and sound, and says which

import { createInterface } from 'node:readline';
import { launch, openTab } from './browser.mjs';

const ENOUGH = 30; // frames
const LIMIT_MS = 60_000;

const [base] = process.argv.slice(2);
if (!base) {
  console.error('usage: node stacks.mjs <base URL>');
  process.exit(2);
}
/** @type {string[]} */
const faults = [];

// The following run in pages, so they know nothing but their argument.

/** @param {{credentials: any, codec: string}} arg */
async function publishInPage({ credentials, codec }) {
  const { Peer } = await import('/sim/js/peer.js');
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 }, audio: true });
  window.peer = new Peer(credentials);
  window.peer.pc.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
  const video = window.peer.pc.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly', streams: [stream] });
  const all = RTCRtpSender.getCapabilities('video').codecs;
  video.setCodecPreferences(all.filter((c) => [`video/${codec}`, 'video/rtx'].includes(c.mimeType.toLowerCase())));
  await window.peer.connect();
}

/** @param {any} credentials */
async function playInPage(credentials) {
  const { play } = await import('/sim/js/whep.js');
  const { peer, stream } = await play(credentials);
  window.peer = peer;
  const video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true, srcObject: stream });
  document.body.replaceChildren(video);
}

async function statsInPage() {
  const report = await window.peer.pc.getStats();
  const all = [...report.values()];
  const rtp = (/** @type {string} */ type, /** @type {string} */ kind) => all.find((s) => s.type === type && s.kind === kind) ?? {};
  const [video, audio, sent] = [rtp('inbound-rtp', 'video'), rtp('inbound-rtp', 'audio'), rtp('outbound-rtp', 'video')];
  return {
    decoded: video.framesDecoded ?? 0, sound: audio.packetsReceived ?? 0, sent: sent.framesSent ?? 0, plis: video.pliCount ?? 0,
    codec: report.get(video.codecId ?? sent.codecId)?.mimeType ?? '', size: `${video.frameWidth}x${video.frameHeight}`,
    state: window.peer.pc.connectionState,
  };
}

/**
 * @param {string} what
 * @param {import('playwright-core').Page} page
 * @param {(stats: any) => boolean} enough
 */
async function until(what, page, enough) {
  for (const end = Date.now() + LIMIT_MS; ;) {
    const stats = await page.evaluate(statsInPage);
    if (enough(stats)) return stats;
    if (Date.now() > end) throw new Error(`${what}: ${JSON.stringify(stats)}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

const browser = await launch({ camera: true });
process.once('SIGTERM', () => process.exit(1)); // which ends the browser
const context = await browser.newContext({ permissions: ['camera', 'microphone'] });
const [camera, viewer] = [await openTab(context, 'camera', faults), await openTab(context, 'viewer', faults)];
await Promise.all([camera, viewer].map((page) => page.goto(new URL('/sim', base).href)));

const actions = {
  /** @param {any} request */
  async publish(request) {
    await camera.evaluate(() => window.peer?.close());
    await camera.evaluate(publishInPage, request);
    return until('the camera sends nothing', camera, ({ sent }) => sent > 0);
  },
  /** @param {any} request */
  async see({ credentials }) {
    await viewer.evaluate(playInPage, credentials);
    const seen = await until('the viewer sees too little', viewer, ({ decoded, sound }) => decoded > ENOUGH && sound > ENOUGH);
    await viewer.evaluate(() => window.peer.close());
    return seen;
  },
};

/** @param {object} answer */
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...request } = JSON.parse(line);
  try {
    if (!Object.hasOwn(actions, name)) throw new Error(`what is "${name}"?`);
    const result = await actions[name](request);
    if (faults.length) throw new Error(`the pages report: ${faults.join('; ')}`);
    say({ result });
  } catch (err) {
    say({ error: err instanceof Error ? err.message : String(err) });
  }
}
await browser.close();
process.exit(0);
