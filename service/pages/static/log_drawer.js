// The drawer below the flow view: a tab for each open log, with adjustable height.
import { byId, closestToTarget, queryOne } from "./dom.js";
import { goTo } from "./live_updates.js";

const MIN_HEIGHT = 160; // pixels
const MAX_HEIGHT = 480;
const HEIGHT_STEP = 24; // of an arrow key

/** Starts the drawer. Each log that is shown gets a tab, until the user closes it. */
export function startLogDrawer() {
  const drawer = byId("drawer");
  const card = byId("log-card");
  const tabs = byId("tabs");
  const handle = queryOne(drawer, ".resize-handle");
  const toggle = byId("collapse");
  const storageKey = `open-logs ${location.pathname}`;
  /** @type {string[]} */
  let openLogs = JSON.parse(sessionStorage.getItem(storageKey) ?? "[]");
  let drawnTabs = "";

  function drawTabs() {
    const current = card.dataset.subtask ?? "";
    if (!drawer.classList.contains("collapsed") && !openLogs.includes(current)) openLogs.push(current);
    sessionStorage.setItem(storageKey, JSON.stringify(openLogs));
    // Keep unchanged tabs: a button that is replaced while it is pressed gets no click event.
    const newTabs = JSON.stringify([openLogs, current]);
    if (newTabs === drawnTabs) return;
    drawnTabs = newTabs;
    tabs.replaceChildren(...openLogs.map((subtask) => createTab(subtask, subtask === current)));
  }

  /**
   * @param {string} subtask
   * @param {boolean} current
   */
  function createTab(subtask, current) {
    const box = document.querySelector(`.box[data-subtask="${CSS.escape(subtask)}"]`);
    const name = box?.getAttribute("data-name") ?? subtask;
    const tab = document.createElement("span");
    tab.className = current ? "tab current" : "tab";
    const showButton = createButton(`${name} (${subtask})`, () => show(subtask));
    const closeButton = createButton("×", () => close(subtask));
    showButton.setAttribute("aria-pressed", String(current));
    closeButton.setAttribute("aria-label", `${tabs.dataset.closeText} ${name}`);
    tab.append(showButton, closeButton);
    return tab;
  }

  /**
   * @param {string} text
   * @param {() => void} action
   */
  function createButton(text, action) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", action);
    return button;
  }

  /** @param {string} subtask */
  function show(subtask) {
    collapse(false);
    goTo({ subtask, attempt: null });
  }

  /** @param {string} subtask */
  function close(subtask) {
    openLogs = openLogs.filter((other) => other !== subtask);
    if (subtask !== card.dataset.subtask) drawTabs();
    else {
      const last = openLogs.at(-1);
      if (last === undefined) collapse(true);
      else show(last);
    }
  }

  /** @param {boolean} on */
  function collapse(on) {
    drawer.classList.toggle("collapsed", on);
    toggle.setAttribute("aria-expanded", String(!on));
    drawTabs();
  }

  /** @param {number} height */
  function resize(height) {
    const limited = Math.round(Math.min(MAX_HEIGHT, Math.max(MIN_HEIGHT, height)));
    card.style.height = `${limited}px`;
    handle.setAttribute("aria-valuenow", String(limited));
    localStorage.setItem("drawer-height", String(limited));
  }

  handle.addEventListener("pointerdown", (event) => {
    const from = event.clientY + card.offsetHeight;
    handle.setPointerCapture(event.pointerId);
    handle.onpointermove = (moved) => resize(from - moved.clientY);
    handle.onpointerup = () => (handle.onpointermove = null);
  });
  handle.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    const step = event.key === "ArrowUp" ? HEIGHT_STEP : -HEIGHT_STEP;
    event.preventDefault();
    resize(card.offsetHeight + step);
  });
  toggle.addEventListener("click", () => collapse(!drawer.classList.contains("collapsed")));
  document.addEventListener("click", (event) => {
    const link = closestToTarget(event, ".box, #box-menus a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const menu = link.closest("[popover]");
    if (menu instanceof HTMLElement) menu.hidePopover();
    show(link.dataset.subtask ?? "");
  });
  document.addEventListener("refreshed", drawTabs);
  if (localStorage.getItem("drawer-height")) resize(Number(localStorage.getItem("drawer-height")));
  drawTabs();
}
