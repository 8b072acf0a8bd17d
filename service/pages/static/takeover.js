// The button tells how many hosts are chosen and works when some are. Filling a row in chooses its host.
import { byId, closest, one } from "./dom.js";

/** @param {HTMLElement} form */
function count(form) {
  const chosen = form.querySelectorAll(".choose [type=checkbox]:checked").length;
  const button = one(form, "button.primary", HTMLButtonElement);
  button.textContent = (form.dataset.chosen ?? "").replace("{count}", String(chosen));
  button.disabled = chosen === 0;
}

if (document.getElementById("takeover")) {
  const form = byId("takeover");
  form.addEventListener("input", (event) => {
    const box = closest(event, "tr")?.querySelector("[type=checkbox]");
    if (box instanceof HTMLInputElement && event.target !== box && !box.disabled) box.checked = true;
    count(form);
  });
  count(form);
}
