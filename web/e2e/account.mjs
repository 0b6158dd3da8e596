// The account page and the ways in, in a real Chromium with a virtual security
// key:
//   node account.mjs <base URL> <folder with letters> <folder for screenshots>

import { join } from 'node:path';
import { launch, openTab } from './browser.mjs';
import { letter, totp } from './letters.mjs';

const [base, letters, shots] = process.argv.slice(2);
const email = 'ada@example.org';
const first = 'a long enough password';
const second = 'another long password';
/** @type {string[]} */
const faults = [];
let current = 'start';

const browser = await launch({ camera: false });
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
const page = await openTab(context, 'account', faults);
const at = (/** @type {string} */ id) => page.locator(`[data-testid="${id}"]`).locator('visible=true').first();
const press = (/** @type {string} */ id) => at(id).click();
const shot = (/** @type {string} */ name) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });

/**
 * @param {string} name
 * @param {() => Promise<void>} action
 */
async function step(name, action) {
  current = name;
  await action();
  if (faults.length) throw new Error(`the page reports: ${faults.join('; ')}`);
  console.log(name);
}

/** @param {string} password */
async function signIn(password) {
  await at('auth-email').fill(email);
  await at('auth-password').fill(password);
  await press('auth-submit');
}

async function signOut() {
  await press('account-menu');
  await press('sign-out');
  await at('auth-form').waitFor();
}

async function openAccount() {
  await page.goto(`${base}/sim#/account`);
  await at('account').waitFor();
  await page.locator('[data-testid="account-name"]', { hasText: 'Ada' }).waitFor();
}

let secret = '';
/** @type {string[]} */
let backup = [];
try {
  await step('sign up and confirm the address by letter', async () => {
    await page.goto(`${base}/sim`);
    await press('auth-toggle');
    await at('auth-name').fill('Ada Lens');
    await signIn(first);
    await at('account-menu').waitFor();
    await openAccount();
    await page.locator('.badge', { hasText: 'not confirmed' }).waitFor();
    await page.goto(await letter(letters, email));
    await page.locator('[data-testid="toast"]', { hasText: 'confirmed' }).waitFor();
    await openAccount();
    await page.locator('.badge.good', { hasText: /^confirmed$/ }).waitFor();
    await shot('account');
  });
  await step('set a second factor up', async () => {
    await press('factor-on');
    await at('dialog-password').fill(first);
    await press('dialog-ok');
    secret = await at('factor-secret').innerText();
    await shot('second-factor');
    await at('factor-code').fill(totp(secret));
    await press('dialog-ok');
    backup = (await at('backup-codes').innerText()).trim().split(/\s+/);
    await shot('backup-codes');
    await press('dialog-ok');
    await page.locator('[data-testid="factor-state"].good').waitFor();
  });
  await step('sign in with password and code', async () => {
    await signOut();
    await signIn(first);
    await at('auth-code').fill('000000');
    await press('auth-submit');
    await at('auth-error').waitFor();
    await shot('code');
    await at('auth-code').fill(totp(secret, 1)); // each works once
    await press('auth-submit');
    await at('account-menu').waitFor();
  });
  await step('add a passkey and sign in with it alone', async () => {
    const cdp = await context.newCDPSession(page);
    await cdp.send('WebAuthn.enable');
    await cdp.send('WebAuthn.addVirtualAuthenticator', { options: {
      protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
      automaticPresenceSimulation: true,
    } });
    await openAccount();
    await press('passkey-add');
    await at('dialog-text').fill('Test key');
    await press('dialog-ok');
    await page.locator('[data-testid="passkeys"]', { hasText: 'Test key' }).waitFor();
    await signOut();
    await shot('sign-in');
    await press('auth-passkey');
    await at('account-menu').waitFor();
    await openAccount();
    await page.locator('[data-testid="passkeys"]', { hasText: 'used just now' }).waitFor();
  });
  await step('see and end another session', async () => {
    const other = await browser.newContext({ userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' });
    const answer = await other.request.post(`${base}/api/auth/sign-in/email`, { data: { email, password: first } });
    if (!answer.ok()) throw new Error(await answer.text());
    const verified = await other.request.post(`${base}/api/auth/two-factor/verify-backup-code`, { data: { code: backup[1] } });
    if (!verified.ok()) throw new Error(await verified.text());
    await page.reload();
    await page.locator('[data-testid="sessions"]', { hasText: 'Firefox on Linux' }).waitFor();
    await page.setViewportSize({ width: 390, height: 844 });
    await shot('account-phone');
    await page.setViewportSize({ width: 1280, height: 900 });
    await press('end-session');
    await page.locator('[data-testid="sessions"]', { hasText: 'Firefox on Linux' }).waitFor({ state: 'detached' });
    const body = await (await other.request.get(`${base}/api/auth/get-session`)).text();
    if (body.trim() !== 'null') throw new Error(`the ended session goes on: ${body}`);
    await other.close();
  });
  await step('change the password', async () => {
    await at('password-current').fill('wrong password');
    await at('password-new').fill(second);
    await press('password-save');
    await page.locator('[data-testid="toast"]', { hasText: 'not your password' }).waitFor();
    await at('password-current').fill(first);
    await press('password-save');
    await page.locator('[data-testid="toast"]', { hasText: 'changed' }).waitFor();
  });
  await step('forget the password and choose another by letter', async () => {
    await signOut();
    await press('auth-forgot');
    await shot('forgot');
    await at('auth-email').fill(email);
    await press('auth-submit');
    await at('auth-note').waitFor();
    await page.goto(await letter(letters, email));
    await at('auth-password').waitFor();
    await shot('reset');
    await at('auth-password').fill(first);
    await press('auth-submit');
    await at('auth-note').waitFor();
    await signIn(first);
    await at('auth-code').fill(backup[0]);
    await press('auth-submit');
    await at('account-menu').waitFor();
  });
  await step('delete the account', async () => {
    await openAccount();
    await press('delete-account');
    await at('dialog-password').fill(first);
    await shot('delete');
    await press('dialog-ok');
    await at('auth-form').waitFor();
    await signIn(first);
    await at('auth-error').waitFor();
  });
} catch (err) {
  await shot('failure');
  console.error(`${current}: ${err instanceof Error ? err.stack : err}; ${faults.join('; ')}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
