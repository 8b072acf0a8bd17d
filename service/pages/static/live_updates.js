// Live updates: on events of the service, the page fetches itself and replaces its live parts.
import { isOutdated, requestEnded, streamLost, streamOpened, watchConnection } from "./connection.js";
import { serviceResponds } from "./dialogs.js";
import { queryAll } from "./dom.js";
import { localizeTimes } from "./times.js";

const POLL_INTERVAL = 2000; // milliseconds between two polls while the event stream is not available
const OPEN_TASKS_INTERVAL = 10_000; // milliseconds between two updates of the open tasks without an event stream
const MIN_INTERVAL = 250; // milliseconds between two requests for the same page
const REQUEST_TIMEOUT = 15_000; // milliseconds for the response to such a request
const PRESS_LIMIT = 3000; // milliseconds that a pressed pointer delays the replacement of parts

/**
 * Returns a function that calls `action`. Calls do not overlap; calls during a running one are merged into one.
 *
 * @param {() => unknown} action
 * @param {number} [interval] milliseconds between two calls
 */
export function throttle(action, interval = 0) {
  let busy = false;
  let requested = false;
  return async function run() {
    requested = true;
    if (busy) return;
    busy = true;
    try {
      while (requested) {
        requested = false;
        await action();
        await new Promise((resume) => setTimeout(resume, interval));
      }
    } finally {
      busy = false;
    }
  };
}

/**
 * Calls `handlers[name]` on each event `name` of the stream at `address`, and all handlers after each connect. Polls
 * while the stream is not available.
 *
 * A hidden page closes its stream, because browsers allow few connections per site for all tabs.
 *
 * @param {string} address
 * @param {Record<string, () => unknown>} handlers
 */
export function subscribe(address, handlers) {
  const callAll = () => Object.values(handlers).forEach((handle) => handle());
  /** @type {EventSource | null} */
  let source = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let timer;

  function start() {
    source = new EventSource(address);
    for (const [name, handle] of Object.entries(handlers)) source.addEventListener(name, handle);
    source.addEventListener("open", () => {
      stopPolling();
      streamOpened();
      callAll();
    });
    source.addEventListener("error", () => {
      streamLost();
      timer ||= setInterval(callAll, POLL_INTERVAL);
      // The browser reconnects by itself, except after a response that is no event stream.
      if (source?.readyState === EventSource.CLOSED) setTimeout(restart, 5 * POLL_INTERVAL);
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

  document.addEventListener("visibilitychange", () => {
    streamLost();
    restart();
  });
  addEventListener("pagehide", stop);
  watchConnection(restart);
  restart();
}

/**
 * Returns the document at `address`, or null if the request fails. After a redirect to the login page, reloads.
 *
 * @param {string} address
 */
export async function fetchDocument(address) {
  try {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT);
    const response = await fetch(address, { headers: { Accept: "text/html" }, signal });
    requestEnded(response.status < 500);
    if (!response.ok) streamLost(); // such as 429: what is shown is old, and the next check of the connection repeats it
    if (response.redirected && new URL(response.url).pathname === "/login") location.reload();
    return response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
  } catch {
    if (!leaving) requestEnded(false);
    return null;
  }
}

let leaving = false;
addEventListener("pagehide", () => (leaving = true));
addEventListener("pageshow", () => (leaving = false));

// A button that is replaced between press and release gets no click.
let released = Promise.resolve();
addEventListener("pointerdown", () => {
  released = new Promise((resolve) => {
    // The click follows the release in the same task.
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(resolve), { once: true });
    setTimeout(resolve, PRESS_LIMIT);
  });
});

async function pointerReleased() {
  let before;
  do {
    before = released;
    await before;
  } while (before !== released);
}

let lastRequest = 0;
let shownRequest = 0;

/** Fetches this page and replaces its live parts. */
export async function refresh() {
  const request = ++lastRequest;
  const address = location.href;
  const fresh = await fetchDocument(address);
  await pointerReleased();
  // Ignore responses that are older than the one shown, or for an address that has changed since the request.
  if (!fresh || request < shownRequest || address !== location.href) return;
  shownRequest = request;
  replaceParts(queryAll(document, "[data-live]"), fresh);
  document.dispatchEvent(new CustomEvent("refreshed", { detail: fresh }));
}

/**
 * Shows this page with other query parameters (null = removed), without reloading it.
 *
 * @param {Record<string, string | null>} values
 */
export async function goTo(values) {
  if (isOutdated() && !(await serviceResponds())) return;
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(values))
    if (value === null) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  history.pushState(null, "", address);
  await refresh();
}

/**
 * Replaces `parts` of this page by the elements of `fresh` with the same ids.
 *
 * @param {NodeListOf<HTMLElement>} parts
 * @param {Document} fresh
 */
function replaceParts(parts, fresh) {
  for (const part of parts) {
    const source = fresh.getElementById(part.id);
    if (source) replacePart(part, source);
  }
}

/**
 * @param {HTMLElement} old
 * @param {HTMLElement} source
 */
function replacePart(old, source) {
  const fresh = document.importNode(source, true);
  localizeTimes(fresh);
  if (isUnchanged(old, fresh)) return;
  const focused = old.contains(document.activeElement) ? document.activeElement?.id : "";
  const open = [...queryAll(old, "details[open][id]")].map((details) => details.id);
  const menus = [...queryAll(old, ":popover-open")];
  const checked = [...queryAll(old, "[type=checkbox][id]")].filter((box) => box.matches(":checked"));
  const top = old.scrollTop;
  old.replaceWith(fresh);
  for (const id of open) fresh.querySelector(`#${id}`)?.setAttribute("open", "");
  for (const { id } of checked) {
    const box = fresh.querySelector(`#${id}`);
    if (box instanceof HTMLInputElement) box.checked = true;
  }
  for (const { id, style } of menus) {
    const menu = fresh.querySelector(`#${id}`);
    if (!(menu instanceof HTMLElement)) continue;
    menu.style.cssText = style.cssText;
    menu.showPopover();
  }
  fresh.scrollTop = top;
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/**
 * Returns whether two versions of a part are equal, except for running durations and open menus.
 *
 * @param {HTMLElement} old
 * @param {HTMLElement} fresh
 */
function isUnchanged(old, fresh) {
  const comparable = (/** @type {HTMLElement} */ part) => {
    const copy = /** @type {HTMLElement} */ (part.cloneNode(true));
    for (const duration of queryAll(copy, ".duration:not([data-finish])")) {
      duration.textContent = "";
      duration.removeAttribute("data-server-time");
    }
    const status = copy.querySelector("#selected-count");
    if (status) status.textContent = "";
    for (const field of copy.querySelectorAll("[data-selected]")) field.removeAttribute("value");
    for (const button of queryAll(copy, ".selection button")) button.removeAttribute("disabled");
    for (const details of copy.querySelectorAll("details[open]")) details.removeAttribute("open");
    for (const menu of copy.querySelectorAll("[popover]")) menu.removeAttribute("style");
    return copy.innerHTML;
  };
  return comparable(old) === comparable(fresh);
}

/** Starts the live updates of this page. */
export function startLiveUpdates() {
  const [part] = queryAll(document, "[data-live-url]");
  const refreshPage = throttle(refresh, MIN_INTERVAL);
  const logChanged = () => document.dispatchEvent(new Event("logchanged"));
  if (part) {
    const names = (part.dataset.liveEvents ?? "tasks").split(" ");
    const handlers = names.map((name) => [name, name === "log" ? logChanged : refreshPage]);
    subscribe(part.dataset.liveUrl ?? "", Object.fromEntries(handlers));
  }
  const [openTasks] = queryAll(document, ".open-tasks");
  if (!openTasks) return;
  const refreshTasks = throttle(() => refreshOpenTasks(openTasks), MIN_INTERVAL);
  refreshTasks();
  // A page has one event stream. If it is in use for the page, the open tasks follow it and a timer.
  if (part) setInterval(() => document.hidden || refreshTasks(), OPEN_TASKS_INTERVAL);
  else subscribe(openTasks.dataset.eventsUrl ?? "", { tasks: refreshTasks });
  document.addEventListener("refreshed", refreshTasks);
}

/** @param {HTMLElement} panel */
async function refreshOpenTasks(panel) {
  const fresh = await fetchDocument(panel.dataset.contentUrl ?? "");
  await pointerReleased();
  if (fresh) replaceParts(queryAll(panel, "#open-tasks-counts, #open-tasks-panel"), fresh);
}
