// A worker that only counts time: timers of a hidden tab are slowed down,
// those of its workers are not.

/** @param {MessageEvent<number>} message milliseconds between two ticks */
self.onmessage = (message) => setInterval(() => self.postMessage(0), message.data);
