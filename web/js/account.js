// The account: sign up, in and out (the paths and bodies of Better Auth).

import { ApiError, call } from './api.js';

/** @typedef {{id: string, name: string, email: string}} User */

/**
 * @param {{name: string, email: string, password: string}} form
 * @returns {Promise<User>}
 */
export async function signUp(form) {
  return (await call('POST', '/api/auth/sign-up/email', { body: form })).user;
}

/**
 * @param {{email: string, password: string}} form
 * @returns {Promise<User>}
 */
export async function signIn(form) {
  return (await call('POST', '/api/auth/sign-in/email', { body: form })).user;
}

export async function signOut() {
  await call('POST', '/api/auth/sign-out', { body: {} });
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
