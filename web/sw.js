// The service worker: shows what the server pushes while no page is open.

const PAGE = '/sim';

/** @type {Record<string, (data: any) => string>} what a message says, by its type */
const WORDS = {
  'motion:started': (data) => (!data.triggeredBy || data.triggeredBy === 'motion' ? 'Motion detected' : `Detected: ${data.triggeredBy.replaceAll('_', ' ')}`),
  'stream:requested': () => 'Somebody wants to watch this camera',
  'stream:ended': () => 'A stream has ended',
  test: () => 'Alerts reach this browser.',
};

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('push', (event) => {
  const data = event.data?.json() ?? {};
  const say = WORDS[data.type] ?? (() => 'Something happened');
  event.waitUntil(self.registration.showNotification(data.cameraName || 'SecureCam', {
    body: say(data),
    icon: '/sim/icons/favicon.svg',
    image: data.thumbnailUrl,
    timestamp: Date.parse(data.startedAt ?? '') || Date.now(),
    // The same event never rings twice, even when it is sent again.
    tag: data.eventId ?? data.id ?? data.pushId,
    data: { path: data.eventId ? `${PAGE}#/events/${data.eventId}` : PAGE },
  }));
});

self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.path ?? PAGE));
});

/** @param {string} path a page of this server, in a tab that is open or a new one */
async function open(path) {
  const pages = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const page = pages.find((client) => new URL(client.url).pathname === PAGE);
  if (!page) return self.clients.openWindow(path);
  page.postMessage({ go: path });
  return page.focus();
}
