// Plays one recording.

import { downloadUrl } from '../recordings.js';
import { explain } from '../words.js';
import { iconButton } from './controls.js';
import { h, show, text } from './dom.js';

const RENEWALS = 3; // a signed address ends while somebody pauses

/**
 * @param {import('../recordings.js').Recording} recording
 * @param {{detail: string, close: () => void, save: () => void}} options
 * @returns {{el: HTMLElement, entitle: (title: string) => void, stop: () => void}}
 */
export function player(recording, { detail, close, save }) {
  const video = h('video', { controls: true, playsInline: true, preload: 'metadata', testid: 'recording-video' });
  const name = h('strong');
  const trouble = h('p.player-trouble', { role: 'alert', testid: 'recording-problem', hidden: true });
  let renewals = 0;
  let stopped = false;

  async function load() {
    try {
      const { url } = await downloadUrl(recording.id);
      if (stopped) return;
      const at = video.currentTime;
      const playing = renewals === 0 || !video.paused;
      video.src = url;
      if (at) video.currentTime = at;
      show(trouble, false);
      if (playing) video.play().catch(() => {}); // the controls are there to press
    } catch (err) {
      text(trouble, explain(err));
      show(trouble, true);
    }
  }
  video.addEventListener('error', () => {
    if (stopped || !video.src) return;
    if (video.error?.code === MediaError.MEDIA_ERR_NETWORK && renewals++ < RENEWALS) {
      load();
      return;
    }
    text(trouble, 'This browser cannot play the recording. Download it and open it in a video player such as VLC.');
    show(trouble, true);
  });
  load();
  return {
    el: h('section.player.card', { 'aria-label': 'Player', testid: 'player' },
      h('div.player-screen', null, video),
      h('div.player-foot', null, h('p', null, name, h('span', null, detail)), trouble,
        iconButton('download', 'Download', save), iconButton('close', 'Close the player', close, 'player-close'))),
    entitle(title) { text(name, title); },
    stop() {
      stopped = true;
      video.removeAttribute('src');
      video.load();
    },
  };
}
