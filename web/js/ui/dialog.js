// Questions: confirm something, enter a name, set up this tab.

import { listCameras, PATTERN } from '../source.js';
import { h } from './dom.js';

/**
 * @param {string} title
 * @param {any[]} body
 * @param {{label: string, kind?: string}} action
 * @param {() => any} value read when the person agrees
 * @returns {Promise<any>} null when cancelled
 */
export function ask(title, body, action, value) {
  return new Promise((resolve) => {
    const form = h('form', { method: 'dialog' },
      h('h2', null, title), body.flat(),
      h('div.dialog-actions', null,
        h('button.button', { type: 'button', onclick: () => dialog.close(), testid: 'dialog-cancel' }, 'Cancel'),
        h(`button.button.${action.kind ?? 'primary'}`, { type: 'submit', testid: 'dialog-ok' }, action.label)));
    const dialog = h('dialog.dialog', { 'aria-label': title, testid: 'dialog' }, form);
    /** @type {any} */
    let answer = null;
    form.addEventListener('submit', () => { answer = value(); });
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.addEventListener('click', (/** @type {MouseEvent} */ e) => { if (e.target === dialog) dialog.close(); });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector('input')?.select();
  });
}

/**
 * @param {string} title
 * @param {string} body
 * @param {string} label of the button that does it
 * @returns {Promise<boolean>}
 */
export async function confirmDialog(title, body, label) {
  return await ask(title, [h('p', null, body)], { label, kind: 'danger' }, () => true) === true;
}

/**
 * Asks for the password before something that needs it.
 * @param {string} title
 * @param {string} body
 * @param {string} label of the button that does it
 * @param {string} [kind]
 * @returns {Promise<string | null>}
 */
export function passwordDialog(title, body, label, kind) {
  const input = h('input', { type: 'password', required: true, maxLength: 128, autocomplete: 'current-password', testid: 'dialog-password' });
  return ask(title, [h('p', null, body), h('label.field', null, h('span', null, 'Your password'), input)], { label, kind }, () => input.value);
}

/**
 * Shows something until it is closed.
 * @param {string} title
 * @param {any[]} body
 * @returns {Promise<void>}
 */
export async function showDialog(title, body) {
  await ask(title, body, { label: 'Done' }, () => true);
}

/**
 * @param {string} title
 * @param {any[]} body above the field
 * @param {string} label of the field
 * @param {Record<string, any>} props of the input
 * @param {string} action
 * @returns {Promise<string | null>}
 */
export function textDialog(title, body, label, props, action) {
  const input = h('input', { required: true, autocomplete: 'off', testid: 'dialog-text', ...props });
  return ask(title, [body, h('label.field', null, h('span', null, label), input)], { label: action }, () => input.value.trim() || null);
}

/**
 * @param {string} value
 * @returns {HTMLLabelElement}
 */
function nameField(value) {
  return h('label.field', null, h('span', null, 'Name'),
    h('input', { value, required: true, maxLength: 60, autocomplete: 'off', testid: 'device-name' }));
}

/**
 * @param {string} current
 * @returns {Promise<string | null>}
 */
export function renameDialog(current) {
  const field = nameField(current);
  return ask('Rename', [field], { label: 'Save' }, () => field.querySelector('input')?.value.trim() || null);
}

/**
 * @param {string} suggestion
 * @returns {Promise<{name: string, sourceId: string} | null>}
 */
export async function cameraDialog(suggestion) {
  const field = nameField(suggestion);
  const cameras = await listCameras();
  const select = sourceSelect();
  fillSources(select, cameras, '');
  const answer = await ask('Make this tab a camera', [
    h('p', null, 'This tab sends its picture and sound when somebody of your account watches.'),
    field,
    h('label.field', null, h('span', null, 'Picture'), select),
  ], { label: 'Start camera' }, () => ({ name: field.querySelector('input')?.value.trim(), sourceId: select.value }));
  return answer?.name ? answer : null;
}

/** @returns {HTMLSelectElement} */
export function sourceSelect() {
  return h('select', { testid: 'source-select' });
}

/**
 * @param {HTMLSelectElement} select
 * @param {{id: string, label: string}[]} cameras
 * @param {string} value
 */
export function fillSources(select, cameras, value) {
  const options = cameras.length ? cameras : [{ id: '', label: 'Camera of this device' }];
  select.replaceChildren(
    ...options.map((c) => h('option', { value: c.id }, c.label)),
    h('option', { value: PATTERN }, 'Test pattern'));
  select.value = value;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}
