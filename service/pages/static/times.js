// Times in the reader's zone, and durations that count.
import { all } from "./dom.js";

const language = document.documentElement.lang;
const units = (document.body.dataset.units ?? "").split(" ");
const exact = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });

/** @type {WeakMap<Element, number>} */
const ahead = new WeakMap(); // seconds by which the reader's clock is ahead of the server's, by duration shown

/**
 * Returns HH:MM:SS, before it the day, and the year if it is another; the same in every language.
 *
 * @param {Date} moment
 * @param {string} [style]
 */
function write(moment, style) {
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const clock = [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":");
  if (style === "clock") return clock;
  const day = `${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
  const year = moment.getFullYear();
  return `${year === new Date().getFullYear() ? day : `${year}-${day}`} ${clock}`;
}

/**
 * Returns "1 h 2 min 3 s" with the page's units; under one second two decimals.
 *
 * @param {number} seconds
 */
export function spell(seconds) {
  if (seconds < 1) return `${Math.max(0, seconds).toFixed(2)} ${units[3]}`;
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts.map((part, index) => (part ? `${part} ${units[index]}` : "")).filter(Boolean);
  return shown.join(" ");
}

/**
 * Puts the times and durations below `root` into the reader's terms.
 *
 * @param {ParentNode} root
 */
export function localize(root) {
  for (const time of root.querySelectorAll("time")) {
    const moment = new Date(time.dateTime);
    time.textContent = write(moment, time.dataset.style);
    time.title = `${exact.format(moment)} · ${time.dateTime}`;
  }
  // Against the server's clock, which the reader's need not agree with.
  for (const lasted of all(root, ".lasted"))
    if (!ahead.has(lasted)) ahead.set(lasted, Date.now() / 1000 - Number(lasted.dataset.now));
  count(root);
}

/**
 * Brings the durations below `root` up to now.
 *
 * @param {ParentNode} root
 */
export function count(root) {
  for (const lasted of all(root, ".lasted")) {
    const end = Number(lasted.dataset.finish ?? Date.now() / 1000 - (ahead.get(lasted) ?? 0));
    const text = spell(end - Number(lasted.dataset.start));
    if (lasted.textContent !== text) lasted.textContent = text;
  }
}
