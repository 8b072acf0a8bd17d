// Typed access to elements of the page.

/**
 * Returns the first match of `selector` below `root`; throws if there is none.
 *
 * @template {Element} [E=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @param {{ new (): E }} [kind]
 * @returns {E}
 */
export function queryOne(root, selector, kind) {
  const found = root.querySelector(selector);
  if (!(found instanceof (kind ?? HTMLElement))) throw new TypeError(`the page has no ${selector}`);
  return /** @type {E} */ (found);
}

/**
 * Returns the element with this id; throws if there is none.
 *
 * @param {string} id
 * @param {Document} [from]
 */
export function byId(id, from = document) {
  const found = from.getElementById(id);
  if (!found) throw new TypeError(`the page has no #${id}`);
  return found;
}

/**
 * Returns the closest match of `selector` at or above an event's target, or null.
 *
 * @param {Event} event
 * @param {string} selector
 */
export function closestToTarget(event, selector) {
  const found = event.target instanceof Element ? event.target.closest(selector) : null;
  return found instanceof HTMLElement || found instanceof SVGElement ? found : null;
}

/**
 * Returns every match of `selector` below `root`.
 *
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {NodeListOf<HTMLElement>}
 */
export function queryAll(root, selector) {
  return root.querySelectorAll(selector);
}
