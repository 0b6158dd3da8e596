// Messages between a camera and its viewers, as JSON on a data channel: through
// the server (control/media/CHANNELS.md), or from device to device.

const LABEL = 'messages';
const MOST_WAITING = 64 << 10; // bytes; what is said beyond that is not worth its time any more

/**
 * One end. Fires "open", and "message" with what was said and by whom: a
 * viewer's stream, or "" where there is but one who can.
 */
export class Messages extends EventTarget {
  #channel;

  /** @param {RTCDataChannel} channel */
  constructor(channel) {
    super();
    this.#channel = channel;
    channel.onopen = () => this.dispatchEvent(new Event('open'));
    channel.onmessage = ({ data }) => {
      try {
        const detail = this.unwrap(JSON.parse(data));
        if (detail.body && typeof detail.body === 'object') this.dispatchEvent(new CustomEvent('message', { detail }));
      } catch { /* another application's */ }
    };
  }

  /** @returns {boolean} */
  get open() {
    return this.#channel.readyState === 'open';
  }

  /** @returns {boolean} */
  get over() {
    return this.#channel.readyState === 'closed';
  }

  /**
   * @param {object} body
   * @param {string} [to] whom alone, of several
   */
  tell(body, to = '') {
    if (this.open && this.#channel.bufferedAmount < MOST_WAITING) this.#channel.send(JSON.stringify(this.wrap(body, to)));
  }

  /**
   * @param {object} body
   * @param {string} _to
   * @returns {object}
   */
  wrap(body, _to) {
    return body;
  }

  /**
   * @param {any} said
   * @returns {{from: string, body: any}}
   */
  unwrap(said) {
    return { from: '', body: said };
  }
}

/** A camera's end at a server that forwards: what viewers say comes in envelopes. */
export class Envelopes extends Messages {
  wrap(/** @type {object} */ body, /** @type {string} */ to) {
    return { ...(to ? { to } : {}), text: JSON.stringify(body) };
  }

  unwrap(/** @type {any} */ { from, text }) {
    return { from, body: JSON.parse(text) };
  }
}

/**
 * Opens a channel, before the offer is made.
 * @param {RTCPeerConnection} pc
 */
export const openChannel = (pc) => pc.createDataChannel(LABEL);
