// Toasts, and the question before an operation.
import { byId, one } from "./dom.js";

/**
 * Shows a toast for some seconds.
 *
 * @param {string} text
 */
export function toast(text) {
  const shown = document.createElement("div");
  shown.className = "toast";
  shown.textContent = text;
  one(document, ".toasts").append(shown);
  setTimeout(() => shown.remove(), 6000);
}

/**
 * Asks before `form` is sent.
 *
 * @param {HTMLFormElement} form
 */
export function ask(form) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  const yes = one(dialog, "[data-confirm-yes]");
  one(dialog, "h2").textContent = form.dataset.confirm ?? "";
  one(dialog, "[data-confirm-text]").textContent = form.dataset.text ?? "";
  yes.textContent = one(form, "button").textContent.trim();
  yes.classList.toggle("danger", "danger" in form.dataset);
  dialog.returnValue = "";
  // A copy: the page may have been brought up to date by the time of the answer.
  const sent = /** @type {HTMLFormElement} */ (form.cloneNode(true));
  sent.hidden = true;
  document.body.append(sent);
  const decide = () => (dialog.returnValue === "yes" ? sent.submit() : sent.remove());
  dialog.addEventListener("close", decide, { once: true });
  dialog.showModal();
}
