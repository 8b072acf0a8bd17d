// Page of one task instance: list of subtasks, log, flow view.
import { byId, closestToTarget, queryAll } from "./dom.js";
import { startLogDrawer } from "./log_drawer.js";
import { goTo, refresh, throttle } from "./live_updates.js";
import { LogView } from "./log_view.js";
import { startFlowView } from "./flow_view.js";

const LOG_INTERVAL = 30; // milliseconds between two requests for log lines
const card = byId("log-card");
const logView = new LogView(byId("log"));
const loadLog = throttle(() => logView.loadMore(), LOG_INTERVAL);

document.addEventListener("refreshed", (event) => {
  const fresh = /** @type {CustomEvent<Document>} */ (event).detail;
  logView.setSource(byId("log", fresh));
  const subtask = byId("log-card", fresh).dataset.subtask;
  if (card.dataset.subtask !== subtask) scrollToSubtask(subtask);
  card.dataset.subtask = subtask;
  announceStatus(fresh);
  loadLog();
});

/**
 * Announces the status of the task instance to screen readers.
 *
 * @param {Document} fresh
 */
function announceStatus(fresh) {
  const announcement = byId("status-announcement");
  const text = [...queryAll(fresh, "#task-header .heading .badge, #log-card h2")].map((part) => part.textContent.trim()).join(": ");
  if (announcement.textContent !== text) announcement.textContent = text;
}

/**
 * Scrolls the list of subtasks, but not the page, to a subtask.
 *
 * @param {string} [subtask]
 */
function scrollToSubtask(subtask) {
  const list = document.getElementById("subtasks"); // null in the flow view
  const row = document.getElementById(`subtask-${subtask}`)?.parentElement;
  if (!list || !row || list.scrollHeight <= list.clientHeight) return;
  list.scrollTop = row.offsetTop - (list.clientHeight - row.offsetHeight) / 2;
}

document.addEventListener("logchanged", loadLog);
loadLog();
scrollToSubtask(card.dataset.subtask);
if (document.getElementById("flow")) {
  startFlowView();
  startLogDrawer();
}

/** @param {boolean} on */
function setFullScreen(on) {
  card.classList.toggle("full-screen", on);
  byId("log-full-screen").setAttribute("aria-pressed", String(on));
}

document.addEventListener("click", (event) => {
  if (closestToTarget(event, "[data-full-screen]")) setFullScreen(!card.classList.contains("full-screen"));
  const row = closestToTarget(event, "#subtasks a");
  if (row && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    goTo({ subtask: row.dataset.subtask ?? null, attempt: null });
  }
});
addEventListener("popstate", refresh);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && card.classList.contains("full-screen")) setFullScreen(false);
});
