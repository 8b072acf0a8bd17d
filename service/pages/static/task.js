// The page of one task instance: its log follows, its flow is moved about, and both stay fresh.
import { all, byId, closest } from "./dom.js";
import { startDrawer } from "./drawer.js";
import { calmly, goTo, refresh } from "./live.js";
import { LogView } from "./log.js";
import { startFlow } from "./flow.js";

const REST = 30; // milliseconds between two looks for new lines
const card = byId("log-card");
const view = new LogView(byId("log"));
const look = calmly(() => view.more(), REST);

document.addEventListener("refreshed", (event) => {
  const fresh = /** @type {CustomEvent<Document>} */ (event).detail;
  view.show(byId("log", fresh));
  const now = byId("log-card", fresh).dataset.subtask;
  if (card.dataset.subtask !== now) locate(now);
  card.dataset.subtask = now;
  speak(fresh);
  look();
});

/**
 * Tells screen readers the state of the task instance.
 *
 * @param {Document} fresh
 */
function speak(fresh) {
  const spoken = byId("spoken");
  const said = [...all(fresh, "#head .heading .badge, #log-card h2")].map((part) => part.textContent.trim()).join(": ");
  if (spoken.textContent !== said) spoken.textContent = said;
}

/**
 * Scrolls the list, and nothing else, to a subtask.
 *
 * @param {string} [subtask]
 */
function locate(subtask) {
  const list = document.getElementById("subtasks"); // only the log view has it
  const row = document.getElementById(`subtask-${subtask}`)?.parentElement;
  if (!list || !row || list.scrollHeight <= list.clientHeight) return;
  list.scrollTop = row.offsetTop - (list.clientHeight - row.offsetHeight) / 2;
}

document.addEventListener("said", look);
look();
locate(card.dataset.subtask);
if (document.getElementById("flow")) {
  startFlow();
  startDrawer();
}

/** @param {boolean} on */
function full(on) {
  card.classList.toggle("full", on);
  byId("log-full").setAttribute("aria-pressed", String(on));
}

document.addEventListener("click", (event) => {
  if (closest(event, "[data-full]")) full(!card.classList.contains("full"));
  const row = closest(event, "#subtasks a");
  if (row && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    goTo({ subtask: row.dataset.subtask ?? null, attempt: null });
  }
});
addEventListener("popstate", refresh);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && card.classList.contains("full")) full(false);
});
