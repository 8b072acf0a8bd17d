// The connection to the service: its state, which every live page shows, and whether what is shown is current.
import { queryAll } from "./dom.js";
import { formatClock, stopDurations } from "./times.js";

const PROBE_ADDRESS = "/api/status";
const PROBE_INTERVAL = 5000; // milliseconds between two probes of the service
const PROBE_TIMEOUT = 4000; // milliseconds for its response

/** @typedef {"connecting" | "live" | "reconnecting" | "offline"} ConnectionState */

/** @type {ConnectionState} */
let state = "connecting";
let lastUpdate = Date.now(); // when what is shown was current
let offlineSince = 0;

/** Returns whether what is shown may have changed. */
export const isOutdated = () => state === "offline" || state === "reconnecting";

/**
 * Returns whether the service responds.
 *
 * @returns {Promise<boolean>}
 */
export async function probe() {
  try {
    const response = await fetch(PROBE_ADDRESS, { cache: "no-store", signal: AbortSignal.timeout(PROBE_TIMEOUT) });
    return response.ok;
  } catch {
    return false;
  }
}

/** Notes that the event stream is open. */
export function streamOpened() {
  lastUpdate = Date.now();
  show("live");
}

/** Notes that the event stream is lost, or closed because the page was hidden. */
export function streamLost() {
  if (state !== "offline") show("reconnecting");
}

/**
 * Notes whether a request for the content of this page has succeeded.
 *
 * @param {boolean} succeeded
 */
export function requestEnded(succeeded) {
  if (!succeeded) {
    show("offline");
    return;
  }
  lastUpdate = Date.now();
  show(state === "offline" ? "reconnecting" : state);
}

/** @param {ConnectionState} next */
function show(next) {
  if (next === "offline" && state !== "offline") offlineSince = Date.now();
  state = next;
  const outdated = isOutdated();
  document.body.classList.toggle("outdated", outdated);
  stopDurations(outdated ? lastUpdate : null);
  for (const element of queryAll(document, "#connection")) {
    element.dataset.state = next;
    const text = (element.dataset[next] ?? "").replace("{time}", formatClock(new Date(offlineSince)));
    setText(element, ".connection-text", text);
  }
  for (const notice of queryAll(document, "#outdated")) {
    notice.hidden = !outdated;
    if (outdated) setText(notice, "span", (notice.dataset[next] ?? "").replace("{time}", formatClock(new Date(lastUpdate))));
  }
}

/**
 * @param {HTMLElement} element
 * @param {string} selector
 * @param {string} text
 */
function setText(element, selector, text) {
  for (const part of queryAll(element, selector)) if (part.textContent !== text) part.textContent = text;
}

/**
 * Probes the service in intervals. An open event stream does not notice that the network is gone.
 *
 * @param {() => void} reconnect called when the service responds again
 */
export function watchConnection(reconnect) {
  async function check() {
    if (document.hidden) return;
    const before = state;
    if (!(await probe())) show("offline");
    else if (before !== "live") reconnect();
    else if (state === "live") lastUpdate = Date.now();
  }
  setInterval(check, PROBE_INTERVAL);
  addEventListener("offline", () => show("offline"));
  addEventListener("online", check);
}
