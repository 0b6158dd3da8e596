// Calls to the server: one function, one error type.

import { wordsFor } from './words.js';

const TIMEOUT_MS = 20_000;

/** A call that did not succeed. status is 0 when the server was not reached. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code stable, for programs
   * @param {string} message a sentence for people
   * @param {number} [retryAfter] seconds to wait, when the server said so
   */
  constructor(status, code, message, retryAfter) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** @returns {boolean} whether the same call may succeed a little later */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * @typedef {object} CallOptions
 * @property {unknown} [body] sent as JSON
 * @property {string} [token] device token; the session cookie is used without one
 * @property {AbortSignal} [signal]
 * @property {boolean} [keepalive] let the call outlive the page
 */

/**
 * Sends a request and returns the decoded JSON answer (undefined when empty).
 * @param {string} method
 * @param {string} path
 * @param {CallOptions} [options]
 * @returns {Promise<any>}
 */
export async function call(method, path, { body, token, signal, keepalive } = {}) {
  /** @type {Record<string, string>} */
  const headers = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await send(path, {
    method,
    headers,
    keepalive,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: token ? 'omit' : 'same-origin',
    cache: 'no-store',
  }, signal);
  if (!response.ok) throw await failure(response);
  const text = await textOf(response);
  return text ? JSON.parse(text) : undefined;
}

/**
 * fetch with a time limit whose network failures are ApiErrors.
 * @param {string | URL} url
 * @param {RequestInit} init
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
export async function send(url, init, signal) {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await fetch(url, { ...init, signal: signal ? AbortSignal.any([signal, limit]) : limit });
  } catch (err) {
    if (signal?.aborted) throw signal.reason;
    if (limit.aborted) throw new ApiError(0, 'timeout', wordsFor('timeout'));
    throw new ApiError(0, 'network', wordsFor(navigator.onLine ? 'network' : 'no_network'));
  }
}

/**
 * What a response says. A connection that breaks meanwhile is an ApiError.
 * @param {Response} response
 * @returns {Promise<string>}
 */
export async function textOf(response) {
  try {
    return await response.text();
  } catch {
    throw new ApiError(0, 'network', wordsFor(navigator.onLine ? 'network' : 'no_network'));
  }
}

/**
 * Reads a problem document (RFC 9457) or a Better Auth error into an ApiError.
 * @param {Response} response
 * @returns {Promise<ApiError>}
 */
export async function failure(response) {
  const problem = await response.json().catch(() => ({}));
  const code = problem.code ?? `http_${response.status}`;
  const detail = problem.message ?? problem.detail ?? problem.title;
  const retryAfter = Number.parseFloat(response.headers.get('retry-after') ?? '') || undefined;
  return new ApiError(response.status, code, wordsFor(code, detail), retryAfter);
}
