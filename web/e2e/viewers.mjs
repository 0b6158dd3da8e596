// A camera in Chromium and a viewer each in Chromium and Firefox, for a test
// that has others watch the same camera:
//   node viewers.mjs <base URL>
// Each line on standard input is a request in JSON, {"do": name, ...}, and is
// answered by a line on standard output, {"result": ...} or {"error": text}.
// The end of the input ends the browsers.
//
//   publish  {credentials}                     the camera goes live
//   watch    {chromium, firefox: credentials}  both see the first pictures
//   measure  {seconds}                         what all three did meanwhile
//   vanish   {}                                the viewers go without a word
//   told     {}                                what the server has told the camera that it misses, in packets

import { createInterface } from 'node:readline';
import { launch, openTab } from './browser.mjs';
import { Firefox } from './firefox.mjs';

const CAMERA = { width: 640, height: 360, frameRate: 30, bitrate: 600_000 };
const FIRST_FRAMES_MS = 60_000;
const SETTLE_MS = 1_000;

/** @typedef {import('../js/streams.js').Credentials} Credentials */
/** @typedef {{evaluate: (fn: any, arg?: any) => Promise<any>}} Page of either browser */
/** @typedef {Record<'chromium' | 'firefox', Page>} Viewers */

const base = process.argv[2];
if (!base) {
  console.error('usage: node viewers.mjs <base URL>');
  process.exit(2);
}
const address = new URL('/sim', base).href;
/** @type {string[]} */
const faults = [];

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// The following run in pages, so they know nothing but their argument. The
// product's own modules do the work.

/** @param {{credentials: Credentials, camera: typeof CAMERA}} arg */
async function publishInPage({ credentials, camera }) {
  const { publish } = await import('/sim/js/whip.js');
  const { width, height, frameRate } = camera;
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width, height, frameRate }, audio: true });
  window.peer = await publish(credentials, stream);
  const sender = window.peer.pc.getSenders().find((s) => s.track.kind === 'video');
  const parameters = sender.getParameters();
  parameters.encodings.at(-1).maxBitrate = camera.bitrate;
  parameters.degradationPreference = 'maintain-resolution';
  await sender.setParameters(parameters);
}

/** @param {Credentials} credentials */
async function playInPage(credentials) {
  const { play } = await import('/sim/js/whep.js');
  const { peer, stream } = await play(credentials);
  window.peer = peer;
  const video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true, srcObject: stream });
  document.body.replaceChildren(video);
  await video.play();
}

/** What counts, from the connection's statistics. */
async function statsInPage() {
  const report = await window.peer.pc.getStats();
  const all = [...report.values()];
  /** @param {string} type @param {string} kind */
  const rtp = (type, kind) => all.find((s) => s.type === type && s.kind === kind) ?? {};
  const [video, audio, sent] = [rtp('inbound-rtp', 'video'), rtp('inbound-rtp', 'audio'), rtp('outbound-rtp', 'video')];
  return {
    state: window.peer.pc.connectionState,
    sent: sent.framesSent ?? 0,
    decoded: video.framesDecoded ?? 0,
    dropped: video.framesDropped ?? 0,
    freezes: video.freezeCount ?? 0,
    lost: (video.packetsLost ?? 0) + (audio.packetsLost ?? 0),
    packets: video.packetsReceived ?? 0,
    audioPackets: audio.packetsReceived ?? 0,
    nacks: video.nackCount ?? 0,
    width: video.frameWidth ?? 0,
    height: video.frameHeight ?? 0,
    codecs: [video, audio].map((s) => report.get(s.codecId)?.mimeType ?? ''),
    cipher: all.find((s) => s.type === 'transport')?.srtpCipher ?? '',
  };
}

/** The standard deviation of the picture's luminance, 0..127. */
function contrastInPage() {
  const canvas = document.createElement('canvas');
  canvas.width = 64;
  canvas.height = 36;
  const context = canvas.getContext('2d');
  context.drawImage(document.querySelector('video'), 0, 0, 64, 36);
  const { data } = context.getImageData(0, 0, 64, 36);
  const luma = [];
  for (let i = 0; i < data.length; i += 4) luma.push(0.3 * data[i] + 0.59 * data[i + 1] + 0.11 * data[i + 2]);
  const mean = luma.reduce((a, b) => a + b) / luma.length;
  return Math.sqrt(luma.reduce((a, b) => a + (b - mean) ** 2, 0) / luma.length);
}

/** The browsers, and what is asked of them. */
class Scene {
  #chromium;
  #firefox;
  #camera;
  /** @type {Viewers} */
  #viewers;
  #closeTab;

  /**
   * @param {import('playwright-core').Browser} chromium
   * @param {Firefox} firefox
   * @param {import('playwright-core').Page} camera
   * @param {import('playwright-core').Page} viewer
   * @param {Page} foxViewer
   */
  constructor(chromium, firefox, camera, viewer, foxViewer) {
    this.#chromium = chromium;
    this.#firefox = firefox;
    this.#camera = camera;
    this.#viewers = { chromium: viewer, firefox: foxViewer };
    this.#closeTab = () => viewer.close();
  }

  /** Opens everything but the connections. */
  static async open() {
    const [chromium, firefox] = await Promise.all([launch({ camera: true }), Firefox.launch()]);
    const context = await chromium.newContext({ permissions: ['camera', 'microphone'] });
    const [camera, viewer] = [await openTab(context, 'camera', faults), await openTab(await chromium.newContext(), 'viewer', faults)];
    const [foxViewer] = await Promise.all([firefox.open(address), camera.goto(address), viewer.goto(address)]);
    return new Scene(chromium, firefox, camera, viewer, foxViewer);
  }

  /** @param {{credentials: Credentials}} request */
  async publish({ credentials }) {
    await this.#camera.evaluate(publishInPage, { credentials, camera: CAMERA });
    await until('the camera sends nothing', this.#camera, ({ sent }) => sent > 0);
  }

  /** @param {Record<keyof Viewers, Credentials>} request */
  async watch(request) {
    await this.#each(async (page, name) => {
      await page.evaluate(playInPage, request[name]);
      await until(`${name} decodes nothing`, page, ({ decoded }) => decoded > 0);
    });
    await pause(SETTLE_MS);
  }

  /**
   * @param {{seconds: number}} request
   * @returns {Promise<object>} frames that the camera sent, and for each
   *   viewer the frames of each second and what changed in all of them
   */
  async measure({ seconds }) {
    const read = () => Promise.all([this.#camera.evaluate(statsInPage), this.#each((page) => page.evaluate(statsInPage))]);
    const samples = [await read()];
    const contrast = { chromium: 0, firefox: 0 };
    for (let i = 0; i < seconds; i++) {
      await pause(1000);
      samples.push(await read());
      await this.#each(async (page, name) => { contrast[name] = Math.max(contrast[name], await page.evaluate(contrastInPage)); });
    }
    if (faults.length) throw new Error(`the pages report: ${faults.join('; ')}`);
    const [begin, end] = [samples[0], samples[seconds]];
    return {
      sent: end[0].sent - begin[0].sent,
      viewers: await this.#each(async (_page, name) => ({
        ...end[1][name],
        contrast: contrast[name],
        frames: samples.slice(1).map((s, i) => s[1][name].decoded - samples[i][1][name].decoded),
        freezes: end[1][name].freezes - begin[1][name].freezes,
        lost: end[1][name].lost - begin[1][name].lost,
        freezesBefore: begin[1][name].freezes,
      })),
    };
  }

  async vanish() {
    await Promise.all([this.#closeTab(), this.#firefox.kill()]);
  }

  async told() {
    return this.#camera.evaluate(async () => {
      const all = [...(await window.peer.pc.getStats()).values()].filter((s) => s.type === 'remote-inbound-rtp');
      return all.reduce((sum, s) => sum + Math.max(s.packetsLost ?? 0, 0), 0);
    });
  }

  async close() {
    await Promise.all([this.#chromium.close(), this.#firefox.kill()]);
  }

  /**
   * @template T
   * @param {(page: Page, name: keyof Viewers) => Promise<T>} action
   * @returns {Promise<Record<keyof Viewers, T>>}
   */
  async #each(action) {
    const names = /** @type {const} */ (['chromium', 'firefox']);
    const [chromium, firefox] = await Promise.all(names.map((name) => action(this.#viewers[name], name)));
    return { chromium, firefox };
  }
}

/**
 * @param {string} otherwise
 * @param {Page} page
 * @param {(stats: any) => boolean} enough
 */
async function until(otherwise, page, enough) {
  for (const end = Date.now() + FIRST_FRAMES_MS; ;) {
    const stats = await page.evaluate(statsInPage);
    if (enough(stats)) return;
    if (Date.now() > end) throw new Error(`${otherwise}: ${JSON.stringify(stats)}`);
    await pause(50);
  }
}

/** @param {object} answer */
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

process.once('SIGTERM', () => process.exit(1)); // which ends the browsers
const scene = await Scene.open();
for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...request } = JSON.parse(line);
  try {
    if (!['publish', 'watch', 'measure', 'vanish', 'told'].includes(name)) throw new Error(`what is "${name}"?`);
    say({ result: await scene[name](request) ?? null });
  } catch (err) {
    say({ error: err instanceof Error ? err.message : String(err) });
  }
}
await scene.close();
process.exit(0);
