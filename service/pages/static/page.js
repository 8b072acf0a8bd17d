// What every page does: questions before deeds, menus, times, and staying fresh.
import { ask, toast } from "./dialogs.js";
import { all, closest, one } from "./dom.js";
import { watch } from "./live.js";
import { count, localize } from "./times.js";

document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if ("confirm" in form.dataset) {
    event.preventDefault();
    ask(form);
  } else if (form.method === "get") {
    // What is empty is not sent; the form stays as it is for whoever comes back.
    const fields = /** @type {HTMLInputElement[]} */ ([...form.elements]);
    const empty = fields.filter((field) => field.name && !field.value);
    empty.forEach((field) => (field.disabled = true));
    setTimeout(() => empty.forEach((field) => (field.disabled = false)));
  }
});

document.addEventListener("click", async (event) => {
  const copy = closest(event, "[data-copy]");
  if (copy) {
    await navigator.clipboard?.writeText(copy.dataset.copy ?? "");
    toast(`${document.body.dataset.copied}: ${copy.dataset.copy}`);
  }
  for (const menu of all(document, "details[data-menu][open]"))
    if (event.target instanceof Node && !menu.contains(event.target)) menu.removeAttribute("open");
});

document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details[data-menu][open]");
  if (menu) {
    menu.removeAttribute("open");
    one(menu, "summary").focus();
  }
});

for (const shown of document.querySelectorAll(".toast")) setTimeout(() => shown.remove(), 6000);
if (new URLSearchParams(location.search).has("done")) {
  const kept = new URL(location.href);
  kept.searchParams.delete("done");
  history.replaceState(null, "", kept);
}
if (document.body.dataset.address) history.replaceState(null, "", document.body.dataset.address);
localize(document);
setInterval(() => count(document), 1000);
watch();
