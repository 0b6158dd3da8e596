// The last picture that this browser saw of each camera, small, so that the
// camera list shows places instead of grey boxes. Stays in this browser.

const PREFIX = 'securecam.still.';
const WIDTH = 480;
const HEIGHT = 270;

/**
 * Keeps the video's present frame.
 * @param {string} cameraId
 * @param {HTMLVideoElement} video
 */
export function keep(cameraId, video) {
  if (!video.videoWidth) return;
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  cover(canvas, video, video.videoWidth, video.videoHeight);
  try {
    localStorage.setItem(PREFIX + cameraId, canvas.toDataURL('image/jpeg', 0.6));
  } catch {
    forgetAll(); // full: stills are the least important thing in there
  }
}

/**
 * Draws the kept picture into a canvas.
 * @param {string} cameraId
 * @param {HTMLCanvasElement} canvas
 * @returns {Promise<boolean>} false when there is none
 */
export async function draw(cameraId, canvas) {
  const saved = localStorage.getItem(PREFIX + cameraId);
  if (!saved) return false;
  const bytes = Uint8Array.from(atob(saved.slice(saved.indexOf(',') + 1)), (c) => c.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: 'image/jpeg' })).catch(() => null);
  if (!image) return false;
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  cover(canvas, image, image.width, image.height);
  image.close();
  return true;
}

/** @param {string} cameraId */
export function forget(cameraId) {
  localStorage.removeItem(PREFIX + cameraId);
}

export function forgetAll() {
  for (const key of Object.keys(localStorage)) if (key.startsWith(PREFIX)) localStorage.removeItem(key);
}

/**
 * Fills the canvas, cutting what does not fit.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasImageSource} image
 * @param {number} width
 * @param {number} height
 */
function cover(canvas, image, width, height) {
  const scale = Math.max(canvas.width / width, canvas.height / height);
  const w = width * scale;
  const h = height * scale;
  canvas.getContext('2d')?.drawImage(image, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
}
