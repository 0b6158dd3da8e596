// A picture and a tone for machines without a camera: colour bars, a clock
// that shows whether the picture is live, moving shapes, a beep each second.

const WIDTH = 1280;
const HEIGHT = 720;
const FRAMES_PER_SECOND = 30;
const BARS = ['#c8ccca', '#c9b458', '#5fb3a8', '#5d9c64', '#a5689f', '#c0584c', '#45649e'];
const FONT = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';

/** @returns {{stream: MediaStream, stop: () => void}} */
export function startPattern() {
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
  const started = performance.now();
  let frame = 0;
  const tick = () => draw(context, frame++, (performance.now() - started) / 1000);
  tick();
  const worker = new Worker(new URL('./ticker.js', import.meta.url), { type: 'module' });
  worker.onmessage = tick;
  worker.postMessage(1000 / FRAMES_PER_SECOND);

  const stream = canvas.captureStream(FRAMES_PER_SECOND);
  const tone = startTone();
  for (const track of tone.stream.getAudioTracks()) stream.addTrack(track);
  return {
    stream,
    stop() {
      worker.terminate();
      tone.stop();
      stream.getTracks().forEach((track) => track.stop());
    },
  };
}

/**
 * @param {CanvasRenderingContext2D} c
 * @param {number} frame
 * @param {number} seconds
 */
function draw(c, frame, seconds) {
  const bar = WIDTH / BARS.length;
  BARS.forEach((colour, i) => {
    c.fillStyle = colour;
    c.fillRect(Math.floor(i * bar), 0, Math.ceil(bar), HEIGHT);
  });
  c.fillStyle = '#0e1513';
  c.fillRect(0, HEIGHT * 0.3, WIDTH, HEIGHT * 0.46);
  drawShapes(c, seconds);
  drawClock(c, frame);
}

/**
 * A ball that bounces and a hand that turns once a second.
 * @param {CanvasRenderingContext2D} c
 * @param {number} seconds
 */
function drawShapes(c, seconds) {
  const swing = (/** @type {number} */ period) => Math.abs(((seconds / period) % 2) - 1);
  c.fillStyle = '#3ecfb2';
  c.beginPath();
  c.arc(60 + swing(3.1) * (WIDTH - 120), HEIGHT * 0.885 + (swing(0.7) - 0.5) * 60, 34, 0, 2 * Math.PI);
  c.fill();

  const x = 210;
  const y = HEIGHT * 0.53;
  const angle = seconds * 2 * Math.PI - Math.PI / 2;
  c.lineWidth = 6;
  c.strokeStyle = '#2c3a36';
  c.beginPath();
  c.arc(x, y, 96, 0, 2 * Math.PI);
  c.stroke();
  c.strokeStyle = '#3ecfb2';
  c.beginPath();
  c.arc(x, y, 96, -Math.PI / 2, angle);
  c.moveTo(x, y);
  c.lineTo(x + Math.cos(angle) * 78, y + Math.sin(angle) * 78);
  c.stroke();
}

/**
 * @param {CanvasRenderingContext2D} c
 * @param {number} frame
 */
function drawClock(c, frame) {
  const now = new Date();
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  c.fillStyle = '#eaf1ee';
  c.textAlign = 'left';
  c.textBaseline = 'alphabetic';
  c.font = `600 132px ${FONT}`;
  c.fillText(`${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`, 390, HEIGHT * 0.57);
  c.font = `400 40px ${FONT}`;
  c.fillStyle = '#a3b3ad';
  c.fillText(`SecureCam test pattern  ${String(frame).padStart(6, '0')}`, 396, HEIGHT * 0.68);
}

/**
 * A short soft beep at each full second. Silent where sound needs a click first.
 * @returns {{stream: MediaStream, stop: () => void}}
 */
function startTone() {
  const audio = new AudioContext();
  const out = audio.createMediaStreamDestination();
  const gain = new GainNode(audio, { gain: 0 });
  const tone = new OscillatorNode(audio, { frequency: 660 });
  tone.connect(gain).connect(out);
  tone.start();
  const beep = () => {
    const now = audio.currentTime;
    gain.gain.setTargetAtTime(0.12, now, 0.01);
    gain.gain.setTargetAtTime(0, now + 0.12, 0.03);
  };
  const timer = setInterval(beep, 1000);
  const resume = () => { if (audio.state === 'suspended') audio.resume(); };
  document.addEventListener('pointerdown', resume);
  resume();
  return {
    stream: out.stream,
    stop() {
      clearInterval(timer);
      document.removeEventListener('pointerdown', resume);
      audio.close();
    },
  };
}
