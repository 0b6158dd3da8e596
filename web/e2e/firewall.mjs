// A viewer in Firefox behind a firewall that lets no UDP through:
//   node firewall.mjs <base URL>
// Each line on standard input is a request in JSON, {"do": name, ...}, and is
// answered by a line on standard output, {"result": ...} or {"error": text}.
// The end of the input ends the browser.
//
//   watch    {credentials}  it sees pictures
//   restart  {}             it restarts ICE, and sees more of them

import { createInterface } from 'node:readline';
import { Firefox, restartInPage } from './firefox.mjs';

const LIMIT_MS = 60_000;
const PICTURES = 30;

/** @typedef {import('../js/streams.js').Credentials} Credentials */

const base = process.argv[2];
if (!base) {
  console.error('usage: node firewall.mjs <base URL>');
  process.exit(2);
}

// The following run in the page, so they know nothing but their argument. The
// product's own modules do the work.

/** @param {Credentials} credentials */
async function playInPage(credentials) {
  const { play } = await import('/sim/js/whep.js');
  const { peer, stream } = await play(credentials);
  window.peer = peer;
  const video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true, srcObject: stream });
  document.body.replaceChildren(video);
}

async function statsInPage() {
  const { pc } = window.peer;
  const all = [...(await pc.getStats()).values()];
  const pair = all.find((s) => s.type === 'candidate-pair' && s.selected) ?? {};
  return {
    state: pc.connectionState,
    decoded: all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video')?.framesDecoded ?? 0,
    protocol: all.find((s) => s.id === pair.remoteCandidateId)?.protocol ?? '',
    ufrag: /a=ice-ufrag:(\S+)/.exec(pc.currentRemoteDescription?.sdp ?? '')?.[1] ?? '',
  };
}

const firefox = await Firefox.launch({ 'media.peerconnection.nat_simulator.block_udp': true });
process.once('SIGTERM', () => process.exit(1)); // which ends it
const page = await firefox.open(new URL('/sim', base).href);

/** @param {(stats: any) => boolean} enough */
async function until(enough) {
  for (const end = Date.now() + LIMIT_MS; ;) {
    const stats = await page.evaluate(statsInPage);
    if (enough(stats)) return stats;
    if (Date.now() > end) throw new Error(`Firefox is still at ${JSON.stringify(stats)}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

const actions = {
  /** @param {{credentials: Credentials}} request */
  async watch({ credentials }) {
    await page.evaluate(playInPage, credentials);
    return until(({ decoded, protocol }) => decoded > PICTURES && protocol !== '');
  },
  async restart() {
    const before = await page.evaluate(statsInPage);
    await page.evaluate(restartInPage);
    const { decoded } = await until(({ ufrag, state }) => ufrag !== before.ufrag && state === 'connected');
    return until((s) => s.decoded > decoded + PICTURES && s.protocol !== '');
  },
};

/** @param {object} answer */
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...request } = JSON.parse(line);
  try {
    if (!Object.hasOwn(actions, name)) throw new Error(`what is "${name}"?`);
    say({ result: await actions[name](request) });
  } catch (err) {
    say({ error: err instanceof Error ? err.message : String(err) });
  }
}
await firefox.kill();
process.exit(0);
