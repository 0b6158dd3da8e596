// Where a camera tab's picture and sound come from.

import { startPattern } from './testpattern.js';
import { wordsFor } from './words.js';

/**
 * @typedef {object} Source
 * @property {'camera' | 'pattern'} kind
 * @property {string} id camera device id, or "pattern"
 * @property {string} label
 * @property {MediaStream} stream
 * @property {boolean} mirrored whether a preview should look like a mirror
 * @property {() => void} stop
 */

export const PATTERN = 'pattern';

const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const STEERED = { pan: true, tilt: true, zoom: true }; // where the camera can, and its owner allows it

/**
 * Opens a camera by its device id ("" = the browser's choice) or the test pattern.
 * @param {string} id
 * @returns {Promise<Source>}
 */
export async function openSource(id) {
  if (id === PATTERN) return openPattern();
  if (!navigator.mediaDevices?.getUserMedia) throw new DOMException(wordsFor('insecure'), 'InsecureContext');
  const video = id ? { ...VIDEO, ...STEERED, deviceId: { exact: id } } : { ...VIDEO, ...STEERED, facingMode: { ideal: 'environment' } };
  const stream = await withOrWithoutSound(video);
  const [track] = stream.getVideoTracks();
  track.contentHint = 'motion';
  const settings = track.getSettings();
  return {
    kind: 'camera',
    id: settings.deviceId ?? id,
    label: track.label || 'Camera',
    stream,
    mirrored: settings.facingMode !== 'environment',
    stop: () => stream.getTracks().forEach((t) => t.stop()),
  };
}

/** @returns {Source} */
function openPattern() {
  const { stream, stop } = startPattern();
  return { kind: 'pattern', id: PATTERN, label: 'Test pattern', stream, mirrored: false, stop };
}

/**
 * A camera without a microphone is still a camera.
 * @param {MediaTrackConstraints} video
 * @returns {Promise<MediaStream>}
 */
async function withOrWithoutSound(video) {
  try {
    return await navigator.mediaDevices.getUserMedia({
      video, audio: { echoCancellation: true, noiseSuppression: true },
    });
  } catch {
    return navigator.mediaDevices.getUserMedia({ video });
  }
}

/** @returns {Promise<{id: string, label: string}[]>} cameras that can be chosen */
export async function listCameras() {
  const devices = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []) ?? [];
  return devices.filter((d) => d.kind === 'videoinput' && d.deviceId)
    .map((d, i) => ({ id: d.deviceId, label: d.label || `Camera ${i + 1}` }));
}
