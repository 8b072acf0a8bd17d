// The drawer below the flow: a tab for each log that was opened, as high as the reader wants it.
import { byId, closest, one } from "./dom.js";
import { goTo } from "./live.js";

const LOWEST = 160;
const HIGHEST = 480;
const STEP = 24;

/** Starts the drawer of a task instance; each log that is looked at gets a tab until that is closed. */
export function startDrawer() {
  const drawer = byId("drawer");
  const card = byId("log-card");
  const tabs = byId("tabs");
  const grip = one(drawer, ".grip");
  const toggle = byId("collapse");
  const kept = `opened ${location.pathname}`;
  /** @type {string[]} */
  let opened = JSON.parse(sessionStorage.getItem(kept) ?? "[]");
  let drawn = "";

  function draw() {
    const current = card.dataset.subtask ?? "";
    if (!drawer.classList.contains("collapsed") && !opened.includes(current)) opened.push(current);
    sessionStorage.setItem(kept, JSON.stringify(opened));
    // A button that is replaced while it is pressed is never clicked.
    const wanted = JSON.stringify([opened, current]);
    if (wanted === drawn) return;
    drawn = wanted;
    tabs.replaceChildren(...opened.map((subtask) => tab(subtask, subtask === current)));
  }

  /**
   * @param {string} subtask
   * @param {boolean} current
   */
  function tab(subtask, current) {
    const box = document.querySelector(`.box[data-subtask="${CSS.escape(subtask)}"]`);
    const name = box?.getAttribute("data-name") ?? subtask;
    const made = document.createElement("span");
    made.className = current ? "tab current" : "tab";
    const opens = button(`${name} (${subtask})`, () => show(subtask));
    const closes = button("×", () => close(subtask));
    opens.setAttribute("aria-pressed", String(current));
    closes.setAttribute("aria-label", `${tabs.dataset.close} ${name}`);
    made.append(opens, closes);
    return made;
  }

  /**
   * @param {string} text
   * @param {() => void} act
   */
  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  /** @param {string} subtask */
  function show(subtask) {
    collapse(false);
    goTo({ subtask, attempt: null });
  }

  /** @param {string} subtask */
  function close(subtask) {
    opened = opened.filter((other) => other !== subtask);
    if (subtask !== card.dataset.subtask) draw();
    else {
      const last = opened.at(-1);
      if (last === undefined) collapse(true);
      else show(last);
    }
  }

  /** @param {boolean} on */
  function collapse(on) {
    drawer.classList.toggle("collapsed", on);
    toggle.setAttribute("aria-expanded", String(!on));
    draw();
  }

  /** @param {number} height */
  function resize(height) {
    const wanted = Math.round(Math.min(HIGHEST, Math.max(LOWEST, height)));
    card.style.height = `${wanted}px`;
    grip.setAttribute("aria-valuenow", String(wanted));
    localStorage.setItem("drawer", String(wanted));
  }

  grip.addEventListener("pointerdown", (event) => {
    const from = event.clientY + card.offsetHeight;
    grip.setPointerCapture(event.pointerId);
    grip.onpointermove = (moved) => resize(from - moved.clientY);
    grip.onpointerup = () => (grip.onpointermove = null);
  });
  grip.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    const step = event.key === "ArrowUp" ? STEP : -STEP;
    event.preventDefault();
    resize(card.offsetHeight + step);
  });
  toggle.addEventListener("click", () => collapse(!drawer.classList.contains("collapsed")));
  document.addEventListener("click", (event) => {
    const asked = closest(event, ".box, #menus a");
    if (!asked || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const menu = asked.closest("[popover]");
    if (menu instanceof HTMLElement) menu.hidePopover();
    show(asked.dataset.subtask ?? "");
  });
  document.addEventListener("refreshed", draw);
  if (localStorage.getItem("drawer")) resize(Number(localStorage.getItem("drawer")));
  draw();
}
