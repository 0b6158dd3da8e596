// One camera being watched by this tab, from the request to the end.

import { ApiError } from './api.js';
import { backoff, pause } from './backoff.js';
import { Health } from './health.js';
import { Latest } from './latest.js';
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
const SLOW_MS = 6_000; // a camera that takes longer to accept is worth a word
const HEAD_START_MS = 400; // what a woken camera needs to be publishing; asking sooner costs a whole Retry-After
const LAYERS_MS = 4_000; // how old the list of what the camera sends may be
const ENOUGH = 1.6; // a layer so much taller than its tile is taken rather than one that is much too small
const STILL_MS = 3_000; // no new frame for so long: say why
const STUCK_MS = 12_000; // and for so long: connect anew, with twice the patience
const MOST_STUCK_MS = 96_000; // a busy machine might need longer each time than it was given

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
  #asked = ''; // what the server has said yes to
  #learned = new Latest(); // of the layers
  /** @type {Peer | null} that is being told: the server goes by what comes last */
  #telling = null;
  #tab;
  #gateway;
  /** @type {Stream | null} */
  #session = null;
  /** @type {Stream | null} told of before the server has answered which one is this one's */
  #early = null;
  /** This stream was there already: this tab may have said goodbye to it. */
  #takenUp = false;
  #accepts = new AbortController(); // aborted when the camera has accepted
  #patience = STUCK_MS;
  /** @type {Peer | null} */
  #peer = null;
  /** @type {Health | null} of what this.stream holds */
  #health = null;
  #off = new AbortController();
  #round = new AbortController(); // of the present stream

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
    const listen = (/** @type {string} */ name, /** @type {(data: any) => void} */ handler) => (
      this.#gateway.addEventListener(name, (e) => handler(/** @type {CustomEvent} */ (e).detail), { signal })
    );
    for (const name of ['stream:started', 'stream:ended']) listen(name, (stream) => this.#hear(stream));
    listen('ready', ({ resumed }) => { if (!resumed) this.#check(); });
    window.addEventListener('pagehide', () => this.#leave(true), { signal });
    while (!this.over) {
      this.#round = new AbortController();
      try {
        const woken = await this.#request();
        await this.#accepted();
        if (woken) await pause(HEAD_START_MS, this.#round.signal);
        await this.#playOn();
      } catch (err) {
        if (!this.#round.signal.aborted) this.#finish('failed', explain(err));
      }
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

  /** Tells the server what is wanted, until it has heard it or that is what it knows. */
  async #ask() {
    const peer = this.#peer;
    if (!peer || this.#telling === peer) return;
    this.#telling = peer;
    for (let tries = 0; peer === this.#peer;) {
      const wanted = this.#quality;
      if (this.#asked === JSON.stringify(wanted)) break;
      this.#asked = ''; // a question that fails may have been heard
      try {
        await peer.prefer(wanted);
        if (peer === this.#peer) this.#asked = JSON.stringify(wanted);
        tries = 0;
      } catch (err) {
        if (!(err instanceof ApiError) || !err.passing) break; // the connection is over, or what is wanted is not known there
        await pause(backoff(tries++));
      }
    }
    if (this.#telling === peer) this.#telling = null;
  }

  /** @param {Peer} peer */
  async #learnLayers(peer) {
    const due = this.#learned.ask();
    const layers = await peer.layers().catch(() => null);
    if (!layers || peer !== this.#peer || !due() || JSON.stringify(layers.map(choiceOf)) === JSON.stringify(this.layers.map(choiceOf))) return;
    this.layers = layers;
    this.dispatchEvent(new Event('layers'));
    this.#ask(); // the height that was chosen may have another name now
  }

  /** @returns {Promise<boolean>} whether the camera has to be woken */
  async #request() {
    this.#session = this.#early = null;
    this.#takenUp = false;
    this.#accepts = new AbortController();
    /** @type {Stream} */
    let stream;
    try {
      stream = await streams.request(this.#tab, this.camera.id);
    } catch (err) {
      if (!(err instanceof ApiError) || err.status !== 409) throw err;
      // This tab already has a stream with that camera (a reload was faster
      // than its goodbye): take it up again.
      this.#round.signal.throwIfAborted();
      const mine = (await streams.openStreams(this.#tab)).find((s) => this.#isMine(s));
      if (!mine) throw err;
      stream = mine;
      this.#takenUp = true;
    }
    this.#session = stream;
    if (!this.over && this.#early) this.#hear(this.#early);
    // Who was left meanwhile says goodbye to what it has begun itself: another
    // that it finds may be that of a later watch.
    if (this.over && !this.#takenUp) this.#leave(false);
    this.#round.signal.throwIfAborted();
    return stageOf(stream) === 0;
  }

  /** Waits until the camera has accepted. */
  async #accepted() {
    const { signal } = this.#round;
    const until = AbortSignal.any([signal, this.#accepts.signal]);
    const slow = setInterval(() => this.#hint(this.#whyNoAnswer()), SLOW_MS);
    try {
      while (this.#session?.status === 'requested') { // the server gives up after a while
        await pause(POLL_MS, until).catch(() => {});
        signal.throwIfAborted();
        if (!until.aborted) await this.#refresh(until);
      }
    } finally {
      clearInterval(slow);
    }
    this.#hint('');
  }

  /** @returns {string} */
  #whyNoAnswer() {
    if (this.#gateway.state === 'online') return wordsFor('camera_slow');
    return wordsFor(navigator.onLine ? 'network' : 'no_network');
  }

  /** Plays, and plays again after each loss, until the stream is over. */
  async #playOn() {
    const { signal } = this.#round;
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
    const { signal } = this.#round;
    const credentials = await streams.subscribeCredentials(this.#tab, this.#id, signal);
    const { maxHeight } = this.#quality; // a layer by its name is asked for once it is there
    const begun = maxHeight ? { maxHeight } : {};
    this.#asked = JSON.stringify(begun);
    const health = new Health(this.#tab, this.#id);
    const { peer, stream, talk, steering } = credentials.protocol === 'p2p'
      ? await this.#call(credentials)
      : await play(credentials, signal, begun);
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
        this.#patience = STUCK_MS;
        health.well();
        onLive();
        this.#live();
        if (grew - learned > LAYERS_MS) {
          learned = grew;
          this.#learnLayers(peer);
        }
      } else if (document.hidden) {
        grew = performance.now(); // browsers may stop decoding for nobody
      } else if (still > this.#patience) {
        this.#patience = Math.min(2 * this.#patience, MOST_STUCK_MS);
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

  /** @param {streams.Credentials} credentials of a stream that goes from device to device */
  async #call(credentials) {
    let waited = false;
    const answer = await call(this.#gateway, this.#id, credentials, this.#round.signal, () => {
      waited = true;
      this.#hint(this.#whyNoAnswer());
      this.#check();
    });
    if (waited) this.#hint('');
    return answer;
  }

  /**
   * Learns whether the stream still is one; throws the reason when it is not.
   * @param {AbortSignal} [until] ends the wait for the answer
   */
  async #refresh(until = this.#round.signal) {
    const round = this.#round.signal;
    try {
      const stream = await streams.get(this.#tab, this.#id, until);
      if (!round.aborted) this.#hear(stream);
    } catch (err) {
      round.throwIfAborted();
      if (!until.aborted && (!(err instanceof ApiError) || !err.passing)) throw err;
    }
    round.throwIfAborted();
  }

  /** Looks by the way whether the stream is over: an event may have been missed. */
  async #check() {
    const { signal } = this.#round;
    if (!this.#session) return;
    await this.#refresh().catch((err) => { if (!signal.aborted) this.#finish('failed', explain(err)); });
  }

  /** @param {Stream} stream */
  #isMine({ cameraDeviceId, requesterDeviceId }) {
    return cameraDeviceId === this.camera.id && requesterDeviceId === this.#tab.device?.id;
  }

  /**
   * Takes what the server says of a stream, which may be older than what it has
   * said before: a stream is requested, then goes on, then is over.
   * @param {Stream} stream
   */
  #hear(stream) {
    if (this.over) return;
    if (!this.#session) {
      if (this.#isMine(stream)) this.#early = stream;
      return;
    }
    if (stream.id !== this.#id || stageOf(stream) <= stageOf(this.#session)) return;
    this.#session = stream;
    if (streams.isOpen(stream)) this.#accepts.abort();
    else if (this.#takenUp && stream.reason === 'ended_by_viewer') this.#anew();
    else this.#finish(stream.status === 'failed' ? 'failed' : 'ended', wordsFor(stream.reason ?? '', 'The stream is over.'));
  }

  /** This tab's own goodbye was late, from before it came back: asks for another stream. */
  #anew() {
    this.#dropPeer();
    this.#set(this.liveSince ? 'reconnecting' : 'waking');
    this.#round.abort();
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
    this.#round.abort();
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
const choiceOf = ({ rid, width, height, active }) => [rid, width, height, active];

/** @param {Stream} stream */
const stageOf = (stream) => (stream.status === 'requested' ? 0 : streams.isOpen(stream) ? 1 : 2);

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
