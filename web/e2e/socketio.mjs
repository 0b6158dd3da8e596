// The seed's kind of client, socket.io-client as npm has it, against a running
// server: node socketio.mjs URL CAMERA_TOKEN CLIENT_TOKEN CAMERA_ID

import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

const [base, cameraToken, clientToken, cameraId] = process.argv.slice(2);
const WAIT_MS = 60_000;

/**
 * @param {object} options
 * @returns {import('socket.io-client').Socket}
 */
const dial = (options) => io(base, { transports: ['websocket'], forceNew: true, ...options });

/** The arguments of the next event of that name. */
const next = (socket, name) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no ${name} event`)), WAIT_MS);
  socket.once(name, (...args) => { clearTimeout(timer); resolve(args); });
});

/** @returns {Promise<any>} what POST answered */
async function post(path, token, body) {
  const response = await fetch(base + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  assert.equal(response.status, 201, await response.clone().text());
  return response.json();
}

const send = (n) => post('/commands', clientToken, { targetDeviceId: cameraId, commandType: 'blink', payload: { n } });

// Both ways to show a token.
const camera = dial({ auth: { token: cameraToken } });
const client = dial({ extraHeaders: { authorization: `Bearer ${clientToken}` } });
let heard;
[[heard]] = await Promise.all([next(camera, 'ready'), next(client, 'ready')]);
assert.equal(heard.deviceId, cameraId);
assert.ok(camera.connected && client.connected);

// A command there, its answer back, with acknowledgement callbacks.
const received = next(camera, 'command:received');
const command = await send(1);
[heard] = await received;
assert.equal(heard.id, command.id);
assert.deepEqual(heard.payload, { n: 1 });
const status = next(client, 'command:status');
const ack = await camera.timeout(WAIT_MS).emitWithAck('command:ack', { commandId: command.id, status: 'acknowledged', result: { lit: true } });
assert.equal(ack.status, 'acknowledged');
let cursor;
[heard, cursor] = await status;
assert.deepEqual([heard.id, heard.status, heard.result], [command.id, 'acknowledged', { lit: true }]);
assert.match(cursor.cursor, /^\d+$/);

// A replayed answer, a wrong one, an unknown event, and one with attachments.
const again = await camera.timeout(WAIT_MS).emitWithAck('command:ack', { commandId: command.id, status: 'rejected' });
assert.equal(again.error.code, 'command_ended');
assert.equal((await camera.timeout(WAIT_MS).emitWithAck('command:ack', { status: 7 })).error.code, 'validation_failed');
assert.equal((await camera.timeout(WAIT_MS).emitWithAck('no:such', {})).error.code, 'unknown_event');
const refused = next(camera, 'error');
camera.emit('command:ack', { commandId: Buffer.from('binary') });
assert.equal((await refused)[0].code, 'binary_not_supported');
assert.ok(camera.connected);

// Away while its command is answered: the client hears of it when it is back.
client.disconnect();
const asked = next(camera, 'command:received');
const missed = await post('/commands', clientToken, { targetDeviceId: cameraId, commandType: 'blink' });
await asked;
await camera.timeout(WAIT_MS).emitWithAck('command:ack', { commandId: missed.id, status: 'rejected', error: 'no lamp' });
client.auth = { after: cursor.cursor };
const late = next(client, 'command:status');
const ready = next(client, 'ready');
client.connect();
assert.equal((await ready)[0].resumed, true);
[heard] = await late;
assert.deepEqual([heard.id, heard.status], [missed.id, 'rejected']);

// A signal to a stream that is not there.
const signal = await client.timeout(WAIT_MS).emitWithAck('webrtc:signal', { streamSessionId: 'none', signal: { type: 'offer', sdp: '' } });
assert.equal(signal.error.code, 'not_found');

// Strangers, and another namespace.
for (const [options, path] of [[{ auth: { token: 'wrong' } }, ''], [{}, ''], [{ auth: { token: cameraToken } }, '/admin']]) {
  const stranger = io(base + path, { transports: ['websocket'], forceNew: true, ...options });
  const [err] = await next(stranger, 'connect_error');
  assert.equal(err.data.code, 'unauthenticated');
  stranger.disconnect();
}

camera.disconnect();
client.disconnect();
console.log(`socket.io-client is content after ${Math.round(performance.now())} ms`);
