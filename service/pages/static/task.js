// The page of one task instance: its log follows, its flow is moved about, and both stay fresh.
import { startDrawer } from "./drawer.js";
import { calmly, goTo, refresh } from "./live.js";
import { LogView } from "./log.js";
import { startFlow } from "./flow.js";

const REST = 30; // milliseconds between two looks for new lines
const card = document.getElementById("log-card");
const view = new LogView(document.getElementById("log"));
const look = calmly(() => view.more(), REST);

document.addEventListener("refreshed", (event) => {
  const fresh = event.detail;
  view.show(fresh.getElementById("log"));
  const now = fresh.getElementById("log-card").dataset.subtask;
  if (card.dataset.subtask !== now) locate(now);
  card.dataset.subtask = now;
  speak(fresh);
  look();
});

/** Says to those who listen rather than look what the task has come to. */
function speak(fresh) {
  const spoken = document.getElementById("spoken");
  const said = [...fresh.querySelectorAll("#head .heading .badge, #log-card h2")].map((part) => part.textContent.trim()).join(": ");
  if (spoken.textContent !== said) spoken.textContent = said;
}

/** Scrolls the list, and nothing else, to a subtask. */
function locate(subtask) {
  const list = document.getElementById("subtasks");
  const row = document.getElementById(`subtask-${subtask}`)?.parentElement;
  if (!row || list.scrollHeight <= list.clientHeight) return;
  list.scrollTop = row.offsetTop - (list.clientHeight - row.offsetHeight) / 2;
}

document.addEventListener("said", look);
look();
locate(card.dataset.subtask);
if (document.getElementById("flow")) {
  startFlow();
  startDrawer();
}

function full(on) {
  card.classList.toggle("full", on);
  document.getElementById("log-full").setAttribute("aria-pressed", String(on));
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-full]")) full(!card.classList.contains("full"));
  const row = event.target.closest("#subtasks a");
  if (row && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    goTo({ subtask: row.dataset.subtask, attempt: null });
  }
});
addEventListener("popstate", refresh);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && card.classList.contains("full")) full(false);
});
