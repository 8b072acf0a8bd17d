// Shows times in the browser's time zone, and running durations.
import { queryAll } from "./dom.js";

const language = document.documentElement.lang;
const units = (document.body.dataset.durationUnits ?? "").split(" ");
const fullFormat = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });

/** @type {WeakMap<Element, number>} */
const clockOffsets = new WeakMap(); // seconds that the browser's clock is ahead of the server's, by element

const twoDigits = (/** @type {number} */ number) => String(number).padStart(2, "0");

/** @type {number | null} */
let stoppedAt = null; // milliseconds since 1970; null = durations grow

/**
 * Returns HH:MM:SS.
 *
 * @param {Date} moment
 */
export function formatClock(moment) {
  return [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(twoDigits).join(":");
}

/**
 * Stops running durations at a time, because what is shown is not current any more; null = they grow again.
 *
 * @param {number | null} moment milliseconds since 1970
 */
export function stopDurations(moment) {
  stoppedAt = moment;
  updateDurations(document);
}

/**
 * Returns HH:MM:SS after the date, without the year if it is the current one. The same in every language.
 *
 * @param {Date} moment
 * @param {string} [style]
 */
function formatTime(moment, style) {
  const clock = formatClock(moment);
  if (style === "clock") return clock;
  const day = `${twoDigits(moment.getMonth() + 1)}-${twoDigits(moment.getDate())}`;
  const year = moment.getFullYear();
  return `${year === new Date().getFullYear() ? day : `${year}-${day}`} ${clock}`;
}

/**
 * Returns a duration such as "1 h 2 m 3 s", in the units of the page; two decimals below one second.
 *
 * @param {number} seconds
 */
function formatDuration(seconds) {
  if (seconds < 1) return `${Math.max(0, seconds).toFixed(2)} ${units[3]}`;
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts.map((part, index) => (part ? `${part} ${units[index]}` : "")).filter(Boolean);
  return shown.join(" ");
}

/**
 * Shows the times and durations below `root` in the time zone and language of the browser.
 *
 * @param {ParentNode} root
 */
export function localizeTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    const moment = new Date(time.dateTime);
    time.textContent = formatTime(moment, time.dataset.style);
    time.title = `${fullFormat.format(moment)} · ${time.dateTime}`;
  }
  // The clocks of browser and server may differ.
  for (const duration of queryAll(root, ".duration"))
    if (!clockOffsets.has(duration)) clockOffsets.set(duration, Date.now() / 1000 - Number(duration.dataset.serverTime));
  updateDurations(root);
}

/**
 * Updates the durations below `root`.
 *
 * @param {ParentNode} root
 */
export function updateDurations(root) {
  for (const duration of queryAll(root, ".duration")) {
    const end = Number(duration.dataset.finish ?? (stoppedAt ?? Date.now()) / 1000 - (clockOffsets.get(duration) ?? 0));
    const text = formatDuration(end - Number(duration.dataset.start));
    if (duration.textContent !== text) duration.textContent = text;
  }
}
