// Staying fresh: the service says that something has changed, and the page's live parts are fetched anew.
import { all } from "./dom.js";
import { localize } from "./times.js";

const POLL = 2000; // milliseconds between two looks while nothing can be listened to
const SLOWLY = 10_000; // milliseconds between two looks at what is under way elsewhere
const REST = 250; // milliseconds between two fetches of a page, however much happens

/**
 * Returns a function that calls `act`, one call at a time and at most one waiting.
 *
 * @param {() => unknown} act
 * @param {number} [rest] milliseconds between two calls
 */
export function calmly(act, rest = 0) {
  let busy = false;
  let again = false;
  return async function run() {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) {
        again = false;
        await act();
        await new Promise((resume) => setTimeout(resume, rest));
      }
    } finally {
      busy = false;
    }
  };
}

/**
 * Calls `handlers[name]` on each event `name` of `address`, and all of them whenever it listens again; polls where it
 * cannot listen.
 *
 * A page that nobody sees listens to nothing: a browser has only a few connections for all of its tabs.
 *
 * @param {string} address
 * @param {Record<string, () => unknown>} handlers
 */
export function listen(address, handlers) {
  const everything = () => Object.values(handlers).forEach((handle) => handle());
  /** @type {EventSource | null} */
  let source = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let timer;

  function start() {
    source = new EventSource(address);
    for (const [name, handle] of Object.entries(handlers)) source.addEventListener(name, handle);
    source.addEventListener("open", () => {
      stopPolling();
      everything();
    });
    source.addEventListener("error", () => {
      timer ||= setInterval(everything, POLL);
      // The browser comes back by itself, but not after an answer that is no stream.
      if (source?.readyState === EventSource.CLOSED) setTimeout(restart, 5 * POLL);
    });
  }

  function stopPolling() {
    clearInterval(timer);
    timer = undefined;
  }

  function stop() {
    source?.close();
    source = null;
    stopPolling();
  }

  function restart() {
    stop();
    if (!document.hidden) start();
  }

  document.addEventListener("visibilitychange", restart);
  addEventListener("pagehide", stop);
  restart();
}

/**
 * Returns the document at `address`, or null when it cannot be had now. Follows a redirection to the login page.
 *
 * @param {string} address
 */
export async function get(address) {
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  } catch {
    return null;
  }
}

let asked = 0;
let shown = 0;

/** Replaces the live parts of this page by what they are now. */
export async function refresh() {
  const turn = ++asked;
  const address = location.href;
  const fresh = await get(address);
  // Answers overtake each other: one that is older than what is shown, or of where the reader has left, says nothing.
  if (!fresh || turn < shown || address !== location.href) return;
  shown = turn;
  renew(all(document, "[data-live]"), fresh);
  document.dispatchEvent(new CustomEvent("refreshed", { detail: fresh }));
}

/**
 * Shows this page with other values in its address, null for none, without loading it anew.
 *
 * @param {Record<string, string | null>} values
 */
export function goTo(values) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(values))
    if (value === null) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  history.pushState(null, "", address);
  return refresh();
}

/**
 * Replaces `parts` of this page by those of `fresh` with the same ids.
 *
 * @param {NodeListOf<HTMLElement>} parts
 * @param {Document} fresh
 */
function renew(parts, fresh) {
  for (const part of parts) {
    const now = fresh.getElementById(part.id);
    if (now) exchange(part, now);
  }
}

/**
 * @param {HTMLElement} old
 * @param {HTMLElement} now
 */
function exchange(old, now) {
  const made = document.importNode(now, true);
  localize(made);
  if (same(old, made)) return;
  const focused = old.contains(document.activeElement) ? document.activeElement?.id : "";
  const open = [...all(old, "details[open][id]")].map((details) => details.id);
  const menus = [...all(old, ":popover-open")];
  const top = old.scrollTop;
  old.replaceWith(made);
  for (const id of open) made.querySelector(`#${id}`)?.setAttribute("open", "");
  for (const { id, style } of menus) {
    const menu = made.querySelector(`#${id}`);
    if (!(menu instanceof HTMLElement)) continue;
    menu.style.cssText = style.cssText;
    menu.showPopover();
  }
  made.scrollTop = top;
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/**
 * Returns whether nothing has changed but what counts by itself.
 *
 * @param {HTMLElement} old
 * @param {HTMLElement} made
 */
function same(old, made) {
  const plain = (/** @type {HTMLElement} */ part) => {
    const copy = /** @type {HTMLElement} */ (part.cloneNode(true));
    for (const lasted of all(copy, ".lasted:not([data-finish])")) {
      lasted.textContent = "";
      lasted.removeAttribute("data-now");
    }
    for (const details of copy.querySelectorAll("details[open]")) details.removeAttribute("open");
    for (const menu of copy.querySelectorAll("[popover]")) menu.removeAttribute("style");
    return copy.innerHTML;
  };
  return plain(old) === plain(made);
}

/** Starts whatever this page has that lives. */
export function watch() {
  const [part] = all(document, "[data-live-source]");
  const fresh = calmly(refresh, REST);
  const said = () => document.dispatchEvent(new Event("said"));
  if (part) {
    const names = (part.dataset.liveEvents ?? "tasks").split(" ");
    listen(part.dataset.liveSource ?? "", Object.fromEntries(names.map((name) => [name, name === "log" ? said : fresh])));
  }
  const [bubble] = all(document, ".bubble");
  if (!bubble) return;
  const look = calmly(() => fill(bubble), REST);
  look();
  // One stream a page: where the page has its own, that one or a slow clock looks after the bubble.
  if (part) setInterval(() => document.hidden || look(), SLOWLY);
  else listen(bubble.dataset.events ?? "", { tasks: look });
  document.addEventListener("refreshed", look);
}

/** @param {HTMLElement} bubble */
async function fill(bubble) {
  const fresh = await get(bubble.dataset.source ?? "");
  if (fresh) renew(all(bubble, "#bubble-counts, #bubble-panel"), fresh);
}
