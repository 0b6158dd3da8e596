// Launches Debian's Chromium and watches what its pages do.

import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
];
const FAKE_CAMERA = ['--use-fake-device-for-media-stream=fps=30', '--use-fake-ui-for-media-stream'];

const NO_UDP = '--webrtc-ip-handling-policy=disable_non_proxied_udp';

/**
 * @param {{camera: boolean, udp?: boolean}} options camera: whether there is a (fake) one; udp: whether media may use it
 * @returns {Promise<import('playwright-core').Browser>}
 */
export function launch({ camera, udp = true }) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [...FLAGS, ...(camera ? FAKE_CAMERA : []), ...(udp ? [] : [NO_UDP])],
  });
}

/**
 * Lets the pages of a context move their camera too, which Playwright has no
 * name for.
 * @param {import('playwright-core').BrowserContext} context
 */
export async function allowSteering(context) {
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  const { targetInfo: { browserContextId } } = await session.send('Target.getTargetInfo');
  const browser = await /** @type {import('playwright-core').Browser} */ (context.browser()).newBrowserCDPSession();
  await browser.send('Browser.grantPermissions', {
    browserContextId, permissions: ['videoCapture', 'audioCapture', /** @type {any} */ ('cameraPanTiltZoom')],
  });
  await page.close();
}

/**
 * Opens a tab whose peer connections can be looked at (window.peers) and whose
 * script errors and policy violations are collected.
 * @param {import('playwright-core').BrowserContext} context
 * @param {string} name
 * @param {string[]} faults
 * @returns {Promise<import('playwright-core').Page>}
 */
export async function openTab(context, name, faults) {
  const page = await context.newPage();
  context.setDefaultTimeout(180_000); // a busy machine takes its time, also to answer context.request
  page.on('pageerror', (err) => faults.push(`${name}: ${err.message}`));
  page.on('console', (message) => {
    if (/Content Security Policy|violates/i.test(message.text())) faults.push(`${name}: ${message.text()}`);
  });
  await page.addInitScript(() => {
    window.peers = [];
    const Native = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Native {
      constructor(...args) {
        super(...args);
        window.peers.push(this);
      }
    };
  });
  return page;
}

/**
 * Video frames decoded or encoded by the page's open connections.
 * @param {import('playwright-core').Page} page
 * @returns {Promise<number>}
 */
export function frames(page) {
  return page.evaluate(async () => {
    let count = 0;
    for (const peer of window.peers) {
      if (peer.connectionState === 'closed') continue;
      for (const s of (await peer.getStats()).values()) {
        if (s.type === 'inbound-rtp' && s.kind === 'video') count += s.framesDecoded ?? 0;
        if (s.type === 'outbound-rtp' && s.kind === 'video') count += s.framesEncoded ?? 0;
      }
    }
    return count;
  });
}

/**
 * How much of a video's present frame differs from its mean colour: a black
 * or grey picture has almost none.
 * @param {import('playwright-core').Locator} video
 * @returns {Promise<number>} standard deviation of the luminance, 0..127
 */
export function contrast(video) {
  return video.evaluate((el) => {
    const canvas = document.createElement('canvas');
    canvas.width = 64;
    canvas.height = 36;
    const context = canvas.getContext('2d');
    context.drawImage(el, 0, 0, 64, 36);
    const { data } = context.getImageData(0, 0, 64, 36);
    const luma = [];
    for (let i = 0; i < data.length; i += 4) luma.push(0.3 * data[i] + 0.59 * data[i + 1] + 0.11 * data[i + 2]);
    const mean = luma.reduce((a, b) => a + b) / luma.length;
    return Math.sqrt(luma.reduce((a, b) => a + (b - mean) ** 2, 0) / luma.length);
  });
}
