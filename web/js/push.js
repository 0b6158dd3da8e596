// Alerts to this browser while no page is open (Web Push). The browser is a
// client device of its own, which never connects: whatever happens is pushed.

import { ApiError, call } from './api.js';

const KEY = 'securecam.alerts';
const WORKER = '/sim/sw.js';

/** What the platform of such a device begins with. */
export const PLATFORM = 'Alerts';

/** @returns {string} why this browser cannot be alerted, "" when it can */
export function obstacle() {
  if (!window.isSecureContext) return 'Browsers take alerts only from safe pages: https, or localhost on the same machine.';
  if (!('serviceWorker' in navigator) || !('PushManager' in window)) {
    return 'This browser takes no alerts. On an iPhone, add this page to the home screen first.';
  }
  return Notification.permission === 'denied' ? 'Alerts from this page are blocked. Allow them in the address bar, then reload.' : '';
}

/** @returns {string} the id of the device that this browser is for alerts, or "" */
export function deviceId() {
  return localStorage.getItem(KEY) ?? '';
}

/** @returns {Promise<PushSubscription | null>} */
async function subscription() {
  const registration = await navigator.serviceWorker.getRegistration(WORKER);
  return await registration?.pushManager.getSubscription() ?? null;
}

/** @returns {Promise<boolean>} whether this browser is alerted */
export async function enabled() {
  if (obstacle() || !deviceId()) return false;
  const held = await subscription();
  if (!held) return false;
  try {
    return (await call('GET', `/devices/${deviceId()}/push-subscription`)).endpoint === held.endpoint;
  } catch (err) {
    if (err instanceof ApiError && err.status === 404) return false;
    throw err;
  }
}

/** @param {string} name of the device, for people */
export async function enable(name) {
  if (await Notification.requestPermission() !== 'granted') throw new Error('The browser was not allowed to show alerts.');
  const { publicKey } = await call('GET', '/push-notifications/vapid-public-key');
  await navigator.serviceWorker.register(WORKER);
  const registration = await ready();
  const held = await registration.pushManager.getSubscription();
  // One that was made for another server's key takes nothing from this one.
  if (held && !sameKey(held, publicKey)) await held.unsubscribe();
  const made = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(publicKey) });
  await tell(await device(name), made);
}

/** The worker must run before it can subscribe. */
async function ready() {
  const registration = await navigator.serviceWorker.getRegistration(WORKER);
  if (!registration) throw new Error('The browser did not start the alerts.');
  const worker = registration.active ?? registration.waiting ?? registration.installing;
  if (worker && worker.state !== 'activated') {
    await new Promise((resolve) => {
      worker.addEventListener('statechange', () => { if (worker.state === 'activated') resolve(undefined); });
    });
  }
  return registration;
}

/** @param {string} id @param {PushSubscription} made */
function tell(id, made) {
  const { endpoint, keys } = made.toJSON();
  return call('PUT', `/devices/${id}/push-subscription`, { body: { endpoint, keys } });
}

/** @param {string} name @returns {Promise<string>} the id of this browser's device */
async function device(name) {
  if (deviceId()) {
    const known = await call('GET', `/devices/${deviceId()}`).catch(() => null);
    if (known) return known.id;
  }
  const { device: made } = await call('POST', '/devices/register', { body: { name, role: 'client', platform: PLATFORM, appVersion: 'web' } });
  localStorage.setItem(KEY, made.id);
  return made.id;
}

export async function disable() {
  await (await subscription())?.unsubscribe();
  const id = deviceId();
  localStorage.removeItem(KEY);
  if (id) await call('DELETE', `/devices/${id}`).catch((err) => { if (err.status !== 404) throw err; });
}

/** Sends this browser an alert to look at. */
export const test = () => call('POST', `/devices/${deviceId()}/push-subscription/test`);

/** Browsers renew subscriptions by themselves: the server must hear of it. */
export async function renew() {
  if (obstacle() || !deviceId() || Notification.permission !== 'granted') return;
  const held = await subscription();
  if (held && !await enabled()) await tell(deviceId(), held);
}

/** @param {PushSubscription} held @param {string} key */
function sameKey(held, key) {
  const own = new Uint8Array(held.options.applicationServerKey ?? new ArrayBuffer(0));
  const wanted = bytes(key);
  return own.length === wanted.length && own.every((b, i) => b === wanted[i]);
}

/** @param {string} base64url */
function bytes(base64url) {
  return Uint8Array.from(atob(base64url.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
}
