// A camera in Chromium, and viewers there and in Firefox, for a test that puts a
// bad network between them and the server:
//   node recovery.mjs
// Each line on standard input is a request in JSON, {"do": name, ...}, and is
// answered by a line on standard output, {"result": ...} or {"error": text}.
// The end of the input ends the browsers.
//
//   publish  {base, credentials, bitrate, codec?, mode?}  a camera goes live, in a browser of its own
//   kill     {}                            its browser dies without a word
//   join     {base, credentials, browser?}  a viewer joins, in "firefox" if that is the browser: when it saw its first frame
//   leave    {}                            the viewer that joined last leaves
//   measure  {seconds}                     what the viewer that joined last saw of what the camera sent
//   stats    {}                            what the viewer that joined last says of itself, and what it was shown

import { createInterface } from 'node:readline';
import { launch, openTab } from './browser.mjs';
import { Firefox } from './firefox.mjs';

const CAMERA = { width: 1280, height: 720, frameRate: 30 };
const FIRST_FRAME_MS = 60_000;
/** When the camera pauses, what is on its way has arrived once the viewer has got and decoded nothing for so long. */
const QUIET_MS = 2_000;
/** A camera that holds frames back because the network is bad may be followed by a viewer that plays late. */
const DRAIN_MS = 20_000;

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {{evaluate: (fn: any, arg?: any) => Promise<any>, close: () => Promise<void>}} Viewer a tab of either browser */
/** @typedef {import('../js/streams.js').Credentials} Credentials */

/** @type {string[]} */
const faults = [];

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// The following run in pages, so they know nothing but their argument. The
// product's own modules do the work.

/** @param {{credentials: Credentials, camera: typeof CAMERA, bitrate: number, codec: string, mode: string}} arg */
async function publishInPage({ credentials, camera, bitrate, codec, mode }) {
  const { Peer } = await import('/sim/js/peer.js');
  const stream = await navigator.mediaDevices.getUserMedia({ video: camera, audio: true });
  const [video] = stream.getVideoTracks();
  // One layer without temporal ones: a player passes over frames that no other needs when they are late, which would
  // count as lost here.
  const { pc } = window.peer = new Peer(credentials);
  pc.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
  const transceiver = pc.addTransceiver(video, {
    direction: 'sendonly', streams: [stream], sendEncodings: [{ maxBitrate: bitrate, scalabilityMode: mode }],
  });
  const { sender } = transceiver;
  const { codecs } = RTCRtpSender.getCapabilities('video');
  transceiver.setCodecPreferences(codecs.filter((c) => c.mimeType === `video/${codec}` || c.mimeType === 'video/rtx'));
  Object.assign(window, { sender, track: video });
  const start = (answer) => (
    answer.replace(/^a=rtpmap:(\d+) (VP8|VP9|AV1)\/.*\r\n/gm, `$&a=fmtp:$1 x-google-start-bitrate=${bitrate / 2000}\r\n`)
  );
  await window.peer.connect(undefined, start);
  const parameters = sender.getParameters();
  parameters.degradationPreference = 'maintain-framerate';
  await sender.setParameters(parameters);
}

/** @param {boolean} on whether the camera sends pictures */
async function sendInPage(on) {
  await window.sender.replaceTrack(on ? window.track : null);
}

/**
 * Joins, and says how long after the POST the first frame was presented.
 * @param {Credentials} credentials
 */
async function joinInPage(credentials) {
  const { play } = await import('/sim/js/whep.js');
  const video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true });
  document.body.replaceChildren(video);
  window.shown = [];
  const first = new Promise((resolve) => {
    const next = (now, metadata) => {
      window.shown.push({ at: now, rtp: metadata.rtpTimestamp });
      resolve(metadata.presentationTime); // which is after it was decoded; now may be before
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  });
  performance.clearResourceTimings();
  const began = performance.now();
  const { peer, stream } = await play(credentials);
  window.peer = peer;
  video.srcObject = stream;
  const at = await first;
  const post = performance.getEntriesByType('resource').find((e) => e.startTime >= began && /whep|play/.test(e.name));
  return { ms: at - (post?.startTime ?? began), signalling: (post?.responseEnd ?? began) - (post?.startTime ?? began) };
}

async function leaveInPage() {
  await window.peer.close();
}

/** What counts, from the connection's statistics. */
async function statsInPage() {
  const all = [...(await window.peer.pc.getStats()).values()];
  /** @param {string} type */
  const rtp = (type) => all.find((s) => s.type === type && s.kind === 'video') ?? {};
  const [got, sent] = [rtp('inbound-rtp'), rtp('outbound-rtp')];
  return {
    state: window.peer.pc.connectionState,
    sent: sent.framesSent ?? 0,
    keyframes: sent.keyFramesEncoded ?? 0,
    bytesSent: sent.bytesSent ?? 0,
    retransmitted: sent.retransmittedPacketsSent ?? 0,
    plis: sent.pliCount ?? got.pliCount ?? 0,
    decoded: got.framesDecoded ?? 0,
    received: got.framesReceived ?? 0,
    dropped: got.framesDropped ?? 0,
    freezes: got.freezeCount ?? 0,
    frozen: got.totalFreezesDuration ?? 0,
    lost: got.packetsLost ?? 0,
    packets: got.packetsReceived ?? 0,
    repaired: got.retransmittedPacketsReceived ?? 0,
    nacks: got.nackCount ?? 0,
    delay: got.jitterBufferEmittedCount ? got.jitterBufferDelay / got.jitterBufferEmittedCount : 0,
    height: got.frameHeight ?? sent.frameHeight ?? 0,
  };
}

/**
 * Pictures shown since the page's clock said then, the longest time between two of them in ms, and when it was over 180,
 * and how long it was by the camera's clock: as long, if the camera sent none or none was shown, else short.
 */
function shownInPage(since) {
  const shown = window.shown.filter((s) => s.at >= since);
  const gaps = shown.slice(1).map((s, i) => s.at - shown[i].at);
  const sent = (i) => Math.round(((shown[i + 1].rtp - shown[i].rtp) | 0) / 90);
  const long = gaps.flatMap((gap, i) => (
    gap > 180 ? [`${Math.round(gap)} (sent ${sent(i)}) at ${((shown[i].at - since) / 1000).toFixed(1)} s`] : []
  ));
  return { shown: shown.length, longest: Math.max(0, ...gaps), long };
}

/** The browsers, and what is asked of them. */
class Scene {
  /** @type {import('playwright-core').Browser} */
  #cameraBrowser;
  /** @type {Page} */
  #camera;
  #viewers;
  /** @type {Firefox | undefined} */
  #firefox;
  /** @type {Viewer[]} in the order of joining */
  #joined = [];

  get #viewer() { return this.#joined[this.#joined.length - 1]; }

  static async open() {
    const scene = new Scene();
    scene.#viewers = await launch({ camera: false });
    return scene;
  }

  /** @param {{base: string, credentials: Credentials, bitrate: number, codec?: string, mode?: string}} request */
  async publish({ base, credentials, bitrate, codec = 'VP8', mode = 'L1T1' }) {
    this.#cameraBrowser = await launch({ camera: true });
    const context = await this.#cameraBrowser.newContext({ permissions: ['camera', 'microphone'] });
    this.#camera = await openTab(context, 'camera', faults);
    await this.#camera.goto(new URL('/sim', base).href);
    await this.#camera.evaluate(publishInPage, { credentials, camera: CAMERA, bitrate, codec, mode });
    await until('the camera sends nothing', this.#camera, ({ sent }) => sent > 0);
  }

  /** The camera's processes die. */
  async kill() {
    const browser = this.#cameraBrowser;
    const { processInfo } = await (await browser.newBrowserCDPSession()).send('SystemInfo.getProcessInfo');
    process.kill(processInfo.find((p) => p.type === 'browser').id, 'SIGKILL');
    await new Promise((resolve) => { browser.isConnected() ? browser.once('disconnected', resolve) : resolve(null); });
  }

  /** @param {{base: string, credentials: Credentials, browser?: 'chromium' | 'firefox'}} request */
  async join({ base, credentials, browser = 'chromium' }) {
    const address = new URL('/sim', base).href;
    const page = await (browser === 'firefox' ? this.#openFirefox(address) : this.#openChromium(address));
    this.#joined.push(page);
    return Promise.race([
      page.evaluate(joinInPage, credentials),
      pause(FIRST_FRAME_MS).then(() => { throw new Error('the viewer saw nothing'); }),
    ]);
  }

  /** @param {string} address @returns {Promise<Viewer>} */
  async #openChromium(address) {
    const context = await this.#viewers.newContext();
    const page = await openTab(context, 'viewer', faults);
    await page.goto(address);
    return { evaluate: (fn, arg) => page.evaluate(fn, arg), close: () => context.close() };
  }

  /** @param {string} address @returns {Promise<Viewer>} */
  async #openFirefox(address) {
    this.#firefox ??= await Firefox.launch();
    return this.#firefox.open(address);
  }

  async leave() {
    const page = this.#joined.pop();
    await page.evaluate(leaveInPage);
    await page.close();
  }

  /**
   * Begins and ends with a pause of the camera, so that every frame sent has
   * arrived or is lost.
   * @param {{seconds: number}} request
   */
  async measure({ seconds }) {
    const read = async () => ({ camera: await this.#camera.evaluate(statsInPage), viewer: await this.#viewer.evaluate(statsInPage) });
    await this.#pauseCamera();
    const before = await read();
    await this.#camera.evaluate(sendInPage, true);
    await until('nothing comes after the pause', this.#viewer, ({ decoded }) => decoded > before.viewer.decoded + 30);
    const [begin, since] = [await read(), await this.#viewer.evaluate(() => performance.now())];
    await pause(seconds * 1000);
    const end = await read();
    const pictures = await this.#viewer.evaluate(shownInPage, since);
    await this.#pauseCamera();
    const after = await read();
    await this.#camera.evaluate(sendInPage, true);
    if (faults.length) throw new Error(`the pages report: ${faults.join('; ')}`);
    return {
      ...pictures,
      sent: after.camera.sent - before.camera.sent,
      received: after.viewer.received - before.viewer.received,
      decoded: after.viewer.decoded - before.viewer.decoded,
      dropped: after.viewer.dropped - before.viewer.dropped,
      freezes: end.viewer.freezes - begin.viewer.freezes,
      frozenMs: 1000 * (end.viewer.frozen - begin.viewer.frozen),
      lost: end.viewer.lost - begin.viewer.lost,
      packets: end.viewer.packets - begin.viewer.packets,
      repaired: end.viewer.repaired - begin.viewer.repaired,
      nacks: end.viewer.nacks - begin.viewer.nacks,
      plis: end.viewer.plis - begin.viewer.plis,
      cameraPlis: end.camera.plis - begin.camera.plis,
      keyframes: end.camera.keyframes - begin.camera.keyframes,
      cameraRetransmitted: end.camera.retransmitted - begin.camera.retransmitted,
      kbps: Math.round((end.camera.bytesSent - begin.camera.bytesSent) * 8 / 1000 / seconds),
      delayMs: 1000 * end.viewer.delay,
      height: end.viewer.height,
      state: end.viewer.state,
    };
  }

  /** Has the camera send nothing, and waits until what it sent has arrived or is lost. */
  async #pauseCamera() {
    await this.#camera.evaluate(sendInPage, false);
    const began = Date.now();
    for (let [last, since] = ['', began]; Date.now() < Math.min(since + QUIET_MS, began + DRAIN_MS); await pause(100)) {
      const { received, decoded } = await this.#viewer.evaluate(statsInPage);
      if (`${received} ${decoded}` !== last) [last, since] = [`${received} ${decoded}`, Date.now()];
    }
  }

  /** The statistics of the viewer that joined last, and the pictures it was shown. */
  async stats() {
    return {
      viewer: await this.#viewer.evaluate(statsInPage),
      shown: await this.#viewer.evaluate(() => window.shown),
    };
  }

  async close() {
    await Promise.all([this.#viewers.close(), this.#firefox?.kill(), this.#cameraBrowser?.close()]);
  }
}

/**
 * @param {string} otherwise
 * @param {Page | Viewer} page
 * @param {(stats: any) => boolean} enough
 */
async function until(otherwise, page, enough) {
  for (const end = Date.now() + FIRST_FRAME_MS; ;) {
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
    if (!['publish', 'kill', 'join', 'leave', 'measure', 'stats'].includes(name)) throw new Error(`what is "${name}"?`);
    say({ result: await scene[name](request) ?? null });
  } catch (err) {
    say({ error: err instanceof Error ? err.message : String(err) });
  }
}
await scene.close();
process.exit(0);
