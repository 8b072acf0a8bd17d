// Staying fresh: the service says that something has changed, and the page's live parts are fetched anew.
import { localize } from "./times.js";

const POLL = 2000; // milliseconds between two looks while nothing can be listened to
const REST = 250; // milliseconds between two fetches of a page, however much happens

/** Calls `act` when asked to, one call at a time and at most one waiting. */
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
 * Calls `changed` on any of the `names` events of `address`, and after each reconnect; polls where it cannot listen.
 * The browser reconnects by itself, with the id of the last event it got.
 */
export function listen(address, names, changed) {
  const source = new EventSource(address);
  let timer = 0;
  let opened = false;
  for (const name of names) source.addEventListener(name, changed);
  source.addEventListener("open", () => {
    clearInterval(timer);
    timer = 0;
    if (opened) changed();
    opened = true;
  });
  source.addEventListener("error", () => {
    timer ||= setInterval(changed, POLL);
    // What the browser gave up on (an answer that is no stream) is tried anew.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => retry(), 5 * POLL);
  });
  let closed = false;
  let next = null;
  function retry() {
    if (closed) return;
    next = listen(address, names, changed);
    clearInterval(timer);
  }
  return () => {
    closed = true;
    clearInterval(timer);
    source.close();
    next?.();
  };
}

/** The document at `address`, or null when it is not to be had now. Where it sends to the login page, so do we. */
export async function get(address) {
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  } catch {
    return null;
  }
}

/** Replaces the live parts of this page by what they are now. */
export async function refresh() {
  const fresh = await get(location.href);
  if (!fresh) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (now) exchange(part, now);
  }
  document.dispatchEvent(new Event("refreshed"));
}

function exchange(old, now) {
  const made = document.importNode(now, true);
  localize(made);
  if (same(old, made)) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
  const scrolled = [...old.querySelectorAll("[data-keep-scroll]")].map((box) => [box.id, box.scrollTop, box.scrollLeft]);
  old.replaceWith(made);
  for (const id of open) made.querySelector(`#${id}`)?.setAttribute("open", "");
  for (const [id, top, left] of scrolled) made.querySelector(`#${id}`)?.scrollTo({ top, left, behavior: "instant" });
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** Whether nothing has changed but what counts anyway. */
function same(old, made) {
  const plain = (part) => {
    const copy = part.cloneNode(true);
    for (const lasted of copy.querySelectorAll(".lasted:not([data-finish])")) {
      lasted.textContent = "";
      lasted.removeAttribute("data-now");
    }
    for (const details of copy.querySelectorAll("details[open]")) details.removeAttribute("open");
    return copy.innerHTML;
  };
  return plain(old) === plain(made);
}

/** Starts whatever this page has that lives. */
export function watch() {
  const list = document.querySelector("[data-live-source]");
  if (list) listen(list.dataset.liveSource, list.dataset.liveEvents?.split(" ") ?? ["task", "tasks", "change"], calmly(refresh, REST));
  const bubble = document.querySelector(".bubble");
  if (!bubble) return;
  const look = calmly(() => fill(bubble), REST);
  look();
  if (!list) listen(bubble.dataset.events, ["task", "tasks", "change"], look);
  document.addEventListener("refreshed", look);
}

async function fill(bubble) {
  const fresh = await get(bubble.dataset.source);
  if (!fresh) return;
  const [counts, panel] = [fresh.querySelector("[data-counts]"), fresh.querySelector("[data-panel]")];
  localize(panel);
  bubble.querySelector("[data-bubble-counts]").replaceChildren(document.importNode(counts, true));
  bubble.querySelector("[data-bubble-panel]").replaceChildren(document.importNode(panel, true));
}
