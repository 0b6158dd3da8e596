// How a watched stream plays: told to the server, and asked of it when there
// is no picture, since it sees both ends.

import { Latest } from './latest.js';

const REPORT_MS = 4_000;
const ASK_MS = 4_000;
const NTP_TO_UNIX_MS = 2_208_988_800_000;
const CLOCKS = 16; // sender reports by which the sender's clock is known
const PLAUSIBLE_MS = 60_000; // from lens to screen; more means that a clock jumped

/** Belongs to one connection of one stream. Made before its offer is. */
export class Health {
  /** The browser does not let the page play. */
  blocked = false;
  #tab;
  #id;
  #began = performance.now();
  #firstFrame = 0;
  #reported = -Infinity;
  #asked = -Infinity;
  #verdict = '';
  #latest = new Latest(); // of the verdicts
  /** @type {number[]} what this clock is ahead of the sender's, by each of its last reports */
  #ahead = [];
  #heard = 0;

  /**
   * @param {import('./tab.js').Tab} tab
   * @param {string} id of the stream
   */
  constructor(tab, id) {
    this.#tab = tab;
    this.#id = id;
  }

  /**
   * Plays what this is about, and notices when the first frame is shown.
   * @param {HTMLVideoElement} video
   */
  play(video) {
    const shown = () => {
      this.blocked &&= video.paused; // Firefox shows the first frame, and stops there
      this.#firstFrame ||= performance.now() - this.#began;
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(shown);
    else video.addEventListener('loadeddata', shown, { once: true });
    video.addEventListener('playing', () => { this.blocked = false; }, { once: true });
    video.play().catch((err) => { this.blocked = err.name === 'NotAllowedError'; });
  }

  /**
   * Notes a reading, and reports every few seconds.
   * @param {RTCPeerConnection} pc
   * @param {import('./stats.js').Reading} reading
   */
  note(pc, reading) {
    const now = performance.now();
    if (now - this.#reported < REPORT_MS) return;
    this.#reported = now;
    this.#report(pc, reading).catch(() => {}); // the next one says it all again
  }

  /**
   * @param {RTCPeerConnection} pc
   * @param {import('./stats.js').Reading} reading
   */
  async #report(pc, reading) {
    const all = [...(await pc.getStats()).values()];
    const video = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video');
    if (!video) return;
    const buffered = video.jitterBufferEmittedCount ? video.jitterBufferDelay / video.jitterBufferEmittedCount : 0;
    this.#learnClock(all, reading.roundTrip * 1000);
    await this.#tab.call('POST', `/streams/${this.#id}/statistics`, { body: {
      framesDecoded: video.framesDecoded ?? 0,
      framesDropped: video.framesDropped ?? 0,
      frameWidth: reading.width,
      frameHeight: reading.height,
      freezeCount: video.freezeCount ?? 0,
      totalFreezesDuration: video.totalFreezesDuration ?? 0,
      packetsReceived: video.packetsReceived ?? 0,
      packetsLost: video.packetsLost ?? 0,
      bitrate: Math.round(reading.bitsPerSecond),
      rttMs: reading.roundTrip * 1000,
      jitterMs: (video.jitter ?? 0) * 1000,
      jitterBufferMs: buffered * 1000,
      firstFrameMs: this.#firstFrame,
      glassToGlassMs: this.#glassToGlass(pc, video),
      decoderImplementation: video.decoderImplementation ?? '',
      hidden: document.hidden,
      blocked: this.blocked,
    } });
  }

  /**
   * The sender's reports say what time it is there. What came soonest waited
   * least on the way.
   * @param {any[]} all statistics
   * @param {number} roundTrip in milliseconds
   */
  #learnClock(all, roundTrip) {
    const report = all.find((s) => s.type === 'remote-outbound-rtp' && s.kind === 'video');
    if (!report?.remoteTimestamp || report.remoteTimestamp === this.#heard) return;
    this.#heard = report.remoteTimestamp;
    this.#ahead.push(report.timestamp - report.remoteTimestamp - roundTrip / 2);
    if (this.#ahead.length > CLOCKS) this.#ahead.shift();
  }

  /**
   * Milliseconds from the camera's lens to here: by the time of capture that
   * packets carry (abs-capture-time) where the browser tells it, else by when
   * the sender's reports say that what is played was captured. 0 if not known.
   * @param {RTCPeerConnection} pc
   * @param {any} video its statistics
   */
  #glassToGlass(pc, video) {
    if (this.#ahead.length === 0) return 0;
    const receiver = pc.getReceivers().find((r) => r.track.kind === 'video');
    const [source] = /** @type {any[]} */ (receiver?.getSynchronizationSources?.() ?? []);
    const [shown, captured] = source?.captureTimestamp
      ? [source.timestamp, source.captureTimestamp + (source.senderCaptureTimeOffset ?? 0)]
      : [video.timestamp, video.estimatedPlayoutTimestamp];
    if (!captured) return 0;
    const took = shown - Math.min(...this.#ahead) - (captured - NTP_TO_UNIX_MS);
    return took > 0 && took < PLAUSIBLE_MS ? took : 0;
  }

  /**
   * Why there is no picture, in the server's words; until they are there, "".
   * @returns {string}
   */
  why() {
    const now = performance.now();
    if (now - this.#asked > ASK_MS) {
      this.#asked = now;
      this.#ask();
    }
    return this.#verdict;
  }

  /** There is a picture: what was said of none is over, and so is what is on its way. */
  well() {
    this.#verdict = '';
    this.#asked = -Infinity;
    this.#latest.forget();
  }

  async #ask() {
    const due = this.#latest.ask();
    const verdict = await this.#judge().catch(() => '');
    if (due()) this.#verdict = verdict;
  }

  /** @returns {Promise<string>} what the server says, "" when it finds nothing */
  async #judge() {
    const { findings } = await this.#tab.call('GET', `/streams/${this.#id}/diagnosis`);
    // Of a connection that is just being made this side knows as much.
    const worst = findings.find((/** @type {{severity: string, code: string}} */ f) => (
      f.severity === 'error' && f.code !== 'viewer_connecting'
    ));
    return worst ? [worst.message, worst.advice].filter(Boolean).join('\n') : '';
  }
}
