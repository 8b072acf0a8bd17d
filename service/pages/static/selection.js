// Selection of rows of a list, for operations on all of them, and search by local times.
import { byId, queryAll, queryOne } from "./dom.js";

/** @param {string} kind */
const boxes = (kind) => /** @type {HTMLInputElement[]} */ ([...queryAll(document, `[data-select="${kind}"]`)]);

function updateSelection() {
  const all = document.getElementById("select-all");
  if (!(all instanceof HTMLInputElement)) return;
  const kind = all.dataset.selectAll ?? "";
  const ids = boxes(kind).filter((box) => box.checked).map((box) => box.value);
  all.checked = ids.length > 0 && ids.length === boxes(kind).length;
  all.indeterminate = ids.length > 0 && !all.checked;
  const count = byId("selected-count");
  count.textContent = ids.length ? (count.dataset.text ?? "").replace("{count}", String(ids.length)) : "";
  for (const field of queryAll(document, `[data-selected="${kind}"]`)) {
    if (field instanceof HTMLInputElement) field.value = ids.join(",");
    const form = field.closest("form");
    if (form) queryOne(form, "button", HTMLButtonElement).disabled = ids.length === 0;
  }
}

document.addEventListener("change", (event) => {
  const field = event.target;
  if (!(field instanceof HTMLInputElement)) return;
  if (field.id === "select-all") for (const box of boxes(field.dataset.selectAll ?? "")) box.checked = field.checked;
  if (field.dataset.localTime) {
    const sent = field.nextElementSibling;
    if (sent instanceof HTMLInputElement) sent.value = field.value ? new Date(field.value).toISOString() : "";
  }
  updateSelection();
});
document.addEventListener("refreshed", updateSelection);
addEventListener("pageshow", updateSelection);

for (const field of queryAll(document, "[data-local-time]")) {
  field.closest("label")?.removeAttribute("hidden");
  const sent = field.nextElementSibling;
  if (!(field instanceof HTMLInputElement) || !(sent instanceof HTMLInputElement) || !sent.value) continue;
  const moment = new Date(sent.value);
  field.value = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
updateSelection();
