// Launches Firefox and drives it by WebDriver BiDi, which it speaks itself:
// neither geckodriver nor a WebSocket library is needed.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MS = 60_000;

const PREFERENCES = {
  'media.autoplay.default': 0,
  // A camera, and nobody asked for it.
  'media.navigator.permission.disabled': true,
  'media.navigator.streams.fake': true,
  'media.autoplay.blocking_policy': 0,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  // Nothing may be fetched from outside.
  'app.normandy.enabled': false,
  'app.update.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.safebrowsing.update.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.getAddons.cache.enabled': false,
  'extensions.systemAddon.update.enabled': false,
  'media.gmp-manager.url': '',
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.enabled': false,
};

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** A running Firefox. */
export class Firefox {
  #child;
  #profile;
  /** @type {Socket | undefined} */
  #socket;
  #calls = 0;
  /** @type {Map<number, {resolve: (result: any) => void, reject: (err: Error) => void}>} */
  #waiting = new Map();

  /**
   * @param {import('node:child_process').ChildProcess} child
   * @param {string} profile
   */
  constructor(child, profile) {
    this.#child = child;
    this.#profile = profile;
    process.once('exit', this.#end);
  }

  /**
   * @param {Record<string, string | number | boolean>} [preferences] besides those that all have
   * @returns {Promise<Firefox>}
   */
  static async launch(preferences = {}) {
    const profile = mkdtempSync(join(tmpdir(), 'securecam-firefox-'));
    const lines = Object.entries({ ...PREFERENCES, ...preferences }).map(([key, value]) => `user_pref(${JSON.stringify(key)}, ${JSON.stringify(value)});`);
    writeFileSync(join(profile, 'user.js'), lines.join('\n'));
    const child = spawn(
      process.env.FIREFOX ?? 'firefox-esr',
      ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0', 'about:blank'],
      // A group of its own, so that kill reaches the content processes too.
      { env: { ...process.env, HOME: profile }, stdio: ['ignore', 'ignore', 'pipe'], detached: true },
    );
    const firefox = new Firefox(child, profile);
    try {
      await firefox.#connect(await announced(child));
    } catch (err) {
      await firefox.kill();
      throw err;
    }
    return firefox;
  }

  /** @param {string} url of the remote agent */
  async #connect(url) {
    this.#socket = await Socket.open(`${url}/session`, (text) => this.#answered(JSON.parse(text)), () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('Firefox has gone'));
      this.#waiting.clear();
    });
    await this.#call('session.new', { capabilities: {} });
  }

  /**
   * Opens a tab.
   * @param {string} url
   * @returns {Promise<Tab>}
   */
  async open(url) {
    const { context } = await this.#call('browsingContext.create', { type: 'tab' });
    await this.#call('browsingContext.navigate', { context, url, wait: 'complete' });
    return new Tab((method, params) => this.#call(method, params), context);
  }

  /** Ends all its processes at once, as a crash would. */
  async kill() {
    const running = this.#child.pid && this.#child.exitCode === null && this.#child.signalCode === null;
    const gone = new Promise((resolve) => { this.#child.once('exit', resolve); });
    this.#end();
    if (running) await gone;
    this.#socket?.destroy();
    process.removeListener('exit', this.#end);
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #end = () => {
    try {
      if (this.#child.pid) process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // it has ended already
    }
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  };

  /**
   * @param {string} method
   * @param {object} params
   * @returns {Promise<any>}
   */
  #call(method, params) {
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket?.send(JSON.stringify({ id, method, params }));
    });
  }

  /** @param {{id?: number, type: string, result?: any, error?: string, message?: string}} answer */
  #answered({ id, type, result, error, message }) {
    const call = id === undefined ? undefined : this.#waiting.get(id);
    if (!call || id === undefined) return; // an event
    this.#waiting.delete(id);
    if (type === 'error') call.reject(new Error(`${error}: ${message}`));
    else call.resolve(result);
  }
}

/** One tab; evaluate is like that of Playwright's pages. */
class Tab {
  #call;
  #context;

  /**
   * @param {(method: string, params: object) => Promise<any>} call
   * @param {string} context
   */
  constructor(call, context) {
    this.#call = call;
    this.#context = context;
  }

  /**
   * Runs a function in the page. Argument and result pass as JSON.
   * @template A, R
   * @param {(arg: A) => R | Promise<R>} fn
   * @param {A} [arg]
   * @returns {Promise<R>}
   */
  async evaluate(fn, arg) {
    const answer = await this.#call('script.callFunction', {
      functionDeclaration: `async (arg) => JSON.stringify(await (${fn})(JSON.parse(arg)) ?? null)`,
      arguments: [{ type: 'string', value: JSON.stringify(arg ?? null) }],
      target: { context: this.#context },
      awaitPromise: true,
      userActivation: true,
    });
    if (answer.type === 'exception') throw new Error(answer.exceptionDetails.text);
    return JSON.parse(answer.result.value);
  }

  async close() {
    await this.#call('browsingContext.close', { context: this.#context });
  }
}

/**
 * @param {import('node:child_process').ChildProcess} child
 * @returns {Promise<string>} where the remote agent listens
 */
function announced(child) {
  return new Promise((resolve, reject) => {
    let said = '';
    /** @param {string} why */
    const fail = (why) => {
      clearTimeout(late);
      reject(new Error(`${why}: ${said}`));
    };
    const late = setTimeout(() => fail('Firefox does not start'), START_MS);
    child.once('error', (err) => fail(err.message));
    child.once('exit', () => fail('Firefox has ended'));
    child.stderr?.on('data', (data) => {
      if (said.length < 1 << 16) said += data;
      const url = /WebDriver BiDi listening on (ws:\S+)/.exec(said)?.[1];
      if (!url) return;
      clearTimeout(late);
      resolve(url);
    });
  });
}

/** The client's side of a WebSocket (RFC 6455) for text, without extensions. */
class Socket {
  #tcp;
  #onText;
  #pending = Buffer.alloc(0);
  /** @type {Buffer[]} frames of a message that goes on */
  #parts = [];

  /**
   * @param {import('node:stream').Duplex} tcp
   * @param {(text: string) => void} onText
   * @param {() => void} onClose
   */
  constructor(tcp, onText, onClose) {
    this.#tcp = tcp;
    this.#onText = onText;
    tcp.on('data', (data) => this.#received(data));
    tcp.on('error', () => {}); // "close" follows
    tcp.on('close', onClose);
  }

  /**
   * @param {string} url
   * @param {(text: string) => void} onText
   * @param {() => void} onClose
   * @returns {Promise<Socket>}
   */
  static open(url, onText, onClose) {
    return new Promise((resolve, reject) => {
      const upgrade = request(url.replace(/^ws/, 'http'), {
        headers: {
          connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': 13, 'sec-websocket-key': randomBytes(16).toString('base64'),
        },
      });
      upgrade.once('error', reject);
      upgrade.once('response', (res) => reject(new Error(`no WebSocket at ${url}: ${res.statusCode}`)));
      upgrade.once('upgrade', (_res, tcp, head) => {
        const socket = new Socket(tcp, onText, onClose);
        if (head.length) socket.#received(head);
        resolve(socket);
      });
      upgrade.end();
    });
  }

  /** @param {string} text */
  send(text) {
    this.#write(TEXT, Buffer.from(text));
  }

  destroy() {
    this.#tcp.destroy();
  }

  /** @param {number} opcode @param {Buffer} payload */
  #write(opcode, payload) {
    const mask = randomBytes(4); // section 5.3: clients mask
    const length = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 1 << 16 ? 4 : 10);
    length[0] = 0x80 | opcode;
    if (length.length === 2) length[1] = payload.length;
    if (length.length === 4) length.writeUInt16BE(payload.length, 2);
    if (length.length === 10) length.writeBigUInt64BE(BigInt(payload.length), 2);
    if (length.length > 2) length[1] = length.length === 4 ? 126 : 127;
    length[1] |= 0x80;
    this.#tcp.write(Buffer.concat([length, mask, payload.map((byte, i) => byte ^ mask[i % 4])]));
  }

  /** @param {Buffer} data */
  #received(data) {
    this.#pending = Buffer.concat([this.#pending, data]);
    for (;;) {
      const frame = readFrame(this.#pending);
      if (!frame) return;
      this.#pending = this.#pending.subarray(frame.end);
      this.#framed(frame);
    }
  }

  /** @param {{final: boolean, opcode: number, payload: Buffer}} frame */
  #framed({ final, opcode, payload }) {
    if (opcode === PING) this.#write(PONG, payload);
    if (opcode === CLOSE) this.#tcp.end();
    if (opcode >= CLOSE) return;
    this.#parts.push(payload);
    if (final) this.#onText(Buffer.concat(this.#parts.splice(0)).toString());
  }
}

/**
 * Reads a server's frame (section 5.2), which is never masked.
 * @param {Buffer} b
 * @returns {{final: boolean, opcode: number, payload: Buffer, end: number} | null} null: not all of it is there
 */
function readFrame(b) {
  if (b.length < 2) return null;
  const short = b[1] & 0x7f;
  const begin = { 126: 4, 127: 10 }[short] ?? 2;
  if (b.length < begin) return null;
  const length = begin === 2 ? short : begin === 4 ? b.readUInt16BE(2) : Number(b.readBigUInt64BE(2));
  if (b.length < begin + length) return null;
  return { final: b[0] > 0x7f, opcode: b[0] & 0x0f, payload: b.subarray(begin, begin + length), end: begin + length };
}

/** Runs in a page: has the product believe that the connection of window.peer failed. */
export function restartInPage() {
  const { pc } = window.peer;
  Object.defineProperty(pc, 'connectionState', { configurable: true, get: () => 'failed' });
  pc.onconnectionstatechange();
  delete pc.connectionState;
}
