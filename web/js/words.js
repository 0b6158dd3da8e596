// What went wrong and what to do about it, in words for people.

/** @type {Record<string, string>} */
const WORDS = {
  network: 'The server cannot be reached. Check that it is running and that this device is on the network.',
  no_network: 'This device is offline. It reconnects by itself when the network is back.',
  timeout: 'The server took too long to answer. Please try again.',
  internal: 'Something went wrong on the server. Please try again.',
  http_429: 'Too many tries in a short time. Please wait a moment.',

  INVALID_EMAIL_OR_PASSWORD: 'E-mail and password do not match. Check both and try again.',
  USER_ALREADY_EXISTS: 'There is already an account with this e-mail. Sign in instead.',
  USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL: 'There is already an account with this e-mail. Sign in instead.',
  INVALID_EMAIL: 'This does not look like an e-mail address.',
  PASSWORD_TOO_SHORT: 'Choose a longer password: at least 8 characters.',
  PASSWORD_TOO_LONG: 'This password is too long: at most 128 characters.',

  rate_limited: 'Too many tries. Please wait a while before the next one.',
  busy: 'Many people are signing in just now. Please try again in a moment.',
  INVALID_PASSWORD: 'That is not your password.',
  INVALID_TOKEN: 'This link was used before or is too old. Ask for a new one.',
  TOKEN_EXPIRED: 'This link is too old. Ask for a new one.',
  INVALID_CODE: 'That code is not right. Take the one that the app shows now; each works once.',
  INVALID_BACKUP_CODE: 'That is none of your codes, or it was used before.',
  INVALID_TWO_FACTOR_COOKIE: 'That took too long. Please sign in again.',
  TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE: 'Too many wrong codes. Please sign in again.',
  ACCOUNT_TEMPORARILY_LOCKED: 'Too many wrong codes. Please wait a quarter of an hour.',
  EMAIL_NOT_VERIFIED: 'Open the letter that we sent to your address first. We have just sent another one.',
  PASSKEY_NOT_FOUND: 'This passkey is not known here any more.',
  AUTHENTICATION_FAILED: 'The passkey was not accepted. Try again, or sign in by password.',
  PREVIOUSLY_REGISTERED: 'This passkey is already yours.',
  HOST_NAME_NEEDED: 'Passkeys need a name: open this page by its host name, not by an address of numbers.',
  SESSION_NOT_FRESH: 'You signed in more than a day ago. Sign out and in again, then add the passkey.',
  account_disabled: 'This account is disabled. Ask whoever runs the server.',

  insecure: 'Browsers give the camera only to safe pages: https, or localhost on the same machine. '
    + 'Start the server with TLS_SELF_SIGNED=true and open this page with https.',
  NotAllowedError: 'The browser was not allowed to use the camera. Allow it in the address bar, then try again.',
  NotFoundError: 'No camera was found on this device. Plug one in, then try again.',
  NotReadableError: 'The camera is in use by another program. Close it there, then try again.',
  OverconstrainedError: 'The chosen camera is not there any more. Choose another one.',
  AbortError: 'The camera stopped while it was starting. Please try again.',
  source_ended: 'The camera was unplugged or taken by another program.',

  ice_failed: 'The server answers, but no video can get through. A firewall may block UDP: try another network, '
    + 'or set PUBLIC_IPS and open the media and TURN ports on the server.',
  connection_lost: 'The connection to the server was lost. It is being made again.',
  p2p_failed: 'The camera answers, but no way from it to this device was found. Both in the same network always works.',
  p2p_lost: 'The connection to the camera was lost. It is being made again.',
  no_video_support: 'This browser cannot send or play live video (WebRTC is missing or turned off).',

  playback_blocked: 'This browser does not let the page play. Tap the picture once.',

  camera_unavailable: 'The camera did not answer. Check that its tab is open and online.',
  camera_lost: 'The camera stopped sending. It may have lost its network or power.',
  ended_by_camera: 'The camera ended the stream.',
  ended_by_viewer: 'The stream was ended by its viewer.',
  ended_by_user: 'The stream was ended from another page of your account.',
  viewer_left: 'Nobody was watching any more, so the stream was ended.',
  device_deleted: 'The camera was removed from your account.',
  link_revoked: 'This viewer may not watch that camera any more.',
  camera_slow: 'The camera has not answered yet. A phone that sleeps takes a while to wake up.',
  no_publisher: 'The camera is not sending yet.',
};

/** What a person did not do with a passkey; the browser says it as of a camera. */
export class PasskeyError extends Error {}

/**
 * @param {string} code
 * @param {string} [fallback] the server's own sentence
 * @returns {string}
 */
export function wordsFor(code, fallback) {
  return WORDS[code] ?? fallback ?? 'Something went wrong. Please try again.';
}

/**
 * @param {unknown} err
 * @returns {string} a sentence for people, whatever was thrown
 */
export function explain(err) {
  if (err instanceof PasskeyError) return err.message;
  if (err instanceof DOMException) return wordsFor(err.name, err.message);
  if (err instanceof Error) return err.message;
  return wordsFor('');
}
