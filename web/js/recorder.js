// Records in this tab what a camera shows whose media no server sees
// (MEDIA_MODE=p2p), and uploads it when the stream has ended.

import { ApiError, failure } from './api.js';
import { backoff } from './backoff.js';
import { finalize, ofStream, uploadUrl } from './recordings.js';

/** @typedef {import('./tab.js').Tab} Tab */

// Each is an encoder at work. Of streams beyond these nothing is kept.
const MOST_AT_A_TIME = 4;
const MAX_BITS_PER_SECOND = 2_500_000;
const CHUNK_MS = 5_000;
const MOST_BYTES = 1 << 30; // of one recording, which then ends
const TRIES = 5;
// What did not get through in that many is kept, the newest few and no more
// bytes together than one recording may have: the server may come back, or be
// told to await it once more.
const MOST_KEPT = 4;
const OFFER_MS = 30_000; // until it is tried again after another failure, twice as long each time
const LONGEST_OFFER_MS = 600_000;
const TYPES = ['video/webm;codecs=vp8,opus', 'video/webm', 'video/mp4'];

/** One stream, from when it is first seen here. */
class Take {
  /** @type {Blob[]} */
  #chunks = [];
  #bytes = 0;
  #began = performance.now();
  #ended = this.#began; // as far as there are chunks: the last one comes at the end
  #recorder;

  /** @param {MediaStream} stream */
  constructor(stream) {
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.#recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: MAX_BITS_PER_SECOND });
    this.#recorder.ondataavailable = ({ data }) => this.#keep(data);
    this.#recorder.start(CHUNK_MS);
  }

  /** @param {Blob} data */
  #keep(data) {
    this.#chunks.push(data);
    this.#ended = performance.now();
    this.#bytes += data.size;
    if (this.#bytes > MOST_BYTES) this.#end();
  }

  #end() {
    if (this.#recorder.state !== 'inactive') this.#recorder.stop();
  }

  /**
   * Ends it, unless it has ended because the camera's source was changed or
   * there was enough.
   * @returns {Promise<Done>}
   */
  async finish() {
    if (this.#recorder.state !== 'inactive') {
      await new Promise((resolve) => {
        this.#recorder.onstop = resolve;
        this.#end();
      });
    }
    const [type] = this.#recorder.mimeType.split(';');
    return { file: new Blob(this.#chunks, { type }), durationMs: Math.round(this.#ended - this.#began) };
  }
}

/** @typedef {{file: Blob, durationMs: number}} Done a take that has ended */

/** Owned by a Camera. */
export class Recorder {
  /** @type {Map<string, Take>} by stream */
  #takes = new Map();
  /** @type {Map<string, Done & {next: number, pause: number}>} by stream, oldest first */
  #kept = new Map();
  #offering = false;
  #tab;

  /** @param {Tab} tab */
  constructor(tab) {
    this.#tab = tab;
  }

  /**
   * Records the streams that are new and uploads those that have ended.
   * @param {Iterable<string>} streamIds all that are to be recorded
   * @param {MediaStream} media
   */
  follow(streamIds, media) {
    const wanted = new Set(streamIds);
    for (const [id, take] of this.#takes) {
      if (wanted.has(id)) continue;
      this.#takes.delete(id);
      take.finish().then((done) => this.#upload(id, done)).catch(() => {}); // nothing was recorded
    }
    if (typeof MediaRecorder === 'undefined') return;
    for (const id of wanted) {
      if (this.#takes.has(id) || this.#takes.size >= MOST_AT_A_TIME) continue;
      try {
        this.#takes.set(id, new Take(media));
      } catch {
        return; // this browser does not record that
      }
    }
  }

  /** Uploads what did not get through, if it is awaited. To be called now and then. */
  async offer() {
    if (this.#offering) return;
    this.#offering = true;
    for (const [id, take] of [...this.#kept]) {
      if (performance.now() < take.next) continue;
      try {
        if (await this.#settle(id, take)) this.#kept.delete(id);
      } catch {
        take.next = performance.now() + take.pause;
        take.pause = Math.min(2 * take.pause, LONGEST_OFFER_MS);
      }
    }
    this.#offering = false;
  }

  /**
   * @param {string} streamId
   * @param {Done} done
   */
  async #upload(streamId, done) {
    for (let tries = 0; ; tries++) {
      try {
        if (await this.#settle(streamId, done)) return;
        break;
      } catch (err) {
        if (tries >= TRIES || (err instanceof ApiError && !err.passing)) break;
        await new Promise((resolve) => { setTimeout(resolve, backoff(tries)); });
      }
    }
    this.#keep(streamId, done);
  }

  /**
   * @param {string} streamId
   * @param {Done} done
   */
  #keep(streamId, done) {
    this.#kept.set(streamId, { ...done, next: 0, pause: OFFER_MS });
    let bytes = 0;
    for (const { file } of this.#kept.values()) bytes += file.size;
    for (const [id, { file }] of this.#kept) {
      if (this.#kept.size <= MOST_KEPT && bytes <= MOST_BYTES) return;
      bytes -= file.size;
      this.#kept.delete(id); // the row says that nothing came
    }
  }

  /**
   * @param {string} streamId
   * @param {Done} done
   * @returns {Promise<boolean>} false: it is not awaited any more, but may be again
   */
  async #settle(streamId, { file, durationMs }) {
    const recording = await ofStream(this.#tab, streamId);
    // This camera is not recorded any more, or the answer to an earlier try was lost.
    if (!recording || recording.status === 'ready') return true;
    if (recording.status !== 'awaiting_upload') return false;
    const to = await uploadUrl(this.#tab, recording.id, file);
    const response = await fetch(to.url, { method: to.method, headers: to.headers, body: file });
    if (!response.ok) throw await failure(response);
    await finalize(this.#tab, recording.id, durationMs);
    return true;
  }
}
