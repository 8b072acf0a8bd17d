// The flow: zoom, drag, and the menus of its boxes.
import { all, byId, closest, one } from "./dom.js";
import { refresh } from "./live.js";

const SMALLEST = 0.2;
const LARGEST = 2;
const STEP = 1.2;
const NOTCH = 1.1; // of a wheel
const SCROLLING = 300; // milliseconds that a wheel which scrolls the page goes on doing so
const BELOW = 240; // pixels that a menu has below its button, or else it opens upwards

/** Starts the drawing of a task instance. */
export function startFlow() {
  const flow = byId("flow");
  const canvas = one(flow, ".canvas");
  startZoom(flow, canvas);
  startDrag(canvas);
  startMenus(flow, canvas);
  one(flow, "[data-reload]").addEventListener("click", refresh);
}

/**
 * @param {HTMLElement} flow
 * @param {HTMLElement} canvas
 */
function startZoom(flow, canvas) {
  const drawings = () => [...all(flow, ".drawing")];
  const shown = () => drawings().find((drawing) => drawing.clientWidth);
  let zoom = 1;
  let scrolled = -SCROLLING;

  function apply() {
    for (const drawing of drawings()) {
      drawing.setAttribute("width", String(Number(drawing.dataset.width) * zoom));
      drawing.setAttribute("height", String(Number(drawing.dataset.height) * zoom));
    }
    one(flow, "output").textContent = `${Math.round(zoom * 100)} %`;
  }

  /** @param {number} wanted */
  function to(wanted) {
    zoom = Math.min(LARGEST, Math.max(SMALLEST, wanted));
    apply();
  }

  /**
   * Zooms, and keeps what is below the pointer there.
   *
   * @param {WheelEvent} pointer
   * @param {number} wanted
   */
  function toward(pointer, wanted) {
    const drawing = shown();
    if (!drawing) return;
    const before = drawing.getBoundingClientRect();
    to(wanted);
    const now = drawing.getBoundingClientRect();
    canvas.scrollLeft += now.left + ((pointer.clientX - before.left) * now.width) / before.width - pointer.clientX;
    canvas.scrollTop += now.top + ((pointer.clientY - before.top) * now.height) / before.height - pointer.clientY;
  }

  function fit() {
    const drawing = shown();
    const room = canvas.clientWidth - 34;
    const width = Number(drawing?.dataset.width ?? 0);
    to(width > room ? Math.max(0.75, room / width) : 1);
    const box = drawing?.querySelector(".selected")?.getBoundingClientRect();
    if (box) canvas.scrollLeft += box.left + box.width / 2 - canvas.getBoundingClientRect().left - canvas.clientWidth / 2;
  }

  /**
   * Returns whether the wheel is the page's: it is being scrolled, or the drawing fills it, or zooming is at its end.
   *
   * @param {WheelEvent} event
   */
  function scrollsPage(event) {
    if (event.ctrlKey || event.metaKey) return false;
    const end = event.deltaY < 0 ? zoom >= LARGEST : zoom <= SMALLEST;
    const filled = getComputedStyle(canvas).maxHeight === "none";
    return event.shiftKey || !event.deltaY || filled || end || event.timeStamp - scrolled < SCROLLING;
  }

  flow.addEventListener("click", (event) => {
    const asked = closest(event, "[data-zoom]")?.dataset.zoom;
    if (asked) to(asked === "one" ? 1 : asked === "in" ? zoom * STEP : zoom / STEP);
  });
  const turned = (/** @type {WheelEvent} */ event) => {
    if (scrollsPage(event)) return;
    event.preventDefault();
    toward(event, event.deltaY < 0 ? zoom * NOTCH : zoom / NOTCH);
  };
  canvas.addEventListener("wheel", turned, { passive: false });
  document.addEventListener("scroll", (event) => (scrolled = event.timeStamp));
  document.addEventListener("refreshed", apply);
  fit();
}

/** @param {HTMLElement} canvas */
function startDrag(canvas) {
  /** @type {{ x: number, y: number } | null} */
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && event.pointerType === "mouse" && !closest(event, "a, button")) {
      from = { x: event.clientX + canvas.scrollLeft, y: event.clientY + canvas.scrollTop };
      canvas.classList.add("dragged");
      canvas.setPointerCapture(event.pointerId);
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    if (from) canvas.scrollTo(from.x - event.clientX, from.y - event.clientY);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      from = null;
      canvas.classList.remove("dragged");
    });
}

/**
 * The browser opens and closes menus; this places them, and returns the focus to the button of a closed one.
 *
 * @param {HTMLElement} flow
 * @param {HTMLElement} canvas
 */
function startMenus(flow, canvas) {
  let opener = "";

  /** @param {Element} button */
  function place(button) {
    const { top, bottom, right } = button.getBoundingClientRect();
    const menu = byId(button.getAttribute("popovertarget") ?? "");
    const below = innerHeight - bottom > BELOW;
    const styles = below ? { top: `${bottom + 4}px`, bottom: "auto" } : { top: "auto", bottom: `${innerHeight - top + 4}px` };
    Object.assign(menu.style, styles, { right: `${document.documentElement.clientWidth - right}px` });
  }

  function back() {
    const focused = document.activeElement;
    if (focused !== document.body && focused?.checkVisibility()) return;
    document.getElementById(opener)?.focus({ preventScroll: true });
  }

  /** An open menu goes with its button, as far as that is to be seen. */
  function follow() {
    const open = document.querySelector("#menus :popover-open");
    const button = document.getElementById(opener);
    if (!(open instanceof HTMLElement) || !button) return;
    const { top, bottom } = button.getBoundingClientRect();
    if (bottom > 0 && top < innerHeight) place(button);
    else open.hidePopover();
  }

  flow.addEventListener("click", (event) => {
    const button = closest(event, "[popovertarget]");
    if (!button) return;
    opener = button.id;
    place(button);
  });
  const toggled = (/** @type {Event} */ event) => {
    const closed = event instanceof ToggleEvent && event.newState === "closed";
    if (closed && event.target instanceof HTMLElement && event.target.popover) back();
  };
  document.addEventListener("toggle", toggled, true);
  byId("confirm").addEventListener("close", back);
  document.addEventListener("scroll", follow);
  canvas.addEventListener("scroll", follow);
}
