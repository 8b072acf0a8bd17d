// Toasts, and the confirmation dialog before an operation.
import { probe } from "./connection.js";
import { byId, queryOne } from "./dom.js";

export const TOAST_TIMEOUT = 6000; // milliseconds
export const CONFIRMED = "confirmed"; // the field of a form that was confirmed

/**
 * Shows a toast.
 *
 * @param {string} text
 * @param {string} [kind] class of the toast
 */
export function showToast(text, kind = "") {
  const toast = document.createElement("div");
  toast.className = `toast ${kind}`.trim();
  toast.textContent = text;
  queryOne(document, ".toasts").append(toast);
  setTimeout(() => toast.remove(), TOAST_TIMEOUT);
}

/**
 * Sends `form` if the service responds. Otherwise shows a message; the page, and what was typed, stay.
 *
 * @param {HTMLFormElement} form
 * @param {HTMLElement | null} [submitter] the button that was pressed
 */
export async function send(form, submitter) {
  if ("sending" in form.dataset) return;
  form.dataset.sending = "";
  if (await serviceResponds()) form.requestSubmit(submitter);
  delete form.dataset.sending;
}

/**
 * Returns whether the service responds. Otherwise shows a message.
 *
 * @returns {Promise<boolean>}
 */
export async function serviceResponds() {
  const responds = await probe();
  if (!responds) showToast(document.body.dataset.unreachableText ?? "", "alert");
  return responds;
}

/** Returns the field without which the service asks for a confirmation itself. */
function confirmedField() {
  const field = document.createElement("input");
  field.type = "hidden";
  field.name = CONFIRMED;
  field.value = "yes";
  return field;
}

/**
 * Asks for confirmation, then sends `form`.
 *
 * @param {HTMLFormElement} form
 */
export async function confirmSubmit(form) {
  // Send a copy, because a live update may replace the form while the dialog is open.
  const copy = /** @type {HTMLFormElement} */ (form.cloneNode(true));
  copy.hidden = true;
  delete copy.dataset.confirm;
  copy.append(confirmedField());
  document.body.append(copy);
  const texts = new FormData(form);
  const isConfirmed = await askConfirmation({
    title: String(texts.get("confirm-title") ?? ""),
    question: String(texts.get("confirm-question") ?? ""),
    answer: String(texts.get("confirm-answer") ?? ""),
    isDangerous: texts.has("confirm-danger"),
  });
  if (isConfirmed) await send(copy);
  copy.remove();
}

/**
 * Returns whether the user confirms; `answer` is the text of the button that does.
 *
 * @param {{ title: string, question: string, answer: string, isDangerous?: boolean }} texts
 * @returns {Promise<boolean>}
 */
export function askConfirmation({ title, question, answer, isDangerous = false }) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  const confirmButton = queryOne(dialog, "[data-confirm-yes]");
  queryOne(dialog, "h2").textContent = title;
  queryOne(dialog, "[data-confirm-message]").textContent = question;
  confirmButton.textContent = answer;
  confirmButton.classList.toggle("danger", isDangerous);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((decide) =>
    dialog.addEventListener("close", () => decide(dialog.returnValue === "yes"), { once: true }),
  );
}
