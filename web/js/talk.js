// Talking to a camera: this side's microphone, on the audio section that plays
// the camera's. Nothing is sent, and no microphone is open, until somebody
// wants to be heard.

import { Latest } from './latest.js';
import { explain } from './words.js';

const CONSTRAINTS = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** Fires "change" when on or problem changed. */
export class Talk extends EventTarget {
  on = false;
  /** Why the microphone is not there, in words. */
  problem = '';
  #transceiver;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  #wanted = false;
  #latest = new Latest(); // of the microphones

  /** @param {RTCRtpTransceiver} transceiver of audio, offered sendrecv */
  constructor(transceiver) {
    super();
    this.#transceiver = transceiver;
  }

  /** @returns {boolean} the camera hears: it has accepted to receive */
  get possible() {
    return this.#transceiver.currentDirection === 'sendrecv';
  }

  async start() {
    if (this.#wanted || !this.possible) return;
    this.#wanted = true;
    this.problem = '';
    const due = this.#latest.ask();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: CONSTRAINTS });
      const [track] = stream.getAudioTracks();
      if (!due()) return track.stop(); // it was stopped meanwhile
      this.#track = track;
      track.onended = () => this.stop();
      await this.#transceiver.sender.replaceTrack(track);
      this.#set(true);
    } catch (err) {
      if (!due()) return undefined;
      this.problem = explain(err);
      this.stop();
    }
  }

  stop() {
    this.#wanted = false;
    this.#latest.forget();
    this.#track?.stop();
    this.#track = null;
    this.#transceiver.sender.replaceTrack(null).catch(() => {}); // the connection is gone already
    this.#set(false);
  }

  /** @param {boolean} on */
  #set(on) {
    this.on = on;
    this.dispatchEvent(new Event('change'));
  }
}
