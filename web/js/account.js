// The account: sign up, in and out (the paths and bodies of Better Auth).

import { ApiError, call } from './api.js';

/** @typedef {{id: string, name: string, email: string, emailVerified: boolean, twoFactorEnabled: boolean}} User */
/** @typedef {{id: string, token: string, userAgent: string, ipAddress: string, createdAt: string, updatedAt: string}} Session */

/** Sends an operation of the account. */
const post = (/** @type {string} */ path, /** @type {unknown} */ body = {}) => call('POST', `/api/auth${path}`, { body });

/**
 * @param {{name: string, email: string, password: string}} form
 * @returns {Promise<User | null>} null when the address must be confirmed first
 */
export async function signUp(form) {
  const { token, user } = await post('/sign-up/email', form);
  return token ? user : null;
}

/**
 * @param {{email: string, password: string}} form
 * @returns {Promise<User | null>} null when the second factor is asked for
 */
export async function signIn(form) {
  return (await post('/sign-in/email', form)).user ?? null;
}

/**
 * Shows the second factor: an app's code or a backup code.
 * @param {string} code
 * @param {boolean} trustDevice ask this browser for none for a while
 * @returns {Promise<User>}
 */
export async function showCode(code, trustDevice = false) {
  const digits = code.replace(/\s/g, '');
  const path = /^\d{6}$/.test(digits) ? '/two-factor/verify-totp' : '/two-factor/verify-backup-code';
  return (await post(path, { code: digits, trustDevice })).user;
}

/** @param {string} email */
export const forgotPassword = (email) => post('/request-password-reset', { email, redirectTo: '/sim#/reset-password' });

/** @param {string} token of the letter @param {string} newPassword */
export const resetPassword = (token, newPassword) => post('/reset-password', { token, newPassword });

/** @param {string} email */
export const sendVerification = (email) => post('/send-verification-email', { email, callbackURL: '/sim#/account' });

/** @param {string} newEmail */
export const changeEmail = (newEmail) => post('/change-email', { newEmail, callbackURL: '/sim#/account' });

/** @param {string} name */
export const rename = (name) => post('/update-user', { name });

/** @param {{currentPassword: string, newPassword: string, revokeOtherSessions: boolean}} form */
export const changePassword = (form) => post('/change-password', form);

/** @param {string} password */
export const deleteAccount = (password) => post('/delete-user', { password });

/** @returns {Promise<{session: Session, user: User} | null>} */
export const current = () => call('GET', '/api/auth/get-session');

/** @returns {Promise<Session[]>} */
export const sessions = () => call('GET', '/api/auth/list-sessions');

/** @param {Session} session */
export const endSession = (session) => post('/revoke-session', { token: session.token });

export const endOtherSessions = () => post('/revoke-other-sessions');

/**
 * @param {string} password
 * @returns {Promise<{totpURI: string, backupCodes: string[]}>}
 */
export const beginTwoFactor = (password) => post('/two-factor/enable', { password });

/** @param {string} password */
export const endTwoFactor = (password) => post('/two-factor/disable', { password });

/**
 * @param {string} password
 * @returns {Promise<{backupCodes: string[]}>}
 */
export const newBackupCodes = (password) => post('/two-factor/generate-backup-codes', { password });

export async function signOut() {
  await post('/sign-out');
}

/** @returns {Promise<User | null>} who is signed in in this browser */
export async function currentUser() {
  try {
    return (await call('GET', '/api/auth/get-session'))?.user ?? null;
  } catch (err) {
    if (err instanceof ApiError && err.status === 401) return null;
    throw err;
  }
}
