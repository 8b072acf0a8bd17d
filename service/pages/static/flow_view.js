// The flow view: zoom, drag, and the menus of the boxes.
import { byId, closestToTarget, queryAll, queryOne } from "./dom.js";
import { refresh } from "./live_updates.js";

const MIN_ZOOM = 0.2;
const MAX_ZOOM = 2;
const ZOOM_STEP = 1.2; // of a button
const WHEEL_STEP = 1.1;
const SCROLL_TIMEOUT = 300; // milliseconds without scrolling, after which the wheel zooms instead
const MENU_HEIGHT = 240; // pixels below the button; with less space the menu opens upwards

/** Starts the flow view. */
export function startFlowView() {
  const flow = byId("flow");
  const canvas = queryOne(flow, ".canvas");
  startZoom(flow, canvas);
  startDrag(canvas);
  startMenus(flow, canvas);
  queryOne(flow, "[data-reload]").addEventListener("click", refresh);
}

/**
 * @param {HTMLElement} flow
 * @param {HTMLElement} canvas
 */
function startZoom(flow, canvas) {
  const drawings = () => [...queryAll(flow, ".drawing")];
  const visibleDrawing = () => drawings().find((drawing) => drawing.clientWidth);
  let zoom = 1;
  let lastScroll = -SCROLL_TIMEOUT;

  function applyZoom() {
    for (const drawing of drawings()) {
      drawing.setAttribute("width", String(Number(drawing.dataset.width) * zoom));
      drawing.setAttribute("height", String(Number(drawing.dataset.height) * zoom));
    }
    queryOne(flow, "output").textContent = `${Math.round(zoom * 100)} %`;
  }

  /** @param {number} wanted */
  function setZoom(wanted) {
    zoom = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, wanted));
    applyZoom();
  }

  /**
   * Zooms around the pointer.
   *
   * @param {WheelEvent} pointer
   * @param {number} wanted
   */
  function zoomAt(pointer, wanted) {
    const drawing = visibleDrawing();
    if (!drawing) return;
    const before = drawing.getBoundingClientRect();
    setZoom(wanted);
    const now = drawing.getBoundingClientRect();
    canvas.scrollLeft += now.left + ((pointer.clientX - before.left) * now.width) / before.width - pointer.clientX;
    canvas.scrollTop += now.top + ((pointer.clientY - before.top) * now.height) / before.height - pointer.clientY;
  }

  function fitWidth() {
    const drawing = visibleDrawing();
    const available = canvas.clientWidth - 34;
    const width = Number(drawing?.dataset.width ?? 0);
    setZoom(width > available ? Math.max(0.75, available / width) : 1);
    const box = drawing?.querySelector(".selected")?.getBoundingClientRect();
    if (box) canvas.scrollLeft += box.left + box.width / 2 - canvas.getBoundingClientRect().left - canvas.clientWidth / 2;
  }

  /**
   * Returns whether a wheel event scrolls the page: the page is scrolling, or shows the whole drawing, or the zoom is at
   * its limit.
   *
   * @param {WheelEvent} event
   */
  function scrollsPage(event) {
    if (event.ctrlKey || event.metaKey) return false;
    const atLimit = event.deltaY < 0 ? zoom >= MAX_ZOOM : zoom <= MIN_ZOOM;
    const unlimited = getComputedStyle(canvas).maxHeight === "none";
    return event.shiftKey || !event.deltaY || unlimited || atLimit || event.timeStamp - lastScroll < SCROLL_TIMEOUT;
  }

  flow.addEventListener("click", (event) => {
    const action = closestToTarget(event, "[data-zoom]")?.dataset.zoom;
    if (action) setZoom(action === "one" ? 1 : action === "in" ? zoom * ZOOM_STEP : zoom / ZOOM_STEP);
  });
  const onWheel = (/** @type {WheelEvent} */ event) => {
    if (scrollsPage(event)) return;
    event.preventDefault();
    zoomAt(event, event.deltaY < 0 ? zoom * WHEEL_STEP : zoom / WHEEL_STEP);
  };
  canvas.addEventListener("wheel", onWheel, { passive: false });
  document.addEventListener("scroll", (event) => (lastScroll = event.timeStamp));
  document.addEventListener("refreshed", applyZoom);
  fitWidth();
}

/** @param {HTMLElement} canvas */
function startDrag(canvas) {
  /** @type {{ x: number, y: number } | null} */
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && event.pointerType === "mouse" && !closestToTarget(event, "a, button")) {
      from = { x: event.clientX + canvas.scrollLeft, y: event.clientY + canvas.scrollTop };
      canvas.classList.add("dragging");
      canvas.setPointerCapture(event.pointerId);
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    if (from) canvas.scrollTo(from.x - event.clientX, from.y - event.clientY);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      from = null;
      canvas.classList.remove("dragging");
    });
}

/**
 * Positions the menus, which the browser opens and closes, and returns the focus to the button of a closed menu.
 *
 * @param {HTMLElement} flow
 * @param {HTMLElement} canvas
 */
function startMenus(flow, canvas) {
  let openerId = "";

  /** @param {Element} button */
  function positionMenu(button) {
    const { top, bottom, right } = button.getBoundingClientRect();
    const menu = byId(button.getAttribute("popovertarget") ?? "");
    const below = innerHeight - bottom > MENU_HEIGHT;
    const styles = below ? { top: `${bottom + 4}px`, bottom: "auto" } : { top: "auto", bottom: `${innerHeight - top + 4}px` };
    Object.assign(menu.style, styles, { right: `${document.documentElement.clientWidth - right}px` });
  }

  function returnFocus() {
    const focused = document.activeElement;
    if (focused !== document.body && focused?.checkVisibility()) return;
    document.getElementById(openerId)?.focus({ preventScroll: true });
  }

  /** Moves an open menu with its button; closes it when the button is out of view. */
  function followButton() {
    const open = document.querySelector("#box-menus :popover-open");
    const button = document.getElementById(openerId);
    if (!(open instanceof HTMLElement) || !button) return;
    const { top, bottom } = button.getBoundingClientRect();
    if (bottom > 0 && top < innerHeight) positionMenu(button);
    else open.hidePopover();
  }

  flow.addEventListener("click", (event) => {
    const button = closestToTarget(event, "[popovertarget]");
    if (!button) return;
    openerId = button.id;
    positionMenu(button);
  });
  const onToggle = (/** @type {Event} */ event) => {
    const closed = event instanceof ToggleEvent && event.newState === "closed";
    if (closed && event.target instanceof HTMLElement && event.target.popover) returnFocus();
  };
  document.addEventListener("toggle", onToggle, true);
  byId("confirm").addEventListener("close", returnFocus);
  document.addEventListener("scroll", followButton);
  canvas.addEventListener("scroll", followButton);
}
