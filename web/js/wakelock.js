// Keeps the screen on while this tab is a camera: a phone that falls asleep
// stops sending.

/** @returns {() => void} lets the screen sleep again */
export function stayAwake() {
  /** @type {WakeLockSentinel | undefined} */
  let lock;
  let wanted = true;
  const take = async () => {
    if (!wanted || document.hidden || !navigator.wakeLock) return;
    lock = await navigator.wakeLock.request('screen').catch(() => undefined); // refused on low battery
    if (!wanted) lock?.release();
  };
  document.addEventListener('visibilitychange', take); // hiding the tab releases it
  take();
  return () => {
    wanted = false;
    document.removeEventListener('visibilitychange', take);
    lock?.release();
  };
}
