// The drawer below the flow: a tab for each log that was opened, as high as the reader wants it.
import { goTo } from "./live.js";

const LOWEST = 160;
const HIGHEST = 480;
const STEP = 24;

/** Starts the drawer of a task instance; each log that is looked at gets a tab until that is closed. */
export function startDrawer() {
  const drawer = document.getElementById("drawer");
  const card = document.getElementById("log-card");
  const tabs = document.getElementById("tabs");
  const grip = drawer.querySelector(".grip");
  const toggle = document.getElementById("collapse");
  const kept = `opened ${location.pathname}`;
  let opened = JSON.parse(sessionStorage.getItem(kept) ?? "[]");
  let drawn = "";

  function draw() {
    const current = card.dataset.subtask;
    if (!drawer.classList.contains("collapsed") && !opened.includes(current)) opened.push(current);
    sessionStorage.setItem(kept, JSON.stringify(opened));
    // A button that is replaced while it is pressed is never clicked.
    const wanted = JSON.stringify([opened, current]);
    if (wanted === drawn) return;
    drawn = wanted;
    tabs.replaceChildren(...opened.map((subtask) => tab(subtask, subtask === current)));
  }

  function tab(subtask, current) {
    const box = document.querySelector(`.box[data-subtask="${CSS.escape(subtask)}"]`);
    const name = box?.dataset.name ?? subtask;
    const made = document.createElement("span");
    made.className = current ? "tab current" : "tab";
    made.append(button(`${name} (${subtask})`, () => show(subtask)), button("×", () => close(subtask)));
    made.firstChild.setAttribute("aria-pressed", String(current));
    made.lastChild.setAttribute("aria-label", `${tabs.dataset.close} ${name}`);
    return made;
  }

  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  function show(subtask) {
    collapse(false);
    goTo({ subtask, attempt: null });
  }

  function close(subtask) {
    opened = opened.filter((other) => other !== subtask);
    if (subtask !== card.dataset.subtask) draw();
    else if (opened.length) show(opened.at(-1));
    else collapse(true);
  }

  function collapse(on) {
    drawer.classList.toggle("collapsed", on);
    toggle.setAttribute("aria-expanded", String(!on));
    draw();
  }

  function resize(height) {
    const wanted = Math.round(Math.min(HIGHEST, Math.max(LOWEST, height)));
    card.style.height = `${wanted}px`;
    grip.setAttribute("aria-valuenow", wanted);
    localStorage.setItem("drawer", wanted);
  }

  grip.addEventListener("pointerdown", (event) => {
    const from = event.clientY + card.offsetHeight;
    grip.setPointerCapture(event.pointerId);
    grip.onpointermove = (moved) => resize(from - moved.clientY);
    grip.onpointerup = () => (grip.onpointermove = null);
  });
  grip.addEventListener("keydown", (event) => {
    const step = { ArrowUp: STEP, ArrowDown: -STEP }[event.key];
    if (!step) return;
    event.preventDefault();
    resize(card.offsetHeight + step);
  });
  toggle.addEventListener("click", () => collapse(!drawer.classList.contains("collapsed")));
  document.addEventListener("click", (event) => {
    const asked = event.target.closest(".box, #menus a");
    if (!asked || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    asked.closest("[popover]")?.hidePopover();
    show(asked.dataset.subtask);
  });
  document.addEventListener("refreshed", draw);
  if (localStorage.getItem("drawer")) resize(Number(localStorage.getItem("drawer")));
  draw();
}
