// Media from device to device, where the server forwards none (MEDIA_MODE=p2p).
// The viewer offers, the camera answers each viewer by a connection of its own,
// and the gateway's webrtc:signal carries what they tell each other. Here is the
// viewer's side, and what both have; the camera's is in party.js.

import { ApiError } from './api.js';
import { CAPTURE_TIME, takeExtensions } from './extensions.js';
import { Messages, openChannel } from './messages.js';
import { Steering } from './steering.js';
import { Talk } from './talk.js';
import { wordsFor } from './words.js';

/** @typedef {import('./gateway.js').Gateway} Gateway */
/** @typedef {import('./streams.js').Credentials} Credentials */
/**
 * What one device tells the other.
 * @typedef {object} Signal
 * @property {'offer' | 'answer' | 'candidate' | 'bye'} type
 * @property {string} connection the viewer's name for one try: what is left of
 *   an earlier one is known by it, and an offer that only comes again
 * @property {string} [sdp] of an offer or an answer
 * @property {RTCIceCandidateInit} [candidate]
 */

export const SIGNAL = 'webrtc:signal';
const REPEAT_MS = 5_000; // between two offers of one connection
const DISCONNECTED_MS = 5_000; // "disconnected" often heals by itself
export const MOST_CANDIDATES = 64; // of one call

/**
 * One RTCPeerConnection with the other device of a stream. Fires "state", and
 * "lost" once when it is gone for good; this.cause says why.
 */
export class Connection extends EventTarget {
  /** The sentence for "lost". */
  cause = '';
  #streamId;
  #everConnected = false;
  #closed = false;
  #patience = 0;
  /** @type {RTCIceCandidateInit[]} that came before the description they belong to */
  #early = [];

  /**
   * @param {Gateway} gateway
   * @param {string} streamId
   * @param {string} id
   * @param {RTCIceServer[]} iceServers
   */
  constructor(gateway, streamId, id, iceServers) {
    super();
    if (typeof RTCPeerConnection === 'undefined') {
      throw new ApiError(0, 'no_video_support', wordsFor('no_video_support'));
    }
    this.gateway = gateway;
    this.#streamId = streamId;
    this.id = id;
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    this.pc.onconnectionstatechange = () => this.#watch();
    this.pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) this.tell({ type: 'candidate', candidate: candidate.toJSON() }).catch(() => {});
    };
  }

  /** @returns {boolean} */
  get connected() {
    return this.pc.connectionState === 'connected';
  }

  /**
   * @param {Omit<Signal, 'connection'>} signal
   * @returns {Promise<{delivered: boolean}>}
   */
  tell(signal) {
    return this.gateway.ask(SIGNAL, { streamSessionId: this.#streamId, signal: { connection: this.id, ...signal } });
  }

  /**
   * @param {'offer' | 'answer'} type
   * @param {string} sdp
   */
  async take(type, sdp) {
    await this.pc.setRemoteDescription({ type, sdp });
    for (const candidate of this.#early.splice(0)) this.#add(candidate);
  }

  /**
   * Tells what this side has answered, if it has. The gateway may have gone away
   * with it: then the other device offers the same again.
   */
  async answer() {
    const { localDescription } = this.pc;
    if (localDescription?.type !== 'answer') return;
    await this.tell({ type: 'answer', sdp: localDescription.sdp }).catch((err) => { if (err.code) throw err; });
  }

  /** @param {RTCIceCandidateInit} [candidate] of the other device */
  candidate(candidate) {
    if (!candidate) return;
    if (this.pc.remoteDescription) this.#add(candidate);
    else if (this.#early.length < MOST_CANDIDATES) this.#early.push(candidate);
  }

  /** @param {RTCIceCandidateInit} candidate */
  #add(candidate) {
    this.pc.addIceCandidate(candidate).catch(() => {}); // one way less
  }

  /** The other device has ended it. */
  hangUp() {
    this.#lost('p2p_lost');
  }

  /** Ends it here and tells the other device. Safe to call twice. */
  close() {
    if (!this.#closed) this.tell({ type: 'bye' }).catch(() => {});
    this.#end();
  }

  #end() {
    this.#closed = true;
    clearTimeout(this.#patience);
    this.pc.onconnectionstatechange = null;
    this.pc.onicecandidate = null;
    this.pc.close();
  }

  #watch() {
    const state = this.pc.connectionState;
    clearTimeout(this.#patience);
    if (state === 'connected') this.#everConnected = true;
    const code = this.#everConnected ? 'p2p_lost' : 'p2p_failed';
    if (state === 'failed') this.#lost(code);
    else if (state === 'disconnected') this.#patience = setTimeout(() => this.#lost(code), DISCONNECTED_MS);
    this.dispatchEvent(new Event('state'));
  }

  /** @param {string} code */
  #lost(code) {
    if (this.#closed) return;
    this.cause = wordsFor(code);
    this.#end();
    this.dispatchEvent(new Event('lost'));
  }
}

/** The viewer's side: what a WHEP Peer is elsewhere. */
export class Caller extends Connection {
  #off = new AbortController();
  /** @type {(sdp: string) => void} */
  #answered = () => {};

  /**
   * @param {Gateway} gateway
   * @param {string} streamId
   * @param {RTCIceServer[]} iceServers
   */
  constructor(gateway, streamId, iceServers) {
    super(gateway, streamId, crypto.randomUUID(), iceServers);
    gateway.addEventListener(SIGNAL, (e) => {
      const { streamSessionId, signal } = /** @type {CustomEvent} */ (e).detail;
      if (streamSessionId === streamId) this.#hear(signal);
    }, { signal: this.#off.signal });
    this.addEventListener('lost', () => this.#off.abort());
  }

  /** @param {Signal} signal */
  #hear(signal) {
    if (!signal || (signal.connection && signal.connection !== this.id)) return;
    if (signal.type === 'answer') this.#answered(signal.sdp ?? '');
    else if (signal.type === 'bye') this.hangUp();
    else this.candidate(signal.candidate);
  }

  /**
   * Offers and applies the answer, however long the camera takes: a phone that
   * wakes up and a busy machine are slow, and who calls anew waits from the
   * beginning. On any failure nothing stays open.
   * @param {AbortSignal} signal ends the wait
   */
  async connect(signal) {
    try {
      signal.throwIfAborted();
      await Promise.race([this.#failure(signal), this.#offer()]);
    } catch (err) {
      this.close();
      throw err;
    }
  }

  async #offer() {
    const heard = new AbortController();
    const answer = new Promise((resolve) => {
      this.#answered = (sdp) => {
        heard.abort();
        resolve(sdp);
      };
    });
    await this.pc.setLocalDescription();
    await Promise.race([answer, this.#repeat(AbortSignal.any([heard.signal, this.#off.signal]))]);
    await this.take('answer', await answer);
  }

  /**
   * Says the same offer again and again: the camera may have been reloaded since,
   * or its answer may have been lost with a gateway that went away.
   * @param {AbortSignal} until
   */
  async #repeat(until) {
    let wake = () => {};
    this.gateway.addEventListener('ready', () => wake(), { signal: until });
    while (!until.aborted) {
      await this.#ring();
      await new Promise((resolve) => {
        wake = () => resolve(undefined);
        setTimeout(wake, REPEAT_MS);
      });
    }
  }

  async #ring() {
    try {
      const { delivered } = await this.tell({ type: 'offer', sdp: this.pc.localDescription?.sdp });
      if (!delivered) throw new ApiError(409, 'no_publisher', wordsFor('no_publisher'));
    } catch (err) {
      if (err instanceof ApiError) throw err;
      const { code, message } = /** @type {Error & {code?: string}} */ (err);
      if (code) throw new ApiError(0, code, wordsFor(code, message));
      // Without a word from the gateway nobody knows whether it has arrived.
    }
  }

  /**
   * What ends the wait for an answer. A connection that is closed meanwhile
   * settles none of its promises.
   * @param {AbortSignal} signal
   * @returns {Promise<never>}
   */
  #failure(signal) {
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { signal: this.#off.signal });
      this.addEventListener('lost', () => reject(new ApiError(0, 'p2p_lost', this.cause)));
    });
  }

  close() {
    this.#off.abort();
    super.close();
  }

  /** The camera sends one picture, as large as the way to here carries. */
  async prefer() {}

  /** @returns {Promise<import('./whep.js').Layer[]>} */
  async layers() {
    return [];
  }
}

/**
 * Asks the camera itself for its video and audio, as play in whep.js asks the
 * server.
 * @param {Gateway} gateway
 * @param {string} streamId
 * @param {Credentials} credentials
 * @param {AbortSignal} signal
 * @param {() => void} onWait called every few seconds in which nobody has answered
 * @returns {Promise<{peer: Caller, stream: MediaStream, talk: Talk, steering: Steering}>}
 */
export async function call(gateway, streamId, credentials, signal, onWait) {
  const peer = new Caller(gateway, streamId, credentials.iceServers);
  const stream = new MediaStream();
  peer.pc.ontrack = ({ track }) => stream.addTrack(track);
  takeExtensions(peer.pc.addTransceiver('video', { direction: 'recvonly' }), CAPTURE_TIME);
  const talk = new Talk(peer.pc.addTransceiver('audio', { direction: 'sendrecv' }));
  const steering = new Steering(new Messages(openChannel(peer.pc)));
  const waiting = setInterval(onWait, REPEAT_MS);
  await peer.connect(signal).finally(() => clearInterval(waiting));
  return { peer, stream, talk, steering };
}
