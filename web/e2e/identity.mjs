// Better Auth's own client, unmodified, against a running server: everything
// that it offers for accounts by e-mail, second factors and passkeys.
// usage: node identity.mjs URL FOLDER, where the letters arrive as files

import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

import { passkeyClient } from '@better-auth/passkey/client';
import { createAuthClient } from 'better-auth/client';
import { twoFactorClient } from 'better-auth/client/plugins';

import * as letters from './letters.mjs';

const [base, folder] = process.argv.slice(2);
const PASSWORD = 'correct horse battery';
const letter = (to) => letters.letter(folder, to);
const totp = (uri, steps) => letters.totp(new URL(uri).searchParams.get('secret'), steps);

/** A client with cookies of its own, as each browser has. */
function browser(agent) {
  const cookies = new Map();
  const client = createAuthClient({
    baseURL: base,
    plugins: [twoFactorClient(), passkeyClient()],
    fetchOptions: {
      customFetchImpl: async (url, init) => {
        const headers = new Headers(init?.headers);
        headers.set('cookie', [...cookies].map(([name, value]) => `${name}=${value}`).join('; '));
        headers.set('origin', base);
        headers.set('user-agent', agent);
        const response = await fetch(url, { ...init, headers });
        for (const line of response.headers.getSetCookie()) {
          const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
          if (/max-age=(0|-)/i.test(line)) cookies.delete(name);
          else cookies.set(name, value);
        }
        return response;
      },
    },
  });
  return client;
}

/** The data of an answer that must be no error. */
async function ok(promise) {
  const { data, error } = await promise;
  assert.equal(error, null, JSON.stringify(error));
  return data;
}

/** The answer must be this error. */
async function refused(promise, status, code) {
  const { error } = await promise;
  assert.deepEqual({ status: error?.status, code: error?.code }, { status, code });
}

/** Follows a letter's link and returns where it leads. */
async function open(link) {
  const response = await fetch(link, { redirect: 'manual' });
  assert.equal(response.status, 302, await response.text());
  return new URL(response.headers.get('location'), base);
}

/** Installs a security key in the place of the browser's: ES256, no attestation. */
function plugInKey() {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const id = randomBytes(16);
  const { x, y } = publicKey.export({ format: 'jwk' });
  const bytes = (b) => Buffer.concat([Buffer.from([0x58, b.length]), b]);
  const cose = Buffer.concat([Buffer.from('a5010203262001', 'hex'), Buffer.from([0x21]), bytes(Buffer.from(x, 'base64url')),
    Buffer.from([0x22]), bytes(Buffer.from(y, 'base64url'))]);
  const rp = createHash('sha256').update(new URL(base).hostname).digest();
  let counter = 0;
  let handle;
  const data = (flags, more = Buffer.alloc(0)) => {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(counter++);
    return Buffer.concat([rp, Buffer.from([flags]), count, more]);
  };
  const client = (type, challenge) => Buffer.from(JSON.stringify({
    type, challenge: Buffer.from(challenge).toString('base64url'), origin: base, crossOrigin: false,
  }));
  const credential = (response) => ({
    id: id.toString('base64url'), rawId: id, type: 'public-key', authenticatorAttachment: 'cross-platform', response,
    getClientExtensionResults: () => ({}),
  });
  globalThis.PublicKeyCredential = class {};
  globalThis.window = globalThis;
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { credentials: {
    async create({ publicKey: options }) {
      handle = options.user.id;
      const attested = Buffer.concat([Buffer.alloc(16), Buffer.from([0, id.length]), id, cose]);
      const authData = data(0x45, attested);
      const size = Buffer.from([0x58, authData.length]);
      // {fmt: "none", attStmt: {}, authData: …} in CBOR
      const head = Buffer.concat([Buffer.from([0xa3, 0x63]), Buffer.from('fmt'), Buffer.from([0x64]), Buffer.from('none'),
        Buffer.from([0x67]), Buffer.from('attStmt'), Buffer.from([0xa0, 0x68]), Buffer.from('authData')]);
      const attestationObject = Buffer.concat([head, size, authData]);
      return credential({ clientDataJSON: client('webauthn.create', options.challenge), attestationObject, getTransports: () => ['usb'] });
    },
    async get({ publicKey: options }) {
      const clientDataJSON = client('webauthn.get', options.challenge);
      const authenticatorData = data(0x05);
      const signed = Buffer.concat([authenticatorData, createHash('sha256').update(clientDataJSON).digest()]);
      return credential({ clientDataJSON, authenticatorData, signature: sign('sha256', signed, privateKey), userHandle: handle });
    },
  } } });
}

const email = 'ada@example.org';
const ada = browser('first');

// Sign up, verify the address by letter, sign in elsewhere, list, revoke.
const up = await ok(ada.signUp.email({ name: 'Ada', email, password: PASSWORD }));
assert.equal(up.user.email, email);
assert.equal((await ok(ada.getSession())).user.emailVerified, false);
await open(await letter(email));
assert.equal((await ok(ada.getSession())).user.emailVerified, true);
await refused(ada.signUp.email({ name: 'Ada', email, password: PASSWORD }), 422, 'USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL');
await refused(browser('x').signIn.email({ email, password: 'wrong horse' }), 401, 'INVALID_EMAIL_OR_PASSWORD');
await refused(ada.sendVerificationEmail({ email }), 400, 'EMAIL_ALREADY_VERIFIED');

const second = browser('second');
await ok(second.signIn.email({ email, password: PASSWORD, rememberMe: false }));
const sessions = await ok(ada.listSessions());
assert.deepEqual(sessions.map((s) => s.userAgent).sort(), ['first', 'second']);
assert.ok(sessions.every((s) => s.expiresAt instanceof Date));
const current = (await ok(ada.getSession())).session.token;
await ok(ada.revokeSession({ token: sessions.find((s) => s.token !== current).token }));
assert.equal(await ok(second.getSession()), null);
await ok(second.signIn.email({ email, password: PASSWORD }));
await ok(ada.revokeOtherSessions());
assert.equal(await ok(second.getSession()), null);
assert.notEqual(await ok(ada.getSession()), null);

// Name and password.
await ok(ada.updateUser({ name: 'Ada L.' }));
assert.equal((await ok(ada.getSession())).user.name, 'Ada L.');
assert.equal((await ok(ada.listAccounts()))[0].providerId, 'credential');
await refused(ada.changePassword({ currentPassword: 'wrong horse', newPassword: `${PASSWORD}2` }), 400, 'INVALID_PASSWORD');
const changed = await ok(ada.changePassword({ currentPassword: PASSWORD, newPassword: `${PASSWORD}2`, revokeOtherSessions: true }));
assert.equal(changed.token, (await ok(ada.getSession())).session.token);

// Forgotten: the letter's link leads to the page, with a token for once.
await ok(second.requestPasswordReset({ email: 'nobody@example.org', redirectTo: '/sim' }));
await ok(second.requestPasswordReset({ email, redirectTo: '/sim#/reset-password' }));
const page = await open(await letter(email));
const token = page.searchParams.get('token');
await ok(second.resetPassword({ newPassword: PASSWORD, token }));
await refused(second.resetPassword({ newPassword: PASSWORD, token }), 400, 'INVALID_TOKEN');
assert.equal(await ok(ada.getSession()), null);
await ok(ada.signIn.email({ email, password: PASSWORD }));

// Second factor.
const enabled = await ok(ada.twoFactor.enable({ password: PASSWORD }));
assert.equal(enabled.backupCodes.length, 10);
await refused(ada.twoFactor.verifyTotp({ code: '000000' }), 401, 'INVALID_CODE');
await ok(ada.twoFactor.verifyTotp({ code: totp(enabled.totpURI) }));
assert.equal((await ok(ada.getSession())).user.twoFactorEnabled, true);
assert.equal((await ok(ada.twoFactor.getTotpUri({ password: PASSWORD }))).totpURI, enabled.totpURI);
const challenge = await ok(second.signIn.email({ email, password: PASSWORD }));
assert.deepEqual({ ...challenge }, { twoFactorRedirect: true, twoFactorMethods: ['totp'] });
assert.equal(await ok(second.getSession()), null);
const code = totp(enabled.totpURI, 1); // each works once
await ok(second.twoFactor.verifyTotp({ code, trustDevice: true }));
assert.equal((await ok(second.getSession())).user.email, email);
await ok(second.signOut());
await ok(second.signIn.email({ email, password: PASSWORD }));
assert.notEqual(await ok(second.getSession()), null, 'a trusted browser is asked for no code');
const third = browser('third');
await ok(third.signIn.email({ email, password: PASSWORD }));
await refused(third.twoFactor.verifyTotp({ code }), 401, 'INVALID_CODE');
const { backupCodes } = await ok(ada.twoFactor.generateBackupCodes({ password: PASSWORD }));
await ok(third.twoFactor.verifyBackupCode({ code: backupCodes[0] }));
await ok(third.signOut());

// Passkeys.
plugInKey();
const passkey = await ok(ada.passkey.addPasskey({ name: 'Key' }));
assert.equal(passkey.name, 'Key');
const fourth = browser('fourth');
assert.equal((await ok(fourth.signIn.passkey())).user.email, email);
assert.equal((await ok(fourth.getSession())).user.email, email);
assert.equal((await ok(ada.$fetch('/passkey/update-passkey', { method: 'POST', body: { id: passkey.id, name: 'Desk' } }))).passkey.name, 'Desk');
assert.equal((await ok(ada.$fetch('/passkey/list-user-passkeys')))[0].name, 'Desk');
await ok(ada.$fetch('/passkey/delete-passkey', { method: 'POST', body: { id: passkey.id } }));
await refused(fourth.signIn.passkey(), 401, 'PASSKEY_NOT_FOUND');

await ok(ada.twoFactor.disable({ password: PASSWORD }));
assert.equal((await ok(ada.getSession())).user.twoFactorEnabled, false);

// Another address: the old one agrees, then the new one.
await ok(ada.changeEmail({ newEmail: 'lovelace@example.org', callbackURL: '/sim' }));
await open(await letter(email));
await open(await letter('lovelace@example.org'));
assert.equal((await ok(ada.getSession())).user.email, 'lovelace@example.org');

// The end.
await refused(ada.deleteUser({ password: 'wrong horse' }), 400, 'INVALID_PASSWORD');
assert.equal((await ok(ada.deleteUser({ password: PASSWORD }))).success, true);
assert.equal(await ok(ada.getSession()), null);
assert.equal(await ok(fourth.getSession()), null);
await refused(ada.signIn.email({ email: 'lovelace@example.org', password: PASSWORD }), 401, 'INVALID_EMAIL_OR_PASSWORD');
console.log('everything that the client offers works');
process.exit(0);
