// The administrator's page, with dead letters that are tried again all at once.
//   node admin.mjs <base URL> <user> <password> [folder for screenshots]
// Five deliveries to a webhook must have failed, of which nothing stands in the
// way any more.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { launch, openTab } from './browser.mjs';

const [, , base, username, password, shots] = process.argv;
if (shots) mkdirSync(shots, { recursive: true });
/** @type {string[]} */
const faults = [];

/** @param {unknown} claim @param {string} otherwise */
function check(claim, otherwise) {
  if (!claim) throw new Error(otherwise);
}

const browser = await launch({ camera: false });
const context = await browser.newContext({
  httpCredentials: { username, password }, viewport: { width: 1280, height: 800 },
});
const page = await openTab(context, 'admin', faults);

/** @param {string} name */
async function shot(name) {
  if (shots) await page.screenshot({ path: join(shots, `admin-${name}.png`) });
}

/** Waits until so many jobs are shown. @param {number} n */
async function shown(n) {
  await page.waitForFunction((want) => document.querySelectorAll('tbody tr').length === want, n);
}

/** @param {string} name */
const button = (name) => page.getByRole('button', { name, exact: true });
const dialog = page.locator('#dialog');

await page.goto(new URL('/admin#jobs?queue=webhook-deliveries', base).href);
await shown(5);
await shot('dead-letters');

// Whoever thinks better of it has changed nothing.
await button('Retry all 5').click();
await shot('retry-all');
await dialog.getByRole('button', { name: 'Cancel' }).click();
await dialog.waitFor({ state: 'hidden' });
await page.reload();
await shown(5);

// Somebody else deletes one meanwhile: that one alone is not tried again.
const list = await context.request.get(new URL('/admin/api/jobs/webhook-deliveries?status=failed', base).href);
const { items } = await list.json();
const deleted = await context.request.delete(new URL(`/admin/api/jobs/webhook-deliveries/${items[2].id}`, base).href, {
  headers: { 'X-Securecam-Admin': '1', Origin: new URL(base).origin },
});
check(deleted.status() === 204, `deleted: ${deleted.status()} ${await deleted.text()}`);
await button('Retry all 5').click();
await dialog.getByRole('button', { name: 'Retry all 5' }).click();
await page.getByText(/^4 done\. 1 not: /).waitFor();
await page.getByText('No delivery has failed.').waitFor();
check(await button('Retry all 5').count() === 0, 'a button for what is gone is left');
await shot('retried');

// They arrive, and are listed as such.
// Until they are known nothing else is shown in their place.
await page.route('**/jobs/webhook-deliveries?status=sent', async (route) => {
  await page.getByText('One moment…').waitFor();
  await route.continue();
}, { times: 1 });
await page.getByLabel('status').selectOption('sent');
await button('Refresh').waitFor();
const deadline = Date.now() + 60_000;
for (let sent = 0; sent !== 4;) {
  check(Date.now() < deadline, `${sent} of 4 have arrived`);
  await button('Refresh').click();
  await page.waitForTimeout(200);
  sent = await page.locator('tbody tr').count();
}
await shot('sent');
check(faults.length === 0, faults.join('\n'));
await browser.close();
