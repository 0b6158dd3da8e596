// Building and updating elements, without a framework.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * h('button.primary', {testid: 'go', onclick: run}, 'Go') builds an element.
 * Props: "on…" are listeners, "testid" is data-testid, "dataset" is merged,
 * names with a dash and true/false are attributes, the rest are properties.
 * @param {string} spec tag with classes
 * @param {Record<string, any> | null} [props]
 * @param {...(Child | Child[])} children
 * @returns {any} the element; callers know its kind from the tag
 */
export function h(spec, props, ...children) {
  const [tag, ...classes] = spec.split('.');
  const el = document.createElement(tag);
  if (classes.length) el.className = classes.join(' ');
  for (const [name, value] of Object.entries(props ?? {})) set(el, name, value);
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false).map(asNode));
  return el;
}

/** @param {any} child */
function asNode(child) {
  return child instanceof Node ? child : String(child);
}

/**
 * @param {HTMLElement} el
 * @param {string} name
 * @param {any} value
 */
function set(el, name, value) {
  if (value === undefined || value === null) return;
  if (name.startsWith('on')) el.addEventListener(name.slice(2), value);
  else if (name === 'testid') el.dataset.testid = value;
  else if (name === 'dataset') Object.assign(el.dataset, value);
  else if (name.includes('-') || name === 'role' || name === 'for') el.setAttribute(name, String(value));
  else /** @type {any} */ (el)[name] = value;
}

/**
 * Changes a text only when it differs, so that screen readers stay calm.
 * @param {Element} el
 * @param {string} value
 */
export function text(el, value) {
  if (el.textContent !== value) el.textContent = value;
}

/**
 * @param {HTMLElement} el
 * @param {boolean} shown
 */
export function show(el, shown) {
  if (el.hidden === shown) el.hidden = !shown;
}

/**
 * A list whose elements live as long as their items: focus, playing videos
 * and open menus survive an update.
 * @template T
 * @param {HTMLElement} container
 * @param {(item: T) => string} key
 * @param {(item: T) => {el: HTMLElement, update: (item: T) => void, remove?: () => void}} create
 * @returns {(items: T[]) => void} shows these items, in this order
 */
export function keyed(container, key, create) {
  /** @type {Map<string, ReturnType<typeof create>>} */
  const parts = new Map();
  return (items) => {
    const keys = new Set(items.map(key));
    for (const [k, part] of parts) {
      if (keys.has(k)) continue;
      part.remove?.();
      part.el.remove();
      parts.delete(k);
    }
    items.forEach((item, i) => {
      const part = parts.get(key(item)) ?? create(item);
      parts.set(key(item), part);
      part.update(item);
      if (container.children[i] !== part.el) container.insertBefore(part.el, container.children[i] ?? null);
    });
  };
}
