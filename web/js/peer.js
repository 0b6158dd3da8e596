// One RTCPeerConnection with its WHIP or WHEP session: the two protocols
// differ only in who sends.

import { ApiError, failure, send, textOf } from './api.js';
import { wordsFor } from './words.js';

const GATHER_MS = 400; // later candidates trickle
const DISCONNECTED_MS = 1_500; // "disconnected" often heals by itself
const RESTART_MS = 10_000; // a new network is slow to come up

/** @typedef {import('./streams.js').Credentials} Credentials */

/**
 * Fires "lost" once when the connection is gone for good; this.cause says why.
 */
export class Peer extends EventTarget {
  /** The sentence for "lost". */
  cause = '';
  #credentials;
  #resource = '';
  #etag = '';
  #closed = false;
  #everConnected = false;
  #patience = 0;
  #restarting = false;
  /** @type {RTCIceCandidate[]} gathered after the offer went out */
  #late = [];

  /** @param {Credentials} credentials */
  constructor(credentials) {
    super();
    if (typeof RTCPeerConnection === 'undefined') {
      throw new ApiError(0, 'no_video_support', wordsFor('no_video_support'));
    }
    this.#credentials = credentials;
    this.pc = new RTCPeerConnection({ iceServers: credentials.iceServers, bundlePolicy: 'max-bundle' });
    this.pc.onconnectionstatechange = () => this.#watch();
  }

  /**
   * Offers, posts and applies the answer. On any failure nothing stays open.
   * @param {AbortSignal} [signal]
   * @param {(answer: string) => string} [tune] changes the answer for this side
   */
  async connect(signal, tune = (answer) => answer) {
    try {
      await this.pc.setLocalDescription();
      await this.#gathered();
      const sent = this.pc.localDescription?.sdp ?? '';
      this.pc.onicecandidate = ({ candidate }) => {
        if (candidate?.candidate && !sent.includes(candidate.candidate)) this.#trickle(candidate);
      };
      const answer = await this.#post(sent, signal);
      if (answer !== null) await this.pc.setRemoteDescription({ type: 'answer', sdp: tune(answer) });
      for (const candidate of this.#late.splice(0)) this.#trickle(candidate);
    } catch (err) {
      this.close();
      throw err;
    }
  }

  /** @returns {boolean} */
  get connected() {
    return this.pc.connectionState === 'connected';
  }

  getStats() {
    return this.pc.getStats();
  }

  /**
   * Ends the session on the server and here. Safe to call twice.
   * @param {boolean} [keepalive] the page is going away
   */
  close(keepalive = false) {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#patience);
    this.pc.onconnectionstatechange = null;
    this.pc.onicecandidate = null;
    this.pc.close();
    if (this.#resource) this.#http('DELETE', this.#resource, {}, undefined, keepalive).catch(() => {});
  }

  /**
   * Says what is wanted from now on.
   * @param {import('./whep.js').Quality} quality
   */
  async prefer(quality) {
    if (!this.#resource || this.#closed) return;
    const response = await this.#http('PATCH', this.#resource, { 'content-type': 'application/json' }, JSON.stringify(quality));
    if (!response.ok) throw await failure(response);
  }

  /** @returns {Promise<import('./whep.js').Layer[]>} what the camera sends as video, the least first */
  async layers() {
    if (!this.#resource || this.#closed) return [];
    const response = await this.#http('GET', this.#resource, { accept: 'application/json' });
    if (!response.ok) throw await failure(response);
    return JSON.parse(await textOf(response)).layers;
  }

  /**
   * @param {string} sdp
   * @param {AbortSignal} [signal]
   * @returns {Promise<string | null>} the answer, null when this was closed meanwhile
   */
  async #post(sdp, signal) {
    const { url } = this.#credentials;
    const response = await this.#http('POST', url, { 'content-type': 'application/sdp' }, sdp, false, signal);
    if (!response.ok) throw await failure(response);
    this.#resource = new URL(response.headers.get('location') ?? '', url).href;
    this.#etag = response.headers.get('etag') ?? '';
    const answer = await textOf(response);
    if (this.#closed) {
      this.#http('DELETE', this.#resource, {}).catch(() => {});
      return null;
    }
    return answer;
  }

  /** Waits for the candidates, but not for slow or dead ICE servers. */
  #gathered() {
    return new Promise((resolve) => {
      if (this.pc.iceGatheringState === 'complete') return resolve(undefined);
      setTimeout(resolve, GATHER_MS);
      this.pc.onicegatheringstatechange = () => {
        if (this.pc.iceGatheringState === 'complete') resolve(undefined);
      };
      return undefined;
    });
  }

  /**
   * Sends a late candidate as an SDP fragment (RFC 8840). Best effort: the
   * server also learns addresses from the checks that reach it.
   * @param {RTCIceCandidate} candidate
   */
  #trickle(candidate) {
    if (!this.#resource || this.#restarting) {
      this.#late.push(candidate);
      return;
    }
    const sdp = this.pc.localDescription?.sdp ?? '';
    const pwd = /a=ice-pwd:(\S+)/.exec(sdp)?.[1];
    const media = /m=(audio|video)/.exec(sdp)?.[1] ?? 'audio';
    const fragment = [
      `a=ice-ufrag:${candidate.usernameFragment}`, `a=ice-pwd:${pwd}`,
      `m=${media} 9 UDP/TLS/RTP/SAVPF 0`, `a=mid:${candidate.sdpMid}`, `a=${candidate.candidate}`, '',
    ].join('\r\n');
    const headers = { 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': this.#etag || '*' };
    this.#http('PATCH', this.#resource, headers, fragment).catch(() => {});
  }

  #watch() {
    const state = this.pc.connectionState;
    if (state === 'connected') {
      this.#everConnected = true;
      clearTimeout(this.#patience);
    }
    if (state === 'closed' || (state === 'failed' && !this.#everConnected)) this.#lost();
    else if (state === 'failed') this.#restart();
    else if (state === 'disconnected' && !this.#restarting) this.#wait(DISCONNECTED_MS, () => this.#restart());
    this.dispatchEvent(new Event('state'));
  }

  /**
   * Does something unless the connection comes back before that.
   * @param {number} ms
   * @param {() => void} otherwise
   */
  #wait(ms, otherwise) {
    clearTimeout(this.#patience);
    this.#patience = setTimeout(otherwise, ms);
  }

  /**
   * Looks for another way to the server (RFC 9725, section 4.3.3): the phone
   * may be on another network. Session, keys and picture stay.
   */
  async #restart() {
    if (this.#closed || this.#restarting) return;
    this.#restarting = true;
    // Where the old way works again too, no change of the state says so.
    this.#wait(RESTART_MS, () => { if (this.pc.connectionState !== 'connected') this.#lost(); });
    try {
      await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: true }));
      await this.#gathered();
      const headers = { 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': '*' };
      const response = await this.#http('PATCH', this.#resource, headers, iceOf(this.pc.localDescription?.sdp ?? ''));
      if (response.status !== 200) throw await failure(response);
      this.#etag = response.headers.get('etag') ?? '';
      const fresh = await response.text();
      if (this.#closed) return;
      await this.pc.setRemoteDescription({ type: 'answer', sdp: withIce(this.pc.remoteDescription?.sdp ?? '', fresh) });
      this.#restarting = false;
      for (const candidate of this.#late.splice(0)) this.#trickle(candidate);
    } catch {
      this.#restarting = false;
      this.#lost(); // who owns this connects anew
    }
  }

  #lost() {
    if (this.#closed) return;
    this.cause = wordsFor(this.#everConnected ? 'connection_lost' : 'ice_failed');
    this.close();
    this.dispatchEvent(new Event('lost'));
  }

  /**
   * @param {string} method
   * @param {string} url
   * @param {Record<string, string>} headers
   * @param {string} [body]
   * @param {boolean} [keepalive]
   * @param {AbortSignal} [signal]
   */
  #http(method, url, headers, body, keepalive = false, signal) {
    const authorization = `Bearer ${this.#credentials.token}`;
    return send(url, { method, headers: { ...headers, authorization }, body, keepalive, credentials: 'omit' }, signal);
  }
}

const ICE_LINE = /^a=(?:ice-ufrag|ice-pwd|candidate|end-of-candidates)/;

/**
 * The ICE session of an offer as a fragment: that of its first section, which
 * all share.
 * @param {string} sdp
 */
function iceOf(sdp) {
  const first = sdp.split(/^(?=m=)/m)[1] ?? '';
  const lines = first.split('\r\n').filter((line, n) => n === 0 || line.startsWith('a=mid:') || ICE_LINE.test(line));
  return `${lines.join('\r\n')}\r\n`;
}

/**
 * An answer with the ICE session of a fragment in it.
 * @param {string} answer
 * @param {string} fragment
 */
function withIce(answer, fragment) {
  const fresh = fragment.split('\r\n').filter((line) => ICE_LINE.test(line));
  const [session, ...media] = answer.split(/^(?=m=)/m);
  return session + media.map((section) => {
    const kept = section.split('\r\n').filter((line) => line !== '' && !ICE_LINE.test(line));
    return `${[...kept, ...fresh].join('\r\n')}\r\n`;
  }).join('');
}
