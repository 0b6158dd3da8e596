// What a connection really carries, from getStats.

/**
 * @typedef {object} Reading
 * @property {number} frames encoded or decoded so far
 * @property {number} frameRate frames in the last second
 * @property {number} bitsPerSecond video and audio since the last reading
 * @property {number} bytes video bytes so far
 * @property {number} audioBytes
 * @property {number} width
 * @property {number} height
 * @property {number} lost fraction of packets lost since the last reading, 0..1
 * @property {number} roundTrip seconds, 0 when unknown
 * @property {number} freezes
 * @property {string} codec such as "VP8"
 * @property {string} limitedBy "none", "cpu", "bandwidth" or "other" (sender only)
 * @property {boolean} relayed the media goes through TURN
 */

/** Reads one RTCPeerConnection again and again and remembers the last time. */
export class Meter {
  #pc;
  #last = { at: 0, bytes: 0, packets: 0, lost: 0 };

  /** @param {{getStats: () => Promise<any>}} pc */
  constructor(pc) {
    this.#pc = pc;
  }

  /** @returns {Promise<Reading>} */
  async read() {
    const report = await this.#pc.getStats();
    const all = [...report.values()];
    const videos = all.filter((s) => isRtp(s) && s.kind === 'video');
    const video = largest(videos);
    const audio = all.find((s) => isRtp(s) && s.kind === 'audio') ?? {};
    const remote = all.find((s) => s.type === 'remote-inbound-rtp' && s.kind === 'video') ?? {};
    const transport = all.find((s) => s.type === 'transport') ?? {};
    const pair = report.get(transport.selectedCandidatePairId)
      ?? all.find((s) => s.type === 'candidate-pair' && s.nominated) ?? {};
    const bytes = videos.reduce((sum, s) => sum + (s.bytesReceived ?? s.bytesSent ?? 0), 0);
    const audioBytes = audio.bytesReceived ?? audio.bytesSent ?? 0;
    return {
      frames: video.framesDecoded ?? video.framesEncoded ?? 0,
      frameRate: video.framesPerSecond ?? 0,
      bytes,
      audioBytes,
      width: video.frameWidth ?? 0,
      height: video.frameHeight ?? 0,
      freezes: video.freezeCount ?? 0,
      codec: report.get(video.codecId)?.mimeType?.split('/')[1] ?? '',
      limitedBy: video.qualityLimitationReason ?? 'none',
      roundTrip: pair.currentRoundTripTime ?? remote.roundTripTime ?? 0,
      relayed: report.get(pair.localCandidateId)?.candidateType === 'relay',
      ...this.#since(bytes + audioBytes, video, remote),
    };
  }

  /**
   * @param {number} bytes
   * @param {any} video
   * @param {any} remote
   */
  #since(bytes, video, remote) {
    const now = performance.now();
    const last = this.#last;
    const packets = video.packetsReceived ?? video.packetsSent ?? 0;
    const lost = Math.max(0, video.packetsLost ?? remote.packetsLost ?? 0);
    this.#last = { at: now, bytes, packets, lost };
    if (!last.at || now === last.at) return { bitsPerSecond: 0, lost: 0 };
    const missing = Math.max(0, lost - last.lost);
    const expected = Math.max(1, packets - last.packets + missing);
    return { bitsPerSecond: Math.max(0, (bytes - last.bytes) * 8_000 / (now - last.at)), lost: missing / expected };
  }
}

/**
 * The layer to speak of, of those that a simulcast camera sends.
 * @param {any[]} videos
 */
function largest(videos) {
  const rank = (/** @type {any} */ s) => (s.framesPerSecond ? s.frameWidth * s.frameHeight : 0);
  return videos.reduce((best, s) => (rank(s) > rank(best) ? s : best), videos[0] ?? {});
}

/** @param {any} stat */
function isRtp(stat) {
  return stat.type === 'inbound-rtp' || stat.type === 'outbound-rtp';
}
