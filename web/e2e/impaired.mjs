// A camera in Chromium that sends three layers of 720 lines, and a viewer in
// another Chromium behind a bad network, for a test that changes the network:
//   node impaired.mjs <base URL> <URL that leads through the bad network>
// Each line on standard input is a request in JSON, {"do": name, ...}, and is
// answered by a line on standard output, {"result": ...} or {"error": text}.
//
//   publish  {credentials, noise}  the camera goes live and sends its top layer; with noise that takes 4 Mbit/s
//   watch    {credentials}  the viewer sees the first picture; how long that took
//   measure  {seconds}      what the viewer saw meanwhile
//   leave    {}             the viewer goes

import { createInterface } from 'node:readline';
import { launch, openTab } from './browser.mjs';

const CAMERA = { width: 1280, height: 720, frameRate: 30 };
const ENCODINGS = [
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'h', maxBitrate: 4_300_000 },
];
const LIMIT_MS = 60_000;
const SAMPLE_MS = 250;

const [base, impaired] = process.argv.slice(2);
if (!impaired) {
  console.error('usage: node impaired.mjs <base URL> <impaired URL>');
  process.exit(2);
}
/** @type {string[]} */
const faults = [];

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// The following run in pages, so they know nothing but their argument.

/**
 * The built-in camera's picture is too plain to need 5 Mbit/s: this one has
 * noise all over, from a sheet drawn once.
 * @param {typeof CAMERA} camera
 */
function drawNoiseInPage(camera) {
  const canvas = Object.assign(document.createElement('canvas'), { width: camera.width, height: camera.height });
  const context = canvas.getContext('2d');
  const sheet = new OffscreenCanvas(2 * camera.width, 2 * camera.height);
  const noise = sheet.getContext('2d');
  const pixels = noise.createImageData(sheet.width, sheet.height);
  for (let n = 0; n < pixels.data.length; n += 4) {
    const level = 96 + 64 * Math.random();
    pixels.data.set([level, level, level, 255], n);
  }
  noise.putImageData(pixels, 0, 0);
  let turn = 0;
  setInterval(() => {
    turn += 1;
    context.drawImage(sheet, -Math.floor(camera.width * Math.random()), -Math.floor(camera.height * Math.random()));
    context.fillStyle = `hsl(${turn % 360} 80% 50%)`;
    context.fillRect(8 * turn % camera.width, 100, 200, 400);
  }, 1000 / camera.frameRate);
  window.noise = canvas.captureStream(camera.frameRate);
}

/** @param {{credentials: any, camera: typeof CAMERA, encodings: typeof ENCODINGS}} arg */
async function publishInPage({ credentials, camera, encodings }) {
  const { Peer } = await import('/sim/js/peer.js');
  const stream = window.noise ?? await navigator.mediaDevices.getUserMedia({ video: camera });
  stream.addTrack((await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0]);
  const peer = new Peer(credentials);
  peer.pc.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
  const video = peer.pc.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly', streams: [stream], sendEncodings: encodings });
  const { codecs } = RTCRtpSender.getCapabilities('video');
  video.setCodecPreferences(codecs.filter((c) => c.mimeType === 'video/VP8' || c.mimeType === 'video/rtx'));
  window.peer = peer;
  await peer.connect(undefined, (answer) => (
    answer.replace(/^(a=rtpmap:(\d+) VP8\/90000\r\n)/m, '$1a=fmtp:$2 x-google-start-bitrate=5000\r\n')
  ));
}

/** The rate of the camera's layers, in bits since the beginning. */
async function sentInPage() {
  const all = [...(await window.peer.pc.getStats()).values()].filter((s) => s.type === 'outbound-rtp' && s.kind === 'video');
  return Object.fromEntries(all.map((s) => [s.rid, { height: s.frameHeight ?? 0, fps: s.framesPerSecond ?? 0, bits: 8 * s.bytesSent, keys: s.keyFramesEncoded }]));
}

/** @param {any} credentials */
async function playInPage(credentials) {
  const { play } = await import('/sim/js/whep.js');
  window.peer?.close();
  const began = performance.now();
  const { peer, stream } = await play(credentials);
  window.peer = peer;
  const video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true, srcObject: stream });
  document.body.replaceChildren(video);
  const first = new Promise((resolve) => { video.requestVideoFrameCallback(() => resolve(performance.now() - began)); });
  await video.play();
  const took = await first;
  window.seen = { last: performance.now(), gap: 0 };
  const next = () => {
    const now = performance.now();
    window.seen = { last: now, gap: Math.max(window.seen.gap, now - window.seen.last) };
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
  return took;
}

async function statsInPage() {
  const all = [...(await window.peer.pc.getStats()).values()];
  const video = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video') ?? {};
  const gap = Math.max(window.seen.gap, performance.now() - window.seen.last);
  window.seen.gap = 0;
  return {
    gap, at: performance.now(), height: video.frameHeight ?? 0, decoded: video.framesDecoded ?? 0, received: video.framesReceived ?? 0,
    dropped: video.framesDropped ?? 0, lost: video.packetsLost ?? 0, packets: video.packetsReceived ?? 0, bytes: video.bytesReceived ?? 0,
    freezes: video.freezeCount ?? 0, frozen: video.totalFreezesDuration ?? 0, nacks: video.nackCount ?? 0, plis: video.pliCount ?? 0,
    rtx: video.retransmittedPacketsReceived ?? 0, state: window.peer.pc.connectionState,
  };
}

const [cameras, viewers] = await Promise.all([launch({ camera: true }), launch({ camera: true })]);
process.once('SIGTERM', () => process.exit(1)); // which ends the browsers
const camera = await openTab(await cameras.newContext({ permissions: ['camera', 'microphone'] }), 'camera', faults);
const viewer = await openTab(await viewers.newContext(), 'viewer', faults);
await Promise.all([camera.goto(new URL('/sim', base).href), viewer.goto(new URL('/sim', impaired).href)]);

const actions = {
  /** @param {any} request */
  async publish({ credentials, noise }) {
    if (noise) await camera.evaluate(drawNoiseInPage, CAMERA);
    await camera.evaluate(publishInPage, { credentials, camera: CAMERA, encodings: ENCODINGS });
    for (const end = Date.now() + LIMIT_MS; ;) {
      const layers = await camera.evaluate(sentInPage);
      if (layers.h?.height === CAMERA.height) return layers;
      if (Date.now() > end) throw new Error(`the camera does not send its top layer: ${JSON.stringify(layers)}`);
      await pause(100);
    }
  },
  /** @param {any} request */
  watch: ({ credentials }) => viewer.evaluate(playInPage, credentials),
  /** @param {any} request */
  async measure({ seconds }) {
    const sent = await camera.evaluate(sentInPage);
    const samples = [];
    for (let i = 0; i <= seconds * 1000 / SAMPLE_MS; i++) {
      if (i > 0) await pause(SAMPLE_MS);
      const [seen, layers] = await Promise.all([viewer.evaluate(statsInPage), camera.evaluate(sentInPage)]);
      // A busy camera changes the size of all its layers; the viewer sees that a moment later.
      const layer = Object.keys(layers).find((rid) => layers[rid].height === seen.height) ?? samples.at(-1)?.layer ?? '';
      samples.push({ ...seen, layer });
    }
    if (faults.length) throw new Error(`the pages report: ${faults.join('; ')}`);
    const now = await camera.evaluate(sentInPage);
    return { samples, top: now.h?.height ?? 0, sent: Object.fromEntries(Object.keys(now).map((rid) => [rid, (now[rid].bits - (sent[rid]?.bits ?? 0)) / seconds])) };
  },
  leave: () => viewer.evaluate(() => window.peer.close()),
};

/** @param {object} answer */
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...request } = JSON.parse(line);
  try {
    if (!Object.hasOwn(actions, name)) throw new Error(`what is "${name}"?`);
    say({ result: await actions[name](request) ?? null });
  } catch (err) {
    say({ error: err instanceof Error ? err.message : String(err) });
  }
}
await Promise.all([cameras.close(), viewers.close()]);
process.exit(0);
