// The camera's side of media from device to device (p2p.js): each viewer is
// answered by a connection of its own.

import { CAPTURE_TIME, takeExtensions } from './extensions.js';
import { Messages } from './messages.js';
import { Connection, MOST_CANDIDATES, SIGNAL } from './p2p.js';
import { startFast } from './whip.js';

/** @typedef {import('./gateway.js').Gateway} Gateway */
/** @typedef {import('./p2p.js').Signal} Signal */
/** @typedef {import('./streams.js').Credentials} Credentials */
/** @typedef {{offer: Signal, candidates: Signal[]}} Call */

const MOST_CALLS = 64; // that wait for a camera which is getting ready
const MAX_BITS_PER_SECOND = 2_500_000;
const SPARE_MS = 60_000; // that a TURN server's secret must still be good for

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
    const viewer = this.#viewers.get(streamId);
    if (signal.type === 'offer') {
      if (signal.connection && signal.connection === viewer?.id) viewer.answer().catch(() => {}); // it has not heard
      else this.#answer(streamId, signal);
      return;
    }
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
      await viewer.answer();
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
