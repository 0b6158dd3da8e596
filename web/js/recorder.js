// Records in this tab what a camera shows whose media no server sees
// (MEDIA_MODE=p2p), and uploads it when the stream has ended.

import { ApiError, failure } from './api.js';
import { backoff } from './backoff.js';
import { awaited, finalize, uploadUrl } from './recordings.js';

/** @typedef {import('./tab.js').Tab} Tab */

// Each is an encoder at work. Of streams beyond these nothing is kept.
const MOST_AT_A_TIME = 4;
const MAX_BITS_PER_SECOND = 2_500_000;
const CHUNK_MS = 5_000;
const MOST_BYTES = 1 << 30; // of one recording, which then ends
const TRIES = 5;
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
   * @returns {Promise<{file: Blob, durationMs: number}>}
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

/** Owned by a Camera. */
export class Recorder {
  /** @type {Map<string, Take>} by stream */
  #takes = new Map();
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
      take.finish().then((done) => this.#upload(id, done)).catch(() => {}); // the row says that nothing came
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

  /**
   * @param {string} streamId
   * @param {{file: Blob, durationMs: number}} done
   */
  async #upload(streamId, { file, durationMs }) {
    for (let tries = 0; ; tries++) {
      try {
        const recording = await awaited(this.#tab, streamId);
        if (!recording) return; // this camera is not recorded any more
        const to = await uploadUrl(this.#tab, recording.id, file);
        const response = await fetch(to.url, { method: to.method, headers: to.headers, body: file });
        if (!response.ok) throw await failure(response);
        await finalize(this.#tab, recording.id, durationMs);
        return;
      } catch (err) {
        if (tries >= TRIES || (err instanceof ApiError && !err.passing)) throw err;
        await new Promise((resolve) => { setTimeout(resolve, backoff(tries)); });
      }
    }
  }
}
