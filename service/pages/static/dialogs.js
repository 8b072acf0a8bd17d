// Toasts, and the confirmation dialog before an operation.
import { byId, queryOne } from "./dom.js";

export const TOAST_TIMEOUT = 6000; // milliseconds

/**
 * Shows a toast.
 *
 * @param {string} text
 */
export function showToast(text) {
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.textContent = text;
  queryOne(document, ".toasts").append(toast);
  setTimeout(() => toast.remove(), TOAST_TIMEOUT);
}

/**
 * Asks for confirmation, then sends `form`.
 *
 * @param {HTMLFormElement} form
 */
export function confirmSubmit(form) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  const confirmButton = queryOne(dialog, "[data-confirm-yes]");
  queryOne(dialog, "h2").textContent = form.dataset.confirm ?? "";
  queryOne(dialog, "[data-confirm-message]").textContent = form.dataset.confirmQuestion ?? "";
  confirmButton.textContent = queryOne(form, "button").textContent.trim();
  confirmButton.classList.toggle("danger", "danger" in form.dataset);
  dialog.returnValue = "";
  // Send a copy, because a live update may replace the form while the dialog is open.
  const copy = /** @type {HTMLFormElement} */ (form.cloneNode(true));
  copy.hidden = true;
  document.body.append(copy);
  const decide = () => (dialog.returnValue === "yes" ? copy.submit() : copy.remove());
  dialog.addEventListener("close", decide, { once: true });
  dialog.showModal();
}
