// The administrator's page: one table a section, read from /admin/api. Ids and
// names are put in as text, never as markup.

const main = document.getElementById('main');
const base = new URL('admin/api/', document.baseURI.replace(/admin.*$/, '')).href;

async function call(method, path, query = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  const response = await fetch(url, { method, headers: method === 'GET' ? {} : { 'X-Securecam-Admin': '1' } });
  if (response.ok) return response.status === 204 ? null : response.json();
  let message = `${response.status} ${response.statusText}`;
  try { message = (await response.json()).message; } catch { /* not ours */ }
  throw Object.assign(new Error(message), { status: response.status });
}

function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined));
  return node;
}

const button = (text, onclick, className = '') => el('button', { type: 'button', className, onclick }, text);
const tag = (text, kind = '') => el('span', { className: `tag ${kind}` }, text);
const id = (value) => el('small', {}, el('code', {}, value));
const when = (value) => (value ? new Date(value).toLocaleString() : '–');
const short = (value) => (value ? value.slice(-8) : '–');

function ago(value) {
  if (!value) return 'never';
  const s = Math.max(0, (Date.now() - new Date(value)) / 1000);
  for (const [unit, length] of [['d', 86400], ['h', 3600], ['min', 60]]) if (s >= length) return `${Math.floor(s / length)} ${unit} ago`;
  return 'just now';
}

function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${n.toFixed(i && n < 10 ? 1 : 0)} ${units[i]}`;
}

function toast(text, bad = false) {
  const node = el('div', { className: bad ? 'bad' : '' }, text);
  document.getElementById('toasts').append(node);
  setTimeout(() => node.remove(), bad ? 8000 : 4000);
}

/** Asks before something happens; resolves to whether it may. */
function ask(title, text, action, extra = null) {
  const dialog = document.getElementById('dialog');
  dialog.querySelector('h2').textContent = title;
  dialog.querySelector('p').textContent = text;
  dialog.querySelector('.extra').replaceChildren(...(extra ? [extra] : []));
  dialog.querySelector('.actions').replaceChildren(
    ...(action ? [el('button', { value: 'no' }, 'Cancel'), el('button', { value: 'yes', className: 'bad main' }, action)]
      : [el('button', { value: 'no', className: 'main' }, 'Done')]),
  );
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }));
}

/** A button that asks, does and shows the section again. */
function deed(text, question, method, path, query = {}, className = 'bad') {
  const it = button(text, async () => {
    if (question && !(await ask(text, question, text))) return;
    it.disabled = true;
    try {
      await call(method, path, query);
      toast(`${text}: done.`);
    } catch (err) {
      toast(err.message, true);
    }
    show();
  }, className);
  return it;
}

const NUMBERS = new Set(['Devices', 'Sessions', 'Attempts', 'Size', 'Latency', 'Viewers']);

function table(heads, rows, nothing) {
  if (rows.length === 0) return el('div', { className: 'table' }, el('div', { className: 'empty' }, nothing));
  return el('div', { className: 'table' }, el('table', {},
    heads.length === 0 ? null
      : el('thead', {}, el('tr', {}, heads.map((h) => el('th', { scope: 'col', className: NUMBERS.has(h) ? 'num' : '' }, h)))),
    el('tbody', {}, rows)));
}

const row = (...cells) => el('tr', {}, cells.map((c) => (c instanceof HTMLTableCellElement ? c : el('td', {}, c))));
const num = (text) => el('td', { className: 'num' }, text);
const actions = (...buttons) => el('td', { className: 'actions' }, buttons);

/** A list with pages: each press of "More" adds one, and tells loaded of all that are shown then. */
async function list(path, query, heads, item, nothing, loaded = () => {}) {
  const box = el('div');
  const items = [];
  const load = async (cursor) => {
    const page = await call('GET', path, { ...query, cursor });
    items.push(...page.items);
    box.replaceChildren(table(heads, items.map(item), nothing));
    if (page.nextCursor) box.append(el('p', {}, button('More', () => load(page.nextCursor).catch((err) => toast(err.message, true)))));
    loaded(items);
  };
  await load('');
  return box;
}

async function ready() {
  const response = await fetch(new URL('../../ops/ready', base));
  return (await response.json()).checks ?? [];
}

const words = (value) => value.replaceAll('_', ' ');
const KINDS = { failed: 'bad', sent: '', acknowledged: 'good', rejected: '', ready: 'good' };

/** What is worked through: its states, and what can be done about what failed. */
const QUEUES = {
  pushes: {
    title: 'Pushes', target: 'Device', again: 'Retry', remove: 'This message is forgotten. Its device never gets it.',
    states: { failed: 'Dead letters', queued: 'Queued', sent: 'Sent' },
    nothing: { failed: 'No push has failed.', queued: 'No push is waiting.' },
  },
  'webhook-deliveries': {
    title: 'Webhook deliveries', target: 'Webhook', again: 'Retry', remove: 'This message is forgotten, also in the log of its webhook.',
    states: { failed: 'Dead letters', queued: 'Queued', sent: 'Sent' },
    nothing: { failed: 'No delivery has failed.', queued: 'No delivery is waiting.' },
  },
  commands: {
    title: 'Commands', target: 'Camera', again: 'Retry', remove: 'This command is forgotten.',
    states: { failed: 'Failed', queued: 'Queued', sent: 'Sent, not answered', acknowledged: 'Acknowledged', rejected: 'Rejected' },
    nothing: { failed: 'No command has failed.', queued: 'No command is waiting.', sent: 'No command is without an answer.' },
  },
  uploads: {
    title: 'Awaited uploads', target: 'Camera', again: 'Await again', remove: 'This recording is forgotten. Nothing of it was uploaded.',
    states: { awaiting_upload: 'Awaited', failed: 'Did not come', ready: 'Uploaded' },
    nothing: { failed: 'Every upload came.', awaiting_upload: 'No upload is awaited.' },
  },
};

const AT_A_TIME = 4;

/** Tries jobs again, a few at a time, and no more once the server has enough. */
async function tryAgain(queue, jobs) {
  const left = [...jobs];
  const refused = [];
  let enough = null;
  const work = async () => {
    while (left.length > 0 && !enough) {
      const job = left.shift();
      try {
        await call('POST', `jobs/${queue}/${job.id}/retry`);
      } catch (err) {
        if (err.status === 429) enough = err;
        refused.push(err);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  const not = left.length + refused.length;
  return { done: jobs.length - not, not, why: (enough ?? refused[0])?.message };
}

/** A button for all dead letters that are shown. What is refused stays. */
function retryAll(queue, jobs) {
  const dead = jobs.filter((j) => j.dead);
  if (dead.length < 2) return null;
  const text = queue === 'uploads' ? `Await all ${dead.length} again` : `Retry all ${dead.length}`;
  const all = button(text, async () => {
    if (!(await ask(text, 'What is not possible any more stays here.', text))) return;
    all.disabled = true;
    const { done, not, why } = await tryAgain(queue, dead);
    toast(`${done} done.${not ? ` ${not} not: ${why}` : ''}`, not > 0);
    show();
  });
  return all;
}

/** When a job goes on by itself. */
function nextAttempt(queue, job) {
  const fails = job.failsAt ? el('small', {}, `given up ${when(job.failsAt)}`) : null;
  if (job.awaitsDevice) return el('td', {}, queue === 'uploads' ? 'when the camera uploads' : 'when the camera connects', fails);
  return el('td', {}, when(job.nextAttemptAt), fails);
}

const sections = {
  overview: ['Overview', async () => {
    const [o, checks] = await Promise.all([call('GET', 'overview'), ready()]);
    const tile = (value, label) => el('div', { className: 'tile' }, el('b', {}, value), el('span', {}, label));
    return [
      el('div', { className: 'tiles' }, tile(String(o.users), 'users'), tile(`${o.online} / ${o.devices}`, 'devices online'),
        tile(String(o.mediaSessions), 'cameras live'), tile(String(o.streams), 'streams'),
        tile(String(o.recordings), 'recordings'), tile(bytes(o.recordedBytes), 'recorded')),
      el('section', {}, el('h2', {}, 'What the server depends on'),
        table(['Part', 'State', 'Latency'], checks.map((c) => row(c.name,
          tag(c.status, c.status === 'ok' ? 'good' : 'bad'), num(`${c.latencyMs.toFixed(1)} ms`))), 'Nothing.')),
      el('section', {}, el('h2', {}, 'This process'), table([], [
        row('Version', o.version), row('Running since', when(o.startedAt)),
        row('Numbers', el('a', { href: 'ops/metrics' }, 'metrics')), row('Profiles', el('a', { href: 'admin/pprof/' }, 'pprof')),
        row('API', el('a', { href: 'docs' }, 'documentation')),
      ], '')),
    ];
  }],

  users: ['Users', async (query) => {
    const search = el('input', { type: 'search', placeholder: 'Address or name', value: query.text ?? '', ariaLabel: 'Search users' });
    search.addEventListener('change', () => go('users', { text: search.value }));
    return [
      el('div', { className: 'bar' }, el('h2', {}, 'Users'), search),
      await list('users', { text: query.text }, ['User', 'State', 'Devices', 'Sessions', 'Last seen', 'Since', ''], (u) => row(
        el('td', {}, u.email, el('small', {}, u.name)),
        u.disabledAt ? tag('disabled', 'bad') : tag(u.emailVerified ? 'active' : 'not verified', u.emailVerified ? 'good' : 'warn'),
        num(el('a', { href: `#devices?userId=${u.id}` }, String(u.devices))), num(String(u.sessions)), ago(u.lastSeenAt), when(u.createdAt),
        actions(
          button('Reset link', () => resetLink(u)),
          deed('Sign out', `${u.email} has to sign in again, and every device needs a new token.`, 'POST', `users/${u.id}/sign-out`),
          u.disabledAt ? deed('Enable', '', 'POST', `users/${u.id}/enable`, {}, '')
            : deed('Disable', `${u.email} loses all connections now and cannot sign in.`, 'POST', `users/${u.id}/disable`),
          deed('Delete', `${u.email}, all devices and all recordings are deleted. That cannot be undone.`, 'DELETE', `users/${u.id}`),
        )), 'No such user.'),
    ];
  }],

  devices: ['Devices', async (query) => [
    el('div', { className: 'bar' }, el('h2', {}, 'Devices'), query.userId ? button('Show all', () => go('devices')) : null),
    await list('devices', { userId: query.userId }, ['Device', 'Role', 'State', 'Program', 'Last seen', 'User', ''], (d) => row(
      el('td', {}, d.name, id(d.id)), d.role, tag(d.status, d.status === 'online' ? 'good' : ''),
      [d.platform, d.appVersion].filter(Boolean).join(' ') || '–', ago(d.lastSeenAt), el('a', { href: `#devices?userId=${d.userId}` }, d.userEmail),
      actions(
        deed('Revoke', `“${d.name}” loses its token and all it has open. Its owner can give it a new one.`, 'POST', `devices/${d.id}/revoke`),
        deed('Delete', `“${d.name}” is deleted. Its recordings stay.`, 'DELETE', `devices/${d.id}`),
      )), 'No devices.'),
  ]],

  live: ['Live', async () => {
    const live = await call('GET', 'live');
    return [
      el('section', {}, el('div', { className: 'bar' }, el('h2', {}, 'Cameras publishing'), button('Refresh', () => show())),
        table(['Camera', 'Of', 'Viewers', 'Node', 'Since', ''], live.mediaSessions.map((m) => row(
          el('td', {}, m.cameraName, id(m.cameraDeviceId)), m.userEmail,
          num(String(live.streams.filter((s) => s.mediaSessionId === m.id && s.status === 'streaming').length)), short(m.nodeId), when(m.createdAt),
          actions(deed('End', 'The camera stops publishing and everybody stops watching it.', 'POST', `media-sessions/${m.id}/end`)))), 'No camera is live.')),
      el('section', {}, el('h2', {}, 'Streams'),
        table(['Client', 'Of', 'State', 'Camera', 'Since', ''], live.streams.map((s) => row(
          el('td', {}, s.requesterName, id(s.requesterDeviceId)), s.userEmail, tag(s.status, s.status === 'streaming' ? 'good' : 'warn'), el('td', {}, s.cameraName, id(s.cameraDeviceId)),
          when(s.createdAt), actions(deed('End', 'This client stops watching.', 'POST', `streams/${s.id}/end`)))), 'Nobody is watching.')),
    ];
  }],

  jobs: ['Jobs', async (query) => {
    const queue = QUEUES[query.queue] ? query.queue : 'pushes';
    const { states } = QUEUES[queue];
    const status = states[query.status] ? query.status : 'failed';
    const choice = (name, values, now) => el('select', { ariaLabel: name, onchange: (e) => go('jobs', { queue, status, [name]: e.target.value }) },
      Object.entries(values).map(([value, text]) => el('option', { value, selected: value === now }, text)));
    const names = Object.fromEntries(Object.entries(QUEUES).map(([name, { title }]) => [name, title]));
    const again = el('span');
    const heads = ['Job', 'State', 'Attempts', QUEUES[queue].target, 'Queued', 'Next attempt', ''];
    const shown = await list(`jobs/${queue}`, { status }, heads, (j) => row(
      el('td', {}, j.type, j.error ? el('small', {}, j.error) : null), tag(words(j.status), KINDS[j.status] ?? 'warn'),
      num(queue === 'uploads' ? '–' : String(j.attempts)), el('td', {}, j.targetName, id(j.targetId)), when(j.createdAt), nextAttempt(queue, j),
      actions(
        j.dead ? deed(QUEUES[queue].again, '', 'POST', `jobs/${queue}/${j.id}/retry`, {}, '') : null,
        j.status === 'failed' ? deed('Delete', QUEUES[queue].remove, 'DELETE', `jobs/${queue}/${j.id}`) : null,
      )), QUEUES[queue].nothing[status] ?? 'Nothing here.', (jobs) => again.replaceChildren(...[retryAll(queue, jobs)].filter(Boolean)));
    return [
      el('div', { className: 'bar' }, el('h2', {}, 'Jobs'), again,
        choice('queue', names, queue), choice('status', states, status), button('Refresh', () => show())),
      shown,
    ];
  }],

  objects: ['Objects', async (query) => {
    const folder = query.folder ?? '';
    const parts = folder ? folder.split('/') : [];
    const box = el('div');
    const entries = [];
    const key = (name) => [...parts, name].join('/');
    const load = async (after) => {
      const page = await call('GET', 'objects', { folder, after });
      entries.push(...page.items);
      box.replaceChildren(table(['Name', 'Size', 'Modified', ''], entries.map((e) => (e.name.endsWith('/')
        ? row(el('a', { href: `#objects?folder=${encodeURIComponent(key(e.name.slice(0, -1)))}` }, e.name), num(''), '', '')
        : row(e.name, num(bytes(e.size ?? 0)), when(e.modifiedAt), actions(
          button('Download', () => { location.href = new URL(`../objects/${key(e.name)}`, base).href; }),
          deed('Delete', `${key(e.name)} is deleted. That cannot be undone.`, 'DELETE', 'objects', { key: key(e.name) }))))), 'This folder is empty.'));
      if (page.more) box.append(el('p', {}, button('More', () => load(entries.at(-1).name).catch((err) => toast(err.message, true)))));
    };
    await load('');
    const crumbs = [el('a', { href: '#objects' }, 'objects')];
    parts.forEach((part, i) => crumbs.push(' / ', i === parts.length - 1 ? part
      : el('a', { href: `#objects?folder=${encodeURIComponent(parts.slice(0, i + 1).join('/'))}` }, part)));
    return [el('div', { className: 'bar' }, el('div', { className: 'crumbs' }, crumbs)), box];
  }],

  audit: ['Audit', async () => [
    el('div', { className: 'bar' }, el('h2', {}, 'What was done')),
    await list('audit', {}, ['When', 'What', 'To', 'By', 'From', 'More'], (e) => row(
      when(e.createdAt), e.action, el('td', {}, short(e.targetId), id(e.targetId)),
      e.metadata?.admin ? tag(e.metadata.admin, 'warn') : e.actorDeviceId ? `device ${short(e.actorDeviceId)}` : e.actorUserId ? `user ${short(e.actorUserId)}` : 'server',
      e.ipAddress || '–', el('small', {}, e.metadata ? JSON.stringify(e.metadata) : '')), 'Nothing yet.'),
  ]],
};

async function resetLink(user) {
  try {
    const link = await call('POST', `users/${user.id}/reset-link`);
    const field = el('input', { readOnly: true, value: link.url, ariaLabel: 'Link' });
    field.addEventListener('focus', () => field.select());
    await ask('Reset link', `Whoever opens this link before ${when(link.expiresAt)} chooses a new password for ${user.email}.`, null, field);
  } catch (err) {
    toast(err.message, true);
  }
}

function go(name, query = {}) {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  location.hash = search ? `${name}?${search}` : name;
}

let shown = 0;
let there = null; // whose content stands on the page
async function show() {
  const turn = ++shown;
  const { hash } = location;
  // What stands there is of another place, and the right thing may take a while.
  if (hash !== there) main.replaceChildren(el('div', { className: 'table' }, el('div', { className: 'empty' }, 'One moment…')));
  there = hash;
  const [name, search] = location.hash.slice(1).split('?');
  const [, render] = sections[name] ?? sections.overview;
  for (const link of document.querySelectorAll('#tabs a')) {
    if (link.hash === `#${sections[name] ? name : 'overview'}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  try {
    const content = await render(Object.fromEntries(new URLSearchParams(search)));
    if (turn === shown) main.replaceChildren(...content);
  } catch (err) {
    if (turn === shown) main.replaceChildren(el('div', { className: 'table' }, el('div', { className: 'empty' }, err.message)));
  }
}

document.getElementById('tabs').append(...Object.entries(sections).map(([name, [title]]) => el('a', { href: `#${name}` }, title)));
addEventListener('hashchange', show);
show();
