// The flow: zoom and drag.

const SMALLEST = 0.2;
const LARGEST = 2;
const STEP = 1.2;

export function startFlow() {
  const flow = document.getElementById("flow");
  const canvas = flow.querySelector(".canvas");
  let zoom = 1;

  function apply() {
    for (const drawing of flow.querySelectorAll(".drawing")) {
      drawing.setAttribute("width", drawing.dataset.width * zoom);
      drawing.setAttribute("height", drawing.dataset.height * zoom);
    }
    flow.querySelector("output").textContent = `${Math.round(zoom * 100)} %`;
  }

  function to(wanted) {
    zoom = Math.min(LARGEST, Math.max(SMALLEST, wanted));
    apply();
  }

  function fit() {
    const shown = [...flow.querySelectorAll(".drawing")].find((drawing) => drawing.clientWidth);
    const room = canvas.clientWidth - 34;
    to(shown && shown.dataset.width > room ? Math.max(0.75, room / shown.dataset.width) : 1);
  }

  flow.addEventListener("click", (event) => {
    const asked = event.target.closest("[data-zoom]")?.dataset.zoom;
    if (asked) to(asked === "one" ? 1 : asked === "in" ? zoom * STEP : zoom / STEP);
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls
      event.preventDefault();
      to(zoom * (event.deltaY < 0 ? 1.1 : 1 / 1.1));
    },
    { passive: false },
  );

  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && event.pointerType === "mouse" && !event.target.closest("a")) {
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

  document.addEventListener("refreshed", apply);
  fit();
}
