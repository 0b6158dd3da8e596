// Keeps a camera's one publication up for as long as it is wanted: connects,
// notices losses, comes back with growing pauses. Where the server forwards no
// media, the publication is a Party of viewers.

import { backoff } from './backoff.js';
import { Line, Party } from './party.js';
import { Meter } from './stats.js';
import { publish, replaceTracks } from './whip.js';
import { explain } from './words.js';

/** @typedef {import('./peer.js').Peer} Peer */
/** @typedef {import('./streams.js').Credentials} Credentials */

const READ_MS = 1_000;

/**
 * Fires "change" when phase or problem changed and "reading" with fresh
 * statistics each second while live.
 */
export class Publisher extends EventTarget {
  /** @type {'idle' | 'connecting' | 'live' | 'reconnecting'} */
  phase = 'idle';
  /** What stands in the way, in words; "" when nothing does. */
  problem = '';
  /** @type {import('./stats.js').Reading | null} */
  reading = null;
  /** @type {Date | null} */
  liveSince = null;

  #getCredentials;
  #onVoice;
  #onLine;
  #line;
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {Peer | Party | null} */
  #peer = null;
  /** @type {Meter | null} */
  #meter = null;
  #wanted = false;
  #running = false;
  #again = false;
  #tries = 0;
  #retry = 0;
  #timer = 0;
  #off = new AbortController();

  /**
   * @param {() => Promise<Credentials | null>} getCredentials null: there is
   *   nothing to publish for any more
   * @param {(voice: MediaStream) => void} onVoice gets what viewers say
   * @param {(line: import('./messages.js').Messages) => void} onLine gets each line to viewers
   * @param {import('./gateway.js').Gateway} gateway by which viewers call
   */
  constructor(getCredentials, onVoice, onLine, gateway) {
    super();
    this.#getCredentials = getCredentials;
    this.#onVoice = onVoice;
    this.#onLine = onLine;
    const { signal } = this.#off;
    this.#line = new Line(gateway, signal);
    window.addEventListener('online', () => this.#now(), { signal });
    window.addEventListener('pagehide', () => this.#peer?.close(true), { signal });
    this.#timer = setInterval(() => this.#read(), READ_MS);
  }

  stop() {
    this.#off.abort();
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    this.#drop();
  }

  /**
   * @param {boolean} wanted
   * @param {Iterable<string>} streamIds the open streams: with no other's
   *   viewer does this tab exchange media by itself
   */
  want(wanted, streamIds) {
    this.#line.admit(streamIds);
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#now();
  }

  /**
   * Changes what is published, without a new connection where possible.
   * @param {MediaStream} stream
   */
  async use(stream) {
    this.#stream = stream;
    const peer = this.#peer;
    const done = peer instanceof Party ? await peer.replace(stream) : !peer || await replaceTracks(peer, stream);
    if (!done) this.#drop();
    this.#kick();
  }

  #now() {
    this.#tries = 0;
    this.#kick();
  }

  /** Runs #step until nothing is left to do; never twice at the same time. */
  async #kick() {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    while (this.#again && !this.#off.signal.aborted) {
      this.#again = false;
      await this.#step();
    }
    this.#running = false;
  }

  async #step() {
    clearTimeout(this.#retry);
    if (!this.#wanted) {
      this.#drop();
      this.liveSince = null;
      this.problem = '';
      this.#set('idle');
      return;
    }
    if (this.#peer || !this.#stream) return;
    this.#set(this.liveSince ? 'reconnecting' : 'connecting');
    try {
      await this.#publish(this.#stream);
    } catch (err) {
      this.#failed(err);
    }
  }

  /** @param {MediaStream} stream */
  async #publish(stream) {
    const credentials = await this.#getCredentials();
    if (!credentials) return;
    const peer = credentials.protocol === 'p2p'
      ? new Party(this.#line, credentials, this.#getCredentials, stream, this.#onVoice, this.#onLine)
      : await publish(credentials, stream, this.#off.signal, this.#onVoice, this.#onLine);
    if (this.#off.signal.aborted || !this.#wanted || stream !== this.#stream) { // it changed meanwhile
      peer.close();
      this.#again = true;
      return;
    }
    this.#peer = peer;
    this.#meter = new Meter(peer);
    peer.addEventListener('state', () => this.#weigh(peer));
    peer.addEventListener('lost', () => {
      if (peer !== this.#peer) return;
      this.#drop();
      this.#failed(new Error(/** @type {Peer} */ (peer).cause));
    });
    this.#weigh(peer);
  }

  /** @param {Peer | Party} peer */
  #weigh(peer) {
    if (peer !== this.#peer) return;
    if (!peer.connected) { // a Peer says when it is lost; the viewers of a Party call again
      if (peer instanceof Party && this.phase === 'live') this.#set('reconnecting');
      return;
    }
    this.#tries = 0;
    this.problem = '';
    this.liveSince ??= new Date();
    this.#set('live');
  }

  /** @param {unknown} err */
  #failed(err) {
    if (this.#off.signal.aborted) return;
    // The first retry is quick and usually works: not worth a word.
    if (this.#tries > 0) this.problem = explain(err);
    this.#set(this.liveSince ? 'reconnecting' : 'connecting');
    this.#retry = setTimeout(() => this.#kick(), backoff(this.#tries++));
  }

  #drop() {
    this.#peer?.close();
    this.#peer = null;
    this.#meter = null;
    this.reading = null;
  }

  async #read() {
    const meter = this.#meter;
    const reading = await meter?.read().catch(() => null);
    if (!reading || meter !== this.#meter) return;
    this.reading = reading;
    this.dispatchEvent(new Event('reading'));
  }

  /** @param {Publisher['phase']} phase */
  #set(phase) {
    this.phase = phase;
    this.dispatchEvent(new Event('change'));
  }
}
