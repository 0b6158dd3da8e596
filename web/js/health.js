// How a watched stream plays: told to the server, and asked of it when there
// is no picture, since it sees both ends.

const REPORT_MS = 4_000;
const ASK_MS = 4_000;

/** Belongs to one connection of one stream. */
export class Health {
  #tab;
  #id;
  #pc;
  #began = performance.now();
  #firstFrame = 0;
  #reported = -Infinity;
  #asked = -Infinity;
  #verdict = '';

  /**
   * @param {import('./tab.js').Tab} tab
   * @param {string} id of the stream
   * @param {RTCPeerConnection} pc
   */
  constructor(tab, id, pc) {
    this.#tab = tab;
    this.#id = id;
    this.#pc = pc;
  }

  /**
   * Notes a reading, and reports every few seconds.
   * @param {import('./stats.js').Reading} reading
   */
  note(reading) {
    const now = performance.now();
    if (reading.frames > 0) this.#firstFrame ||= now - this.#began;
    if (now - this.#reported < REPORT_MS) return;
    this.#reported = now;
    this.#report(reading).catch(() => {}); // the next one says it all again
  }

  /** @param {import('./stats.js').Reading} reading */
  async #report(reading) {
    const all = [...(await this.#pc.getStats()).values()];
    const video = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video');
    if (!video) return;
    const buffered = video.jitterBufferEmittedCount ? video.jitterBufferDelay / video.jitterBufferEmittedCount : 0;
    await this.#tab.call('POST', `/streams/${this.#id}/statistics`, { body: {
      framesDecoded: video.framesDecoded ?? 0,
      framesDropped: video.framesDropped ?? 0,
      frameWidth: reading.width,
      frameHeight: reading.height,
      freezeCount: video.freezeCount ?? 0,
      totalFreezesDuration: video.totalFreezesDuration ?? 0,
      packetsReceived: video.packetsReceived ?? 0,
      packetsLost: video.packetsLost ?? 0,
      rttMs: reading.roundTrip * 1000,
      jitterBufferMs: buffered * 1000,
      firstFrameMs: this.#firstFrame,
      glassToGlassMs: this.#glassToGlass(),
      decoderImplementation: video.decoderImplementation ?? '',
      hidden: document.hidden,
    } });
  }

  /**
   * From the camera's lens to here, where it marks its packets with the time of
   * capture (abs-capture-time) and the browser tells.
   */
  #glassToGlass() {
    for (const receiver of this.#pc.getReceivers()) {
      if (receiver.track.kind !== 'video') continue;
      const [source] = /** @type {any[]} */ (receiver.getSynchronizationSources?.() ?? []);
      if (source?.captureTimestamp && source.senderCaptureTimeOffset !== undefined) {
        const ntpToUnix = 2_208_988_800_000;
        const captured = source.captureTimestamp + source.senderCaptureTimeOffset - ntpToUnix;
        const shown = performance.timeOrigin + source.timestamp;
        return Math.max(0, Math.min(shown - captured, 600_000));
      }
    }
    return 0;
  }

  /**
   * Why there is no picture, in the server's words; until they are there, "".
   * @returns {string}
   */
  why() {
    const now = performance.now();
    if (now - this.#asked > ASK_MS) {
      this.#asked = now;
      this.#ask().catch(() => { this.#verdict = ''; });
    }
    return this.#verdict;
  }

  async #ask() {
    const { findings } = await this.#tab.call('GET', `/streams/${this.#id}/diagnosis`);
    const worst = findings.find((/** @type {{severity: string}} */ f) => f.severity === 'error');
    this.#verdict = worst ? [worst.message, worst.advice].filter(Boolean).join('\n') : '';
  }
}
