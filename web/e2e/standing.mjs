// Firefox that lets a page play nothing shows the first frame of a stream, and
// stops there: the page must not take that for a picture that plays.
//   node standing.mjs
// Exit code 1 and a sentence if it does.

import { readFileSync } from 'node:fs';

/**
 * @param {string} name
 * @returns {string} a module of the product, with those that it imports, as Node takes it from no folder of packages
 */
function moduleOf(name) {
  const source = readFileSync(new URL(`../js/${name}`, import.meta.url), 'utf8');
  const whole = source.replace(/ from '\.\/(.+?)';/g, (_, other) => ` from '${moduleOf(other)}';`);
  return `data:text/javascript;base64,${Buffer.from(whole).toString('base64')}`;
}

const { Health } = await import(moduleOf('health.js'));

/** A video element as far as Health knows one. */
class Video extends EventTarget {
  paused = true;
  /** @type {() => void} */
  show = () => {};
  play = () => Promise.reject(Object.assign(new Error('autoplay'), { name: 'NotAllowedError' }));
  requestVideoFrameCallback = (/** @type {() => void} */ shown) => { this.show = shown; };
}

/**
 * @param {boolean} claim
 * @param {string} otherwise
 */
function check(claim, otherwise) {
  if (claim) return;
  console.log(otherwise);
  process.exit(1);
}

const [video, health] = [new Video(), new Health(null, '')];
health.play(video);
await null; // until the refusal is known
await null;
check(health.blocked, 'a page that may not play is not said to be blocked');
video.show();
check(health.blocked, 'a picture that stands still is taken for one that plays');
video.paused = false;
video.show();
check(!health.blocked, 'a picture that plays is said to be blocked');
