// The realtime gateway: a WebSocket that authenticates by its first message
// and comes back by itself.

import { backoff } from './backoff.js';

const REPLY_MS = 10_000;
const PING_MS = 25_000;
const CLOSE_UNAUTHENTICATED = 4401;
const CLOSE_REVOKED = 4403;
const CLOSE_REPLACED = 4409; // by newer connections of the same device

/**
 * Fires every server event under its own name (CustomEvent, detail = data),
 * "state" when online or refused changed, and "ready" after each sign-on. What
 * was missed while away follows "ready"; only when its detail.resumed is not
 * true must listeners ask the server what they may have missed.
 */
export class Gateway extends EventTarget {
  /** @type {'connecting' | 'online' | 'offline' | 'refused'} */
  state = 'offline';
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<string, {resolve: (data: any) => void, reject: (err: Error) => void, timer: number}>} */
  #waiting = new Map();
  #tab;
  #cursor = ''; // of the last event seen; the device's own
  #device = '';
  #token = ''; // the one that the present socket signed on with
  #tries = 0;
  #sent = 0;
  #retry = 0;
  #ping = 0;
  #stopped = true;
  #onOnline = () => this.#now();

  /** @param {import('./tab.js').Tab} tab whose token signs on */
  constructor(tab) {
    super();
    this.#tab = tab;
  }

  start() {
    this.#stopped = false;
    window.addEventListener('online', this.#onOnline);
    this.#open();
  }

  stop() {
    this.#stopped = true;
    window.removeEventListener('online', this.#onOnline);
    clearTimeout(this.#retry);
    this.#socket?.close(1000);
    this.#drop();
  }

  /**
   * Sends an event and waits for the server's reply.
   * @param {string} event
   * @param {unknown} data
   * @returns {Promise<any>}
   */
  ask(event, data) {
    return new Promise((resolve, reject) => {
      if (this.state !== 'online' || !this.#socket) {
        reject(new Error('The gateway is not connected.'));
        return;
      }
      const id = String(++this.#sent);
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error('The gateway did not answer.'));
      }, REPLY_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ event, id, data }));
    });
  }

  #open() {
    this.#set('connecting');
    const url = new URL('/realtime', location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#token = this.#tab.token;
      const after = this.#device === this.#tab.device?.id && this.#cursor || undefined;
      socket.send(JSON.stringify({ event: 'authenticate', data: { token: this.#token, after } }));
    };
    socket.onmessage = (message) => this.#receive(socket, message.data);
    socket.onclose = (close) => { if (socket === this.#socket) this.#closed(close.code); };
  }

  /**
   * @param {WebSocket} socket
   * @param {string} text
   */
  #receive(socket, text) {
    if (socket !== this.#socket) return;
    const { event, id, cursor, data } = JSON.parse(text);
    if (cursor) this.#cursor = cursor;
    const waiting = id && this.#waiting.get(id);
    if (waiting) {
      this.#waiting.delete(id);
      clearTimeout(waiting.timer);
      if (event === 'error') waiting.reject(Object.assign(new Error(data?.message), { code: data?.code }));
      else waiting.resolve(data);
      return;
    }
    if (event === 'ready') {
      this.#tries = 0;
      this.#device = data.deviceId;
      this.#cursor = data.cursor;
      this.#set('online');
      clearInterval(this.#ping);
      this.#ping = setInterval(() => this.#check(socket), PING_MS);
    }
    this.dispatchEvent(new CustomEvent(event, { detail: data }));
  }

  /**
   * A network that vanished closes no socket: a ping without an answer does.
   * @param {WebSocket} socket
   */
  #check(socket) {
    this.ask('ping', {}).catch((err) => {
      if (socket === this.#socket && !err.code) {
        socket.close(4000);
        this.#closed(4000);
      }
    });
  }

  /** @param {number} code */
  async #closed(code) {
    this.#drop();
    if (this.#stopped) return;
    const revoked = code === CLOSE_REVOKED && this.#token === this.#tab.token;
    if (revoked || code === CLOSE_REPLACED) {
      this.#set('refused');
      return;
    }
    this.#set('offline');
    if (code === CLOSE_UNAUTHENTICATED && !await this.#renewed()) return;
    clearTimeout(this.#retry);
    if (!this.#stopped && !this.#socket) this.#retry = setTimeout(() => this.#now(), backoff(this.#tries++));
  }

  /** @returns {Promise<boolean>} whether it makes sense to try again */
  async #renewed() {
    try {
      await this.#tab.renew();
      return true;
    } catch (err) {
      const over = err instanceof Error && 'status' in err && [401, 403, 404].includes(Number(err.status));
      if (over) this.#set('refused');
      return !over;
    }
  }

  #now() {
    clearTimeout(this.#retry);
    if (!this.#stopped && !this.#socket && this.state !== 'refused') this.#open();
  }

  #drop() {
    clearInterval(this.#ping);
    this.#socket = null;
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.reject(new Error('The gateway went away.'));
    }
    this.#waiting.clear();
  }

  /** @param {Gateway['state']} state */
  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event('state'));
  }
}
