// Who is told when a camera sees something: this browser, and others.

import * as push from '../push.js';
import * as webhooks from '../webhooks.js';
import { ago } from '../format.js';
import { Latest } from '../latest.js';
import { explain } from '../words.js';
import { busy, emptyState, iconButton, segmented } from './controls.js';
import { ask, confirmDialog } from './dialog.js';
import { removeDevice } from './devicecard.js';
import { h, keyed, show, text } from './dom.js';
import { icon } from './icons.js';
import { attempt, toast } from './toast.js';

/** @typedef {import('../app.js').App} App */
/** @typedef {import('../webhooks.js').Webhook} Webhook */

const LOG_MS = 2_000;

/**
 * @param {App} app
 * @returns {{el: HTMLElement, stop: () => void}}
 */
export function alertsPage(app) {
  const here = browserCard(app);
  const others = otherBrowsers(app);
  const hooks = hookSection();
  const update = () => {
    here.askAgain();
    others.update();
  };
  app.roster.addEventListener('change', update);
  update();
  return {
    el: h('div.recordings', null,
      h('div.page-head', null, h('h1', null, 'Alerts'), h('p.lead', null, 'Who is told when a camera sees something.')),
      here.el, others.el, hooks),
    stop() {
      app.roster.removeEventListener('change', update);
    },
  };
}

/**
 * A switch with its label.
 * @param {string} label
 * @param {string} testid
 * @param {(on: boolean) => Promise<unknown>} onchange
 */
export function toggle(label, testid, onchange) {
  let possible = true;
  const box = h('input', {
    type: 'checkbox', role: 'switch', 'aria-label': label, 'data-testid': testid,
    onchange: async () => {
      box.disabled = true;
      await onchange(box.checked);
      box.disabled = !possible;
    },
  });
  return {
    el: h('label.switch', null, box, h('i', { 'aria-hidden': 'true' })),
    /** @param {boolean} on @param {boolean} [may] be switched */
    update(on, may = true) {
      possible = may;
      box.checked = on;
      box.disabled = !may;
    },
  };
}

/** @param {App} app */
function browserCard(app) {
  const words = h('span', { testid: 'alerts-words' }, 'One moment…');
  const test = h('button.button.small', { type: 'button', testid: 'alerts-test', onclick: () => busy(test, () => attempt(async () => {
    await push.test();
    toast('An alert is on its way.', 'good');
  })) }, 'Send a test');
  const onOff = toggle('Alert this browser', 'alerts-here', async (on) => {
    await attempt(() => (on ? push.enable(`Alerts in ${browserName()}`) : push.disable()));
    await Promise.all([update(), app.roster.refresh()]);
  });
  let unknown = false;
  async function update() {
    let obstacle = push.obstacle();
    let on = false;
    unknown = false;
    try {
      on = await push.enabled();
    } catch (err) {
      unknown = true;
      obstacle = explain(err);
    }
    onOff.update(on, !obstacle);
    show(test, on);
    text(words, obstacle || (on ? 'You are told here, also when no page of SecureCam is open.' : 'Nothing is shown while no page of SecureCam is open.'));
  }
  onOff.update(false, false); // until it is known
  show(test, false);
  update();
  return {
    el: h('section.card.banner', { testid: 'alerts-browser', 'aria-label': 'This browser' },
      h('span.choice-icon', null, icon('bell')), h('p', null, h('strong', null, 'Alert this browser'), words), test, onOff.el),
    /** After a failure: the server may be reachable again. */
    askAgain() { if (unknown) update(); },
  };
}

/** @returns {string} */
function browserName() {
  const ua = navigator.userAgent;
  return /Edg\//.test(ua) ? 'Edge' : /Firefox\//.test(ua) ? 'Firefox' : /Chrom/.test(ua) ? 'Chrome' : /Safari\//.test(ua) ? 'Safari' : 'a browser';
}

/** @param {App} app */
function otherBrowsers(app) {
  const rows = h('ul.device-list');
  const el = h('section.section', null, h('h2', null, 'Other browsers'), rows);
  const showRows = keyed(rows, (/** @type {import('../devices.js').Device} */ d) => d.id, (device) => {
    const name = h('strong');
    return {
      el: h('li.device-row', null, icon('bell'), h('p', null, name, h('span', null, `Since ${ago(device.createdAt)}`)),
        iconButton('trash', 'Remove', () => removeDevice(app, device))),
      update(/** @type {import('../devices.js').Device} */ next) { text(name, next.name); },
    };
  });
  return {
    el,
    update() {
      const others = app.roster.alerted.filter((d) => d.id !== push.deviceId());
      show(el, others.length > 0);
      showRows(others);
    },
  };
}

function hookSection() {
  const rows = h('ul.device-list', { testid: 'webhooks' });
  const none = emptyState('link', 'No other receivers', 'Send alerts to the ntfy app of a phone, or to a program of yours as signed webhooks.');
  const showRows = keyed(rows, (/** @type {Webhook} */ w) => w.id, (hook) => hookRow(hook, refresh));
  const latest = new Latest();
  async function refresh() {
    const due = latest.ask();
    const list = await attempt(() => webhooks.list());
    if (!list || !due()) return;
    show(rows, list.length > 0);
    show(none, list.length === 0);
    showRows(list);
  }
  show(rows, false);
  show(none, false);
  refresh();
  return h('section.section', null,
    h('div.page-head', null, h('h2', null, 'ntfy and webhooks'),
      h('button.button', { type: 'button', testid: 'webhook-add', onclick: () => add(refresh) }, icon('link'), 'Add')),
    rows, none);
}

/** @param {() => Promise<void>} refresh */
async function add(refresh) {
  /** @type {'ntfy' | 'webhook'} */
  let kind = 'ntfy';
  const url = h('input', { type: 'url', required: true, maxLength: 2048, autocomplete: 'off', testid: 'webhook-url' });
  const name = h('input', { value: 'My phone', required: true, maxLength: 60, autocomplete: 'off', testid: 'webhook-name' });
  const token = h('input', { maxLength: 256, autocomplete: 'off', testid: 'webhook-token' });
  const tokenField = h('label.field', null, h('span', null, 'Access token, for a protected topic'), token);
  const urlLabel = h('span');
  const choose = segmented({
    label: 'Kind',
    testid: 'webhook-kind',
    choices: [{ value: 'ntfy', label: 'ntfy topic' }, { value: 'webhook', label: 'Webhook' }],
    onchange: async (value) => { kind = value; update(); },
  });
  const update = () => {
    choose.update(kind);
    show(tokenField, kind === 'ntfy');
    text(urlLabel, kind === 'ntfy' ? 'Address of the topic, https://…/topic' : 'Address, https://…');
  };
  update();
  const form = await ask('Send alerts elsewhere', [choose.el,
    h('label.field', null, h('span', null, 'Name'), name), h('label.field', null, urlLabel, url), tokenField],
  { label: 'Add' }, () => ({ kind, name: name.value.trim(), url: url.value.trim(), accessToken: token.value.trim() || undefined }));
  if (!form) return;
  const made = await attempt(() => webhooks.create(form));
  await refresh();
  if (made?.secret) {
    await ask('Keep this secret', [
      h('p', null, 'Your program checks with it that messages are from this server (Standard Webhooks). It is not shown again.'),
      h('code.secret', { testid: 'webhook-secret' }, made.secret)], { label: 'I have it' }, () => true);
  }
}

/**
 * @param {Webhook} hook
 * @param {() => Promise<void>} refresh
 */
function hookRow(hook, refresh) {
  const name = h('strong');
  const detail = h('span');
  const log = h('ul.delivery-log');
  let timer = 0;
  const details = h('details.delivery-details', { ontoggle: () => {
    clearInterval(timer);
    if (!details.open) return;
    showLog();
    timer = setInterval(() => { if (details.isConnected) showLog(); else clearInterval(timer); }, LOG_MS);
  } }, h('summary', null, 'Last messages'), log);
  const onOff = toggle('Enabled', 'webhook-enabled', async (enabled) => {
    await attempt(() => webhooks.update(hook.id, { enabled }));
    await refresh();
  });
  async function showLog() {
    const list = await attempt(() => webhooks.deliveries(hook.id));
    if (!list) return;
    log.replaceChildren(...(list.length ? list.map((d) => h('li', { dataset: { status: d.status } },
      h('span', null, `${d.type} · ${ago(d.createdAt)}`),
      h('span.status', null, d.status === 'sent' ? 'Delivered' : d.status === 'queued' ? (d.error ? 'Trying again' : 'On its way')
        : `Failed: ${d.responseStatus ? `answered ${d.responseStatus}` : d.error}`),
      d.status === 'queued' ? null : iconButton('again', 'Send again', async () => {
        await attempt(() => webhooks.replay(hook.id, d.id));
        await showLog();
      }))) : [h('li', null, 'Nothing was sent yet.')]));
  }
  return {
    el: h('li.device-row.webhook-row', { testid: 'webhook-row' }, icon(hook.kind === 'ntfy' ? 'bell' : 'link'), h('p', null, name, detail),
      h('button.button.small', { type: 'button', testid: 'webhook-ping', onclick: async () => {
        await attempt(async () => {
          await webhooks.ping(hook.id);
          toast('A test message is on its way.', 'good');
        });
        details.open = true;
        await showLog();
      } }, 'Send a test'), onOff.el,
      iconButton('trash', 'Delete', async () => {
        if (!await confirmDialog(`Delete ${hook.name}?`, 'Nothing more is sent there, and its log is deleted.', 'Delete')) return;
        await attempt(() => webhooks.remove(hook.id));
        await refresh();
      }), details),
    update(/** @type {Webhook} */ next) {
      text(name, next.name);
      text(detail, next.disabledReason === 'gone' ? 'Switched off: the receiver wants no more' : next.url);
      onOff.update(next.enabled);
    },
  };
}
