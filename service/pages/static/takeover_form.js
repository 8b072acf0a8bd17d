// The takeover form: the button shows the number of selected hosts. Input in a row selects its host.
import { byId, closestToTarget, queryOne } from "./dom.js";

/** @param {HTMLElement} form */
function updateButton(form) {
  const selected = form.querySelectorAll(".host-selection [type=checkbox]:checked").length;
  const button = queryOne(form, "button.primary", HTMLButtonElement);
  button.textContent = (form.dataset.buttonText ?? "").replace("{count}", String(selected));
  for (const each of form.querySelectorAll("button[type=submit]")) {
    if (each instanceof HTMLButtonElement) each.disabled = selected === 0;
  }
}

if (document.getElementById("takeover")) {
  const form = byId("takeover");
  form.addEventListener("input", (event) => {
    const checkbox = closestToTarget(event, "tr")?.querySelector("[type=checkbox]");
    if (checkbox instanceof HTMLInputElement && event.target !== checkbox && !checkbox.disabled) checkbox.checked = true;
    updateButton(form);
  });
  updateButton(form);
}
