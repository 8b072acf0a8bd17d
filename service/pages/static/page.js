// Behaviour of every page: confirmation dialogs, menus, times, live updates.
import { isOutdated } from "./connection.js";
import { confirmSubmit, send, serviceResponds, showToast, TOAST_TIMEOUT } from "./dialogs.js";
import { closestToTarget, queryAll, queryOne } from "./dom.js";
import { startLiveUpdates } from "./live_updates.js";
import { localizeTimes, updateDurations } from "./times.js";

document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (event.defaultPrevented || form.method === "dialog") return;
  if ("confirm" in form.dataset) {
    event.preventDefault();
    confirmSubmit(form);
  } else if (form.method === "post" && !("sending" in form.dataset)) {
    event.preventDefault();
    send(form, event.submitter);
  } else if (form.method === "get") {
    // Leave empty fields out of the address. The browser may show this form again, so enable them afterwards.
    const fields = /** @type {HTMLInputElement[]} */ ([...form.elements]);
    const empty = fields.filter((field) => field.name && !field.value);
    empty.forEach((field) => (field.disabled = true));
    setTimeout(() => empty.forEach((field) => (field.disabled = false)));
  }
});

document.addEventListener("click", async (event) => {
  const copy = closestToTarget(event, "[data-copy]");
  if (copy) {
    await navigator.clipboard?.writeText(copy.dataset.copy ?? "");
    showToast(`${document.body.dataset.copiedText}: ${copy.dataset.copy}`);
  }
  for (const menu of queryAll(document, "details[data-menu][open]"))
    if (event.target instanceof Node && !menu.contains(event.target)) menu.removeAttribute("open");
});

// Without a connection, a link would lead to the error page of the browser. Handlers of the document come first.
addEventListener("click", async (event) => {
  const link = closestToTarget(event, "a[href]");
  const opensHere = !event.defaultPrevented && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  if (!(link instanceof HTMLAnchorElement) || !opensHere || !isOutdated()) return;
  event.preventDefault();
  if (await serviceResponds()) location.assign(link.href);
});

document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details[data-menu][open]");
  if (menu) {
    menu.removeAttribute("open");
    queryOne(menu, "summary").focus();
  }
});

for (const toast of document.querySelectorAll(".toast")) setTimeout(() => toast.remove(), TOAST_TIMEOUT);
if (new URLSearchParams(location.search).has("done")) {
  const address = new URL(location.href);
  address.searchParams.delete("done");
  history.replaceState(null, "", address);
}
if (document.body.dataset.canonicalAddress) history.replaceState(null, "", document.body.dataset.canonicalAddress);
localizeTimes(document);
setInterval(() => updateDurations(document), 1000);
startLiveUpdates();
