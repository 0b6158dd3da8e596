// What people get beside the page: letters, and codes of an app.

import { createHmac } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

const LIMIT_MS = 60_000;

/**
 * Waits for a letter to an address and returns its link. Letters without one
 * are taken away.
 * @param {string} folder where letters arrive as files
 * @param {string} to
 * @returns {Promise<string>}
 */
export async function letter(folder, to) {
  for (const end = Date.now() + LIMIT_MS; Date.now() < end;) {
    for (const name of await readdir(folder)) {
      const text = (await readFile(join(folder, name), 'utf8')).replaceAll('=\n', '').replaceAll('=3D', '=');
      if (!text.includes(`To: <${to}>`)) continue;
      await rm(join(folder, name));
      const link = /https?:\/\/\S+/.exec(text);
      if (link) return link[0];
    }
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  throw new Error(`no letter to ${to}`);
}

/**
 * What an authenticator app shows so many steps from now (RFC 6238). Servers
 * take the codes of the steps before and after too: one of the step before ends
 * while it is on its way.
 * @param {string} secret base32
 * @param {number} [steps]
 * @returns {string}
 */
export function totp(secret, steps = 0) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret.replaceAll(' ', '')].map((c) => alphabet.indexOf(c).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const mac = createHmac('sha1', key).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}
