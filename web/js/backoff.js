// Waiting: pauses that can be cancelled, and retry pauses that grow.

const FIRST_MS = 500;
const LONGEST_MS = 10_000;

/**
 * The pause before retry number tries (from 0): half a second, doubling up to
 * ten, with a quarter of jitter so that many pages do not come back at once.
 * @param {number} tries
 * @returns {number} milliseconds
 */
export function backoff(tries) {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(tries, 10)) * (0.75 + Math.random() / 4);
}

/**
 * @param {number} ms
 * @param {AbortSignal} [signal] rejects with its reason when it aborts
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => { clearTimeout(timer); reject(signal?.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener('abort', stop); resolve(); }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
