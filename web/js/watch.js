// One camera being watched by this tab, from the request to the end.

import { ApiError } from './api.js';
import { backoff, pause } from './backoff.js';
import { Health } from './health.js';
import { call } from './p2p.js';
import { Meter } from './stats.js';
import * as streams from './streams.js';
import { play } from './whep.js';
import { explain, wordsFor } from './words.js';

/** @typedef {import('./streams.js').Stream} Stream */
/** @typedef {import('./peer.js').Peer | import('./p2p.js').Caller} Peer */
/** @typedef {import('./stats.js').Reading} Reading */

const READ_MS = 500;
const POLL_MS = 2_000; // in case an event was missed
const WAKE_MS = 65_000; // the server gives up on a silent camera after 60 s
const HEAD_START_MS = 400; // what a woken camera needs to be publishing; asking sooner costs a whole Retry-After
const LAYERS_MS = 4_000; // how old the list of what the camera sends may be
const ENOUGH = 1.6; // a layer so much taller than its tile is taken rather than one that is much too small
const STILL_MS = 3_000; // no new frame for so long: say why
const STUCK_MS = 12_000; // and for so long: connect anew

/**
 * Fires "change" when the phase or the hint changed, "stream" with a new
 * MediaStream in this.stream, "reading" with fresh statistics, and "layers"
 * when there are other ones to choose among.
 */
export class Watch extends EventTarget {
  /** @type {'waking' | 'connecting' | 'live' | 'reconnecting' | 'ended' | 'failed'} */
  phase = 'waking';
  /** Why it ended or failed, in words. */
  reason = '';
  /** Why there is no picture right now, in words; "" when there is one. */
  hint = '';
  /** @type {MediaStream | null} */
  stream = null;
  /** @type {Reading | null} */
  reading = null;
  /** @type {import('./talk.js').Talk | null} this side's microphone, while connected */
  talk = null;
  /** @type {import('./steering.js').Steering | null} of the camera, while connected */
  steering = null;
  /** @type {Date | null} */
  liveSince = null;
  /** @type {import('./whep.js').Layer[]} that the camera sends, the least first */
  layers = [];
  /** The height that was chosen; 0 means as fits. */
  height = 0;

  #shown = 0;
  #asked = '';
  /** @type {Peer | null} that is being told: the server goes by what comes last */
  #telling = null;
  #tab;
  #gateway;
  /** @type {Stream | null} */
  #session = null;
  /** @type {Peer | null} */
  #peer = null;
  /** @type {Health | null} of what this.stream holds */
  #health = null;
  #off = new AbortController();

  /**
   * @param {import('./tab.js').Tab} tab
   * @param {import('./gateway.js').Gateway} gateway
   * @param {import('./devices.js').Device} camera
   */
  constructor(tab, gateway, camera) {
    super();
    this.#tab = tab;
    this.#gateway = gateway;
    this.camera = camera;
  }

  /** @returns {boolean} */
  get over() {
    return this.phase === 'ended' || this.phase === 'failed';
  }

  /** Runs until the stream is over; never throws. */
  async run() {
    const { signal } = this.#off;
    this.#gateway.addEventListener('stream:ended', (e) => this.#noticeEnd(/** @type {CustomEvent} */ (e).detail), { signal });
    window.addEventListener('pagehide', () => this.#leave(true), { signal });
    try {
      await this.#request();
      await this.#accepted();
      await this.#playOn();
    } catch (err) {
      if (!signal.aborted) this.#finish('failed', explain(err));
    }
  }

  /** Ends the stream on this viewer's wish. */
  end() {
    if (this.over) return;
    this.#leave(false);
    this.#finish('ended', '');
  }

  /**
   * Chooses a height for good, or 0 for what fits.
   * @param {number} height
   */
  choose(height) {
    this.height = height;
    this.#ask();
  }

  /**
   * Says how large the picture is shown, so that no larger one is sent.
   * @param {number} pixels of its shorter side
   */
  fit(pixels) {
    this.#shown = pixels;
    this.#ask();
  }

  /**
   * Plays this.stream.
   * @param {HTMLVideoElement} video
   */
  play(video) {
    if (video.srcObject !== this.stream) video.srcObject = this.stream;
    this.#health?.play(video);
  }

  /** @returns {import('./whep.js').Quality} */
  get #quality() {
    const chosen = this.layers.find((l) => l.height && Math.min(l.width, l.height) === this.height);
    if (this.height) return { maxHeight: this.height, ...(chosen?.rid ? { rid: chosen.rid } : {}) };
    return this.#shown ? { maxHeight: Math.round(this.#shown * ENOUGH) } : {};
  }

  /** Tells the server what is wanted, if that is something else than before. */
  async #ask() {
    const quality = this.#quality;
    const peer = this.#peer;
    if (!peer || this.#telling === peer || this.#asked === JSON.stringify(quality)) return;
    this.#telling = peer;
    this.#asked = JSON.stringify(quality);
    const told = await peer.prefer(quality).then(() => true, () => false);
    if (this.#telling !== peer) return; // this one is over
    this.#telling = null;
    if (!told) this.#asked = '';
    if (told || JSON.stringify(this.#quality) !== JSON.stringify(quality)) this.#ask(); // something else meanwhile
  }

  /** @param {Peer} peer */
  async #learnLayers(peer) {
    const layers = await peer.layers().catch(() => this.layers);
    if (peer !== this.#peer || JSON.stringify(layers.map(sizeOf)) === JSON.stringify(this.layers.map(sizeOf))) return;
    this.layers = layers;
    this.dispatchEvent(new Event('layers'));
  }

  async #request() {
    try {
      this.#session = await streams.request(this.#tab, this.camera.id);
    } catch (err) {
      if (!(err instanceof ApiError) || err.status !== 409) throw err;
      // This tab already has a stream with that camera (a reload was faster
      // than its goodbye): take it up again.
      const mine = (await streams.openStreams(this.#tab)).find((s) => s.cameraDeviceId === this.camera.id
        && s.requesterDeviceId === this.#tab.device?.id);
      if (!mine) throw err;
      this.#session = mine;
    }
    if (this.#off.signal.aborted) this.#leave(false);
  }

  /** Waits until the camera has accepted. */
  async #accepted() {
    const { signal } = this.#off;
    const wake = new AbortController();
    this.#gateway.addEventListener('stream:started', (e) => {
      const stream = /** @type {CustomEvent} */ (e).detail;
      if (stream.id !== this.#id) return;
      this.#session = stream;
      wake.abort();
    }, { signal });
    const woken = this.#session?.status === 'requested';
    const until = performance.now() + WAKE_MS;
    while (this.#session?.status === 'requested') {
      if (performance.now() > until) throw new Error(wordsFor('camera_unavailable'));
      await pause(POLL_MS, AbortSignal.any([signal, wake.signal])).catch(() => {});
      signal.throwIfAborted();
      if (this.#session.status === 'requested') this.#session = await streams.get(this.#tab, this.#id, signal);
    }
    this.#checkOpen();
    if (woken) await pause(HEAD_START_MS, signal);
  }

  /** Plays, and plays again after each loss, until the stream is over. */
  async #playOn() {
    const { signal } = this.#off;
    for (let tries = 0; ; tries++) {
      this.#set(this.liveSince ? 'reconnecting' : 'connecting');
      let wait;
      try {
        await this.#playOnce(() => { tries = 0; });
        wait = backoff(tries);
      } catch (err) {
        signal.throwIfAborted();
        wait = this.#setback(err, tries);
      }
      this.#dropPeer();
      await pause(wait, signal);
      await this.#refresh();
    }
  }

  /**
   * Decides whether to go on after a failed try.
   * @param {unknown} err
   * @param {number} tries
   * @returns {number} milliseconds to wait
   */
  #setback(err, tries) {
    if (!(err instanceof ApiError)) throw err;
    const notYet = err.status === 409;
    // 401, 403, 404: the stream may just have ended; #refresh tells, once.
    const unsure = [401, 403, 404].includes(err.status) && tries < 2;
    if (!notYet && !unsure && !err.passing) throw err;
    if (tries > 1) this.#hint(notYet ? wordsFor('no_publisher') : err.message);
    return err.retryAfter ? Math.min(err.retryAfter * 1000, 10_000) : backoff(tries);
  }

  /**
   * Returns when the connection is lost or stuck.
   * @param {() => void} onLive
   */
  async #playOnce(onLive) {
    const { signal } = this.#off;
    const credentials = await streams.subscribeCredentials(this.#tab, this.#id, signal);
    this.#asked = JSON.stringify(this.#quality);
    const health = new Health(this.#tab, this.#id);
    const { peer, stream, talk, steering } = credentials.protocol === 'p2p'
      ? await call(this.#gateway, this.#id, credentials, signal)
      : await play(credentials, signal, this.#quality);
    if (signal.aborted) return peer.close();
    this.#peer = peer;
    this.talk = talk;
    this.steering = steering;
    for (const part of [talk, steering]) part.addEventListener('change', () => this.dispatchEvent(new Event('change')));
    this.#ask();
    let learned = -Infinity;
    this.stream = stream;
    this.#health = health;
    this.dispatchEvent(new Event('stream'));
    let lost = false;
    peer.addEventListener('lost', () => { lost = true; });
    const meter = new Meter(peer.pc);
    let frames = 0;
    let bytes = 0;
    let grew = performance.now();
    while (!lost) {
      await pause(READ_MS, signal);
      const reading = await meter.read().catch(() => null);
      signal.throwIfAborted();
      if (!reading || lost) break;
      this.#report(reading);
      health.note(peer.pc, reading);
      const still = performance.now() - grew;
      if (health.blocked) {
        grew = performance.now();
        this.#hint(wordsFor('playback_blocked'));
      } else if (reading.frames > frames) {
        grew = performance.now();
        onLive();
        this.#live();
        if (grew - learned > LAYERS_MS) {
          learned = grew;
          this.#learnLayers(peer);
        }
      } else if (document.hidden) {
        grew = performance.now(); // browsers may stop decoding for nobody
      } else if (still > STUCK_MS) {
        return undefined;
      } else if (still > STILL_MS) {
        this.#hint(health.why() || whyNoPicture(peer.pc, reading, reading.bytes > bytes));
      }
      frames = reading.frames;
      bytes = reading.bytes;
    }
    if (peer.cause) this.#hint(peer.cause);
    return undefined;
  }

  /** Learns whether the stream still is one; throws the reason when it is not. */
  async #refresh() {
    try {
      this.#session = await streams.get(this.#tab, this.#id, this.#off.signal);
    } catch (err) {
      this.#off.signal.throwIfAborted();
      if (!(err instanceof ApiError) || !err.passing) throw err;
    }
    this.#checkOpen();
  }

  #checkOpen() {
    if (this.#session && !streams.isOpen(this.#session)) this.#noticeEnd(this.#session);
    this.#off.signal.throwIfAborted();
  }

  /** @param {Stream} stream */
  #noticeEnd(stream) {
    if (stream.id !== this.#id || this.over) return;
    const failed = stream.status === 'failed';
    this.#finish(failed ? 'failed' : 'ended', wordsFor(stream.reason ?? '', 'The stream is over.'));
  }

  /** @param {boolean} keepalive the page is going away */
  #leave(keepalive) {
    this.#peer?.close(keepalive);
    if (this.#session && streams.isOpen(this.#session)) streams.end(this.#tab, this.#id, keepalive).catch(() => {});
  }

  /**
   * @param {'ended' | 'failed'} phase
   * @param {string} reason
   */
  #finish(phase, reason) {
    if (this.over) return;
    this.#dropPeer();
    this.reason = reason;
    this.hint = '';
    this.#set(phase);
    this.#off.abort();
  }

  #live() {
    this.liveSince ??= new Date();
    if (this.phase === 'live' && !this.hint) return;
    this.hint = '';
    this.#set('live');
  }

  /** @param {Reading} reading */
  #report(reading) {
    this.reading = reading;
    this.dispatchEvent(new Event('reading'));
  }

  /** @param {string} hint */
  #hint(hint) {
    if (hint === this.hint) return;
    this.hint = hint;
    this.dispatchEvent(new Event('change'));
  }

  #dropPeer() {
    this.talk?.stop();
    this.talk = null;
    this.steering = null;
    this.#peer?.close();
    this.#peer = null;
    this.reading = null;
  }

  /** @param {Watch['phase']} phase */
  #set(phase) {
    this.phase = phase;
    this.dispatchEvent(new Event('change'));
  }

  /** @returns {string} */
  get #id() {
    return this.#session?.id ?? '';
  }
}

/** @param {import('./whep.js').Layer} layer */
const sizeOf = ({ width, height, active }) => [width, height, active];

/**
 * @param {RTCPeerConnection} pc
 * @param {Reading} reading
 * @param {boolean} flowing video bytes still arrive
 * @returns {string}
 */
function whyNoPicture(pc, reading, flowing) {
  if (pc.connectionState === 'new' || pc.connectionState === 'connecting') {
    return 'No way through the network found so far. A firewall may block UDP.';
  }
  if (pc.connectionState !== 'connected') return 'The connection to the server is interrupted.';
  if (flowing && reading.lost > 0.1) return 'The network loses too many packets. It goes on with the next full picture.';
  if (flowing) return 'Video arrives, but no full picture so far. Waiting for the next one.';
  if (reading.audioBytes > 0 && reading.bytes === 0) return 'The camera sends only sound. Its picture may be turned off.';
  return 'The camera sends nothing right now. It may be asleep or have lost its network.';
}
