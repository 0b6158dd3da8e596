// This tab as a camera: it answers requests and publishes once for all viewers.

import { ApiError } from './api.js';
import { Latest } from './latest.js';
import { Publisher } from './publisher.js';
import { Recorder } from './recorder.js';
import { openSource, PATTERN } from './source.js';
import { Steered } from './steering.js';
import * as streams from './streams.js';
import { explain, wordsFor } from './words.js';

/** @typedef {import('./streams.js').Stream} Stream */

const HEARTBEAT_MS = 15_000;
const OVER = [403, 404, 409, 410]; // answers that mean: this stream is no more
const MOST_ENDED = 200; // streams of which an answer may still be on its way

/**
 * Fires "change" when anything that a person sees changed, and "reading" with
 * fresh statistics each second while live.
 */
export class Camera extends EventTarget {
  /** Why the test pattern stands in for a camera; "" when it does not. */
  substitute = '';
  /** @type {import('./source.js').Source | null} null while it opens */
  source = null;
  /** @type {Map<string, Stream>} the open streams: who watches */
  viewers = new Map();
  /** The server has said who watches. */
  known = false;
  muted = false;
  /** Viewers are not heard here. */
  deaf = false;
  /** @type {Set<HTMLAudioElement>} one for each who may talk */
  #speakers = new Set();
  #forwarded = true; // the server takes media, for any number of viewers or none
  #steered = new Steered();
  #recorder; // of what the server does not take

  #tab;
  #gateway;
  #publisher;
  /** @type {Set<string>} streams being accepted now */
  #accepting = new Set();
  /** @type {Set<string>} streams that ended last: an answer that says otherwise is older */
  #ended = new Set();
  #latest = new Latest(); // of the sources
  #synced = true; // the viewers are those that the server had at the last sign-on
  #mediaSession = ''; // the one that this tab opened by itself
  #timer = 0;
  #off = new AbortController();

  /**
   * @param {import('./tab.js').Tab} tab
   * @param {import('./gateway.js').Gateway} gateway
   */
  constructor(tab, gateway) {
    super();
    this.#tab = tab;
    this.#gateway = gateway;
    this.#recorder = new Recorder(tab);
    this.#publisher = new Publisher(() => this.#credentials(), (voice) => this.#hear(voice), (line) => this.#steered.join(line), gateway);
    this.#publisher.addEventListener('change', () => this.#changed());
    this.#publisher.addEventListener('reading', () => this.dispatchEvent(new Event('reading')));
  }

  /** @returns {'opening' | 'ready' | 'connecting' | 'live' | 'reconnecting'} */
  get phase() {
    if (!this.source) return 'opening';
    return this.#publisher.phase === 'idle' ? 'ready' : this.#publisher.phase;
  }

  /** @returns {string} what stands in the way of being live, in words */
  get problem() {
    return this.#publisher.problem;
  }

  /** @returns {import('./stats.js').Reading | null} */
  get reading() {
    return this.#publisher.reading;
  }

  /** @returns {Date | null} */
  get liveSince() {
    return this.#publisher.liveSince;
  }

  /**
   * @param {string} sourceId camera device id, "" for the browser's choice, or "pattern"
   */
  async start(sourceId) {
    const { signal } = this.#off;
    const listen = (/** @type {string} */ name, /** @type {(data: any) => void} */ handler) =>
      this.#gateway.addEventListener(name, (e) => handler(/** @type {CustomEvent} */ (e).detail), { signal });
    listen('ready', () => this.#sync());
    listen('stream:requested', (stream) => this.#accept(stream.id));
    listen('stream:started', (stream) => this.#add(stream));
    listen('stream:ended', (stream) => this.#noticeEnd(stream.id));
    listen('command:received', (command) => this.#obey(command));
    this.#tab.addEventListener('change', () => this.#weigh(), { signal });
    this.#timer = setInterval(() => this.#heartbeat(), HEARTBEAT_MS);
    await this.use(sourceId);
    if (this.#gateway.state === 'online') await this.#sync();
  }

  stop() {
    this.#off.abort();
    clearInterval(this.#timer);
    this.#publisher.stop();
    for (const speaker of this.#speakers) speaker.srcObject = null;
    this.#closeOwnSession();
    const media = this.source?.stream;
    this.source?.stop();
    Promise.allSettled([...this.viewers.keys()].map((id) => streams.end(this.#tab, id)))
      .then(() => media && this.#recorder.follow([], media));
  }

  /**
   * Changes the picture's source, also while live. When it cannot be opened
   * the test pattern stands in, and this.substitute says why.
   * @param {string} sourceId
   */
  async use(sourceId) {
    const due = this.#latest.ask();
    let next;
    let substitute = '';
    // Many phones open one camera at a time.
    if (this.source?.kind === 'camera' && sourceId !== PATTERN) this.source.stop();
    try {
      next = await openSource(sourceId);
    } catch (err) {
      substitute = explain(err);
      next = this.source?.kind === 'pattern' ? this.source : await openSource(PATTERN);
    }
    const last = this.source;
    if (this.#off.signal.aborted || !due()) return next === last ? undefined : next.stop();
    this.source = next;
    this.substitute = substitute;
    this.setMuted(this.muted);
    const [track] = next.stream.getVideoTracks();
    track.onended = () => this.#sourceEnded(next);
    this.#steered.use(track);
    if (next !== last) await this.#publisher.use(next.stream);
    if (next !== last) last?.stop();
    return this.#weigh();
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    this.muted = muted;
    for (const track of this.source?.stream.getAudioTracks() ?? []) track.enabled = !muted;
    this.#changed();
  }

  /** @param {boolean} deaf */
  setDeaf(deaf) {
    this.deaf = deaf;
    for (const speaker of this.#speakers) speaker.muted = deaf;
    this.#changed();
  }

  /** @param {MediaStream} voice */
  #hear(voice) {
    for (const speaker of this.#speakers) {
      if (/** @type {MediaStream} */ (speaker.srcObject).active) continue;
      speaker.srcObject = null;
      this.#speakers.delete(speaker);
    }
    const speaker = new Audio();
    this.#speakers.add(speaker);
    speaker.muted = this.deaf;
    speaker.srcObject = voice;
    speaker.play().catch(() => {}); // somebody pressed a button to make this tab a camera
  }

  /** Ends every viewer's stream; a camera that is always on stays live. */
  async endStreams() {
    await Promise.allSettled([...this.viewers.keys()].map((id) => streams.end(this.#tab, id)));
    await this.#sync();
  }

  /** @returns {boolean} the server takes media, as far as is known before anybody watches */
  get forwarded() {
    return this.#forwarded;
  }

  /** @returns {boolean} live also when nobody watches */
  get #continuous() {
    return this.#forwarded && this.#tab.device?.recordingPolicy === 'continuous';
  }

  /** @param {import('./source.js').Source} source */
  async #sourceEnded(source) {
    if (source !== this.source) return;
    await this.use(PATTERN);
    this.substitute = wordsFor('source_ended');
    this.#changed();
  }

  /** Asks the server what is open: before a sign-on something may have been missed. */
  async #sync() {
    this.#synced = false;
    const known = [...this.viewers.keys()];
    /** @type {Stream[]} */
    let open;
    let over;
    try {
      open = await streams.openStreams(this.#tab);
      over = await this.#over(known.filter((id) => !open.some((s) => s.id === id)));
    } catch {
      return; // the next heartbeat asks again
    }
    if (this.#off.signal.aborted) return;
    this.#synced = this.known = true;
    for (const id of over) this.viewers.delete(id);
    for (const stream of open.filter((s) => s.cameraDeviceId === this.#tab.device?.id && !this.#ended.has(s.id))) {
      if (stream.status === 'requested') this.#accept(stream.id);
      else this.viewers.set(stream.id, stream);
    }
    this.#weigh();
  }

  /**
   * Tells which streams are over of those that are not among the newest.
   * @param {string[]} ids
   * @returns {Promise<string[]>}
   */
  async #over(ids) {
    const over = [];
    for (const id of ids) {
      const stream = await streams.get(this.#tab, id).catch((err) => {
        if (!OVER.includes(err.status)) throw err;
      });
      if (!stream || !streams.isOpen(stream)) over.push(id);
    }
    return over;
  }

  /** @param {{id: string, commandType: string, payload?: any}} command */
  async #obey(command) {
    const known = command.commandType === 'start_stream';
    const answer = known
      ? { commandId: command.id, status: 'acknowledged' }
      : { commandId: command.id, status: 'rejected', error: 'This camera does not know that command.' };
    this.#gateway.ask('command:ack', answer).catch(() => {}); // the server delivers it again
    if (known && command.payload?.streamSessionId) await this.#accept(command.payload.streamSessionId);
  }

  /** @param {string} id */
  async #accept(id) {
    if (this.viewers.has(id) || this.#accepting.has(id)) return;
    this.#accepting.add(id);
    try {
      this.#add(await streams.accept(this.#tab, id));
    } catch {
      // The stream is over, or the answer was lost: ask what is true.
      const stream = await streams.get(this.#tab, id).catch(() => null);
      if (stream) this.#add(stream);
    } finally {
      this.#accepting.delete(id);
    }
  }

  /** @param {Stream} stream */
  #add(stream) {
    if (stream.status !== 'streaming' || this.#ended.has(stream.id) || this.#off.signal.aborted) return;
    this.viewers.set(stream.id, stream);
    this.#weigh();
  }

  /** @param {string} id */
  #noticeEnd(id) {
    this.#ended.add(id);
    if (this.#ended.size > MOST_ENDED) this.#ended.delete([...this.#ended][0]);
    this.#drop(id);
  }

  /** @param {string} id */
  #drop(id) {
    if (this.viewers.delete(id)) this.#weigh();
  }

  /** Decides whether to be live. */
  #weigh() {
    if (this.#off.signal.aborted) return;
    const wanted = this.viewers.size > 0 || this.#continuous;
    this.#publisher.want(wanted, this.viewers.keys());
    if (!wanted) this.#closeOwnSession();
    this.#record();
    this.#changed();
  }

  /** Keeps of the open streams what the server cannot, unless nothing of this camera is kept. */
  #record() {
    const kept = !this.#forwarded && this.#tab.device?.recordingPolicy !== 'off';
    if (this.source) this.#recorder.follow(kept ? this.viewers.keys() : [], this.source.stream);
  }

  /** @returns {Promise<streams.Credentials | null>} null when there is nothing to publish for */
  async #credentials() {
    if (this.#continuous) {
      try {
        const { mediaSession, credentials } = await streams.openMediaSession(this.#tab);
        this.#mediaSession = mediaSession.id;
        return credentials;
      } catch (err) {
        if (!(err instanceof ApiError) || err.code !== 'not_in_p2p') throw err;
        this.#forwarded = false;
      }
    }
    for (const id of [...this.viewers.keys()]) {
      try {
        const credentials = await streams.publishCredentials(this.#tab, id);
        this.#forwarded = credentials.protocol !== 'p2p';
        this.#record();
        return credentials;
      } catch (err) {
        if (!(err instanceof ApiError) || !OVER.includes(err.status)) throw err;
        this.#drop(id);
      }
    }
    this.#weigh();
    return null;
  }

  #closeOwnSession() {
    if (!this.#mediaSession) return;
    streams.closeMediaSession(this.#tab, this.#mediaSession).catch(() => {});
    this.#mediaSession = '';
  }

  /** Keeps the presence fresh and learns what was changed elsewhere. */
  async #heartbeat() {
    if (!this.#synced) this.#sync();
    const path = `/devices/${this.#tab.device?.id}/heartbeat`;
    const answer = await this.#tab.call('POST', path).catch(() => null);
    if (!answer?.device || this.#off.signal.aborted) return;
    this.#tab.update(answer.device);
    this.#recorder.offer();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}
