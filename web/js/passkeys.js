// Passkeys: add, list, rename, delete, and sign in with one.

import { call } from './api.js';
import { PasskeyError } from './words.js';

/** @typedef {{id: string, name: string, createdAt: string, lastUsedAt?: string, backedUp: boolean}} Passkey */

/** @returns {boolean} whether this browser and page can use passkeys */
export function available() {
  return window.isSecureContext && typeof PublicKeyCredential === 'function'
    && typeof PublicKeyCredential.parseCreationOptionsFromJSON === 'function';
}

/** @returns {Promise<Passkey[]>} */
export const list = () => call('GET', '/api/auth/passkey/list-user-passkeys');

/**
 * @param {string} name
 * @returns {Promise<Passkey>}
 */
export async function add(name) {
  const options = await call('GET', '/api/auth/passkey/generate-register-options');
  const credential = await asked(() => navigator.credentials.create({
    publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options),
  }));
  return call('POST', '/api/auth/passkey/verify-registration', { body: { response: plain(credential), name } });
}

/** @returns {Promise<import('./account.js').User>} */
export async function signIn() {
  const options = await call('GET', '/api/auth/passkey/generate-authenticate-options');
  const credential = await asked(() => navigator.credentials.get({
    publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options),
  }));
  return (await call('POST', '/api/auth/passkey/verify-authentication', { body: { response: plain(credential) } })).user;
}

/** @param {string} id @param {string} name */
export const rename = (id, name) => call('POST', '/api/auth/passkey/update-passkey', { body: { id, name } });

/** @param {string} id */
export const remove = (id) => call('POST', '/api/auth/passkey/delete-passkey', { body: { id } });

/**
 * @param {any} credential
 * @returns {object} what the server reads
 */
function plain(credential) {
  const { clientExtensionResults, ...response } = credential.toJSON();
  return response;
}

/**
 * @param {() => Promise<Credential | null>} ask
 * @returns {Promise<Credential>}
 */
async function asked(ask) {
  try {
    const credential = await ask();
    if (credential) return credential;
  } catch (err) {
    if (err instanceof DOMException && err.name === 'InvalidStateError') throw new PasskeyError('This passkey is already yours.');
    if (!(err instanceof DOMException)) throw err;
  }
  throw new PasskeyError('No passkey was used.');
}
