// Media from device to device, where the server forwards none (MEDIA_MODE=p2p).
// The viewer offers, the camera answers each viewer by a connection of its own,
// and the gateway's webrtc:signal carries what they tell each other.

import { ApiError } from './api.js';
import { CAPTURE_TIME, takeExtensions } from './extensions.js';
import { Messages, openChannel } from './messages.js';
import { Steering } from './steering.js';
import { Talk } from './talk.js';
import { startFast } from './whip.js';
import { wordsFor } from './words.js';

/** @typedef {import('./gateway.js').Gateway} Gateway */
/** @typedef {import('./streams.js').Credentials} Credentials */
/**
 * What one device tells the other.
 * @typedef {object} Signal
 * @property {'offer' | 'answer' | 'candidate' | 'bye'} type
 * @property {string} connection the viewer's name for one try: what is left of
 *   an earlier one is known by it
 * @property {string} [sdp] of an offer or an answer
 * @property {RTCIceCandidateInit} [candidate]
 */
/** @typedef {{offer: Signal, candidates: Signal[]}} Call */

const SIGNAL = 'webrtc:signal';
const ANSWER_MS = 10_000;
const DISCONNECTED_MS = 5_000; // "disconnected" often heals by itself
const MOST_CALLS = 64; // that wait for a camera which is getting ready
const MOST_CANDIDATES = 64; // of one call
const MAX_BITS_PER_SECOND = 2_500_000;
const SPARE_MS = 60_000; // that a TURN server's secret must still be good for

/**
 * One RTCPeerConnection with the other device of a stream. Fires "state", and
 * "lost" once when it is gone for good; this.cause says why.
 */
class Connection extends EventTarget {
  /** The sentence for "lost". */
  cause = '';
  #gateway;
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
    this.#gateway = gateway;
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
    return this.#gateway.ask(SIGNAL, { streamSessionId: this.#streamId, signal: { connection: this.id, ...signal } });
  }

  /**
   * @param {'offer' | 'answer'} type
   * @param {string} sdp
   */
  async take(type, sdp) {
    await this.pc.setRemoteDescription({ type, sdp });
    for (const candidate of this.#early.splice(0)) this.#add(candidate);
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
   * Offers and applies the answer. On any failure nothing stays open.
   * @param {AbortSignal} signal
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
    const answer = new Promise((resolve) => { this.#answered = resolve; });
    await this.pc.setLocalDescription();
    const sdp = this.pc.localDescription?.sdp;
    const { delivered } = await this.tell({ type: 'offer', sdp }).catch((err) => {
      throw new ApiError(0, err.code ?? 'network', wordsFor('network'));
    });
    if (!delivered) throw new ApiError(409, 'no_publisher', wordsFor('no_publisher'));
    await this.take('answer', await answer);
  }

  /**
   * What ends the wait for an answer. A connection that is closed meanwhile
   * settles none of its promises.
   * @param {AbortSignal} signal
   * @returns {Promise<never>}
   */
  #failure(signal) {
    return new Promise((_, reject) => {
      const limit = AbortSignal.timeout(ANSWER_MS);
      limit.onabort = () => reject(new ApiError(0, 'timeout', wordsFor('camera_unavailable')));
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
 * @returns {Promise<{peer: Caller, stream: MediaStream, talk: Talk, steering: Steering}>}
 */
export async function call(gateway, streamId, credentials, signal) {
  const peer = new Caller(gateway, streamId, credentials.iceServers);
  const stream = new MediaStream();
  peer.pc.ontrack = ({ track }) => stream.addTrack(track);
  takeExtensions(peer.pc.addTransceiver('video', { direction: 'recvonly' }), CAPTURE_TIME);
  const talk = new Talk(peer.pc.addTransceiver('audio', { direction: 'sendrecv' }));
  const steering = new Steering(new Messages(openChannel(peer.pc)));
  await peer.connect(signal);
  return { peer, stream, talk, steering };
}

/**
 * A camera's line: viewers call as soon as their stream has begun, which may be
 * before the camera knows of it or is ready to answer. Then their calls wait
 * here.
 */
export class Line {
  /** @type {Map<string, Call>} by stream, the oldest first */
  #waiting = new Map();
  /** @type {Set<string>} */
  #admitted = new Set();
  /** @type {Party | null} */
  #party = null;

  /**
   * @param {Gateway} gateway
   * @param {AbortSignal} signal ends it
   */
  constructor(gateway, signal) {
    this.gateway = gateway;
    gateway.addEventListener(SIGNAL, (e) => {
      const { streamSessionId, signal: said } = /** @type {CustomEvent} */ (e).detail;
      if (said) this.#hear(streamSessionId, said);
    }, { signal });
    gateway.addEventListener('stream:ended', (e) => this.#waiting.delete(/** @type {CustomEvent} */ (e).detail.id), { signal });
  }

  /** @param {Iterable<string>} streamIds whose viewers are answered; no other stays connected */
  admit(streamIds) {
    this.#admitted = new Set(streamIds);
    this.#party?.keep(this.#admitted);
    this.#putThrough();
  }

  /** @param {Party | null} party gets what viewers say and have said */
  pickUp(party) {
    this.#party = party;
    this.#putThrough();
  }

  #putThrough() {
    if (!this.#party) return;
    for (const [streamId, { offer, candidates }] of this.#waiting) {
      if (!this.#admitted.has(streamId)) continue;
      this.#waiting.delete(streamId);
      for (const signal of [offer, ...candidates]) this.#party.hear(streamId, signal);
    }
  }

  /**
   * @param {string} streamId
   * @param {Signal} signal
   */
  #hear(streamId, signal) {
    if (this.#party && this.#admitted.has(streamId)) {
      this.#party.hear(streamId, signal);
    } else if (signal.type === 'offer') {
      this.#waiting.delete(streamId);
      this.#waiting.set(streamId, { offer: signal, candidates: [] });
      if (this.#waiting.size > MOST_CALLS) this.#waiting.delete([...this.#waiting.keys()][0]);
    } else if (signal.type === 'bye') {
      if (this.#waiting.get(streamId)?.offer.connection === signal.connection) this.#waiting.delete(streamId);
    } else {
      const call = this.#waiting.get(streamId);
      if (call && call.candidates.length < MOST_CANDIDATES) call.candidates.push(signal);
    }
  }
}

/**
 * The camera's side: a connection for each viewer, and for a Publisher what a
 * WHIP Peer is elsewhere. Fires "state".
 */
export class Party extends EventTarget {
  #line;
  #credentials;
  #renew;
  #stream;
  #onVoice;
  #onLine;
  /** @type {Map<string, Connection>} by stream */
  #viewers = new Map();

  /**
   * @param {Line} line
   * @param {Credentials} credentials
   * @param {() => Promise<Credentials | null>} renew null: nobody watches any more
   * @param {MediaStream} stream
   * @param {(voice: MediaStream) => void} onVoice gets what a viewer says
   * @param {(line: Messages) => void} onLine gets a viewer's line
   */
  constructor(line, credentials, renew, stream, onVoice, onLine) {
    super();
    this.#line = line;
    this.#credentials = credentials;
    this.#renew = renew;
    this.#stream = stream;
    this.#onVoice = onVoice;
    this.#onLine = onLine;
    line.pickUp(this);
  }

  /** @returns {boolean} somebody is connected */
  get connected() {
    return this.#open.some((viewer) => viewer.connected);
  }

  /** @returns {Connection[]} */
  get #open() {
    return [...this.#viewers.values()];
  }

  /** @returns {Promise<Map<string, any>>} of all viewers together, as getStats of one connection */
  async getStats() {
    const all = new Map();
    for (const [n, { pc }] of this.#open.filter((viewer) => viewer.connected).entries()) {
      const named = (/** @type {string | undefined} */ id) => id && `${n} ${id}`;
      for (const s of (await pc.getStats()).values()) {
        all.set(`${n} ${s.id}`, {
          ...s, codecId: named(s.codecId), localCandidateId: named(s.localCandidateId), selectedCandidatePairId: named(s.selectedCandidatePairId),
        });
      }
    }
    return all;
  }

  /**
   * Swaps the tracks of every connection, without a new negotiation.
   * @param {MediaStream} stream
   * @returns {Promise<boolean>} false when viewers have to call anew
   */
  async replace(stream) {
    const kinds = (/** @type {MediaStream} */ s) => s.getTracks().map((track) => track.kind).sort().join();
    if (kinds(stream) !== kinds(this.#stream)) return false;
    this.#stream = stream;
    await Promise.all(this.#open.flatMap(({ pc }) => stream.getTracks().map((track) => (
      pc.getSenders().find((s) => s.track?.kind === track.kind)?.replaceTrack(track)
    ))));
    return true;
  }

  /** Hangs up on everybody; who still has a stream calls again. */
  close() {
    this.#line.pickUp(null);
    for (const viewer of this.#open) viewer.close();
    this.#viewers.clear();
  }

  /** @param {Set<string>} streamIds the only ones that are open */
  keep(streamIds) {
    for (const id of this.#viewers.keys()) if (!streamIds.has(id)) this.#drop(id);
  }

  /**
   * @param {string} streamId
   * @param {Signal} signal of its viewer
   */
  hear(streamId, signal) {
    if (signal.type === 'offer') {
      this.#answer(streamId, signal);
      return;
    }
    const viewer = this.#viewers.get(streamId);
    if (!viewer || (signal.connection && signal.connection !== viewer.id)) return;
    if (signal.type === 'bye') viewer.hangUp();
    else viewer.candidate(signal.candidate);
  }

  /**
   * @param {string} streamId
   * @param {Signal} offer
   */
  async #answer(streamId, offer) {
    this.#drop(streamId);
    const viewer = new Connection(this.#line.gateway, streamId, offer.connection, []);
    this.#viewers.set(streamId, viewer);
    viewer.addEventListener('state', () => this.dispatchEvent(new Event('state')));
    viewer.addEventListener('lost', () => {
      if (this.#viewers.get(streamId) === viewer) this.#viewers.delete(streamId);
      this.dispatchEvent(new Event('state'));
    });
    viewer.pc.ontrack = ({ track }) => { if (track.kind === 'audio') this.#onVoice(new MediaStream([track])); };
    viewer.pc.ondatachannel = ({ channel }) => this.#onLine(new Messages(channel));
    try {
      await viewer.take('offer', startFast(offer.sdp ?? ''));
      for (const transceiver of viewer.pc.getTransceivers()) await this.#send(transceiver);
      viewer.pc.setConfiguration({ ...viewer.pc.getConfiguration(), iceServers: await this.#iceServers() });
      await viewer.pc.setLocalDescription();
      await viewer.tell({ type: 'answer', sdp: viewer.pc.localDescription?.sdp });
    } catch {
      viewer.close(); // it calls again
      if (this.#viewers.get(streamId) === viewer) this.#viewers.delete(streamId);
    }
  }

  /** @returns {Promise<RTCIceServer[]>} with secrets that are still good */
  async #iceServers() {
    if (Date.parse(this.#credentials.expiresAt) - Date.now() < SPARE_MS) {
      const fresh = await this.#renew();
      if (!fresh) throw new Error('Nobody watches any more.');
      this.#credentials = fresh;
    }
    return this.#credentials.iceServers;
  }

  /** @param {RTCRtpTransceiver} transceiver that a viewer has offered */
  async #send(transceiver) {
    const { sender, receiver } = transceiver;
    const track = this.#stream.getTracks().find((t) => t.kind === receiver.track.kind);
    const heard = receiver.track.kind === 'audio';
    if (!track) {
      transceiver.direction = heard ? 'recvonly' : 'inactive';
      return;
    }
    transceiver.direction = heard ? 'sendrecv' : 'sendonly'; // the offer takes away what it did not ask for
    await sender.replaceTrack(track);
    if (heard) return;
    takeExtensions(transceiver, CAPTURE_TIME);
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings ?? []) encoding.maxBitrate = MAX_BITS_PER_SECOND;
    // @ts-ignore: not yet in every browser's types
    parameters.degradationPreference = 'balanced';
    await sender.setParameters(parameters).catch(() => {}); // a hint; not every browser knows it
  }

  /** @param {string} streamId */
  #drop(streamId) {
    this.#viewers.get(streamId)?.close();
    this.#viewers.delete(streamId);
  }
}
