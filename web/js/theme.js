// Light or dark: the system's choice unless this browser made its own.

const KEY = 'securecam.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

/** @returns {'light' | 'dark'} what is shown now */
export function shown() {
  const own = document.documentElement.dataset.theme;
  if (own === 'light' || own === 'dark') return own;
  return dark.matches ? 'dark' : 'light';
}

/** @param {() => void} act when the system's choice is another one */
export function onSystemChange(act) {
  dark.addEventListener('change', act);
}

/** Switches to the other one; back at the system's choice it follows the system again. */
export function toggle() {
  const next = shown() === 'dark' ? 'light' : 'dark';
  if ((next === 'dark') === dark.matches) {
    localStorage.removeItem(KEY);
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem(KEY, next);
    document.documentElement.dataset.theme = next;
  }
}

const saved = localStorage.getItem(KEY);
if (saved) document.documentElement.dataset.theme = saved;
