// The takeover form: search and pages of hosts that keep the selection, discovery, and a confirmation before it is sent.
import { askConfirmation, CONFIRMED, serviceResponds } from "./dialogs.js";
import { byId, closestToTarget, queryAll, queryOne } from "./dom.js";
import { fetchDocument } from "./live_updates.js";
import { localizeTimes } from "./times.js";

const PAGE_SIZE = 50; // rows shown at once
const DISCOVERY_INTERVAL = 1500; // milliseconds between two polls while hosts are being discovered
const IDLE_INTERVAL = 5000; // milliseconds between two polls otherwise: a task of another user may lock or unlock a host

const form = /** @type {HTMLFormElement} */ (byId("takeover"));
const search = /** @type {HTMLFormElement} */ (byId("host-search"));
const keyword = queryOne(search, "[name=keyword]", HTMLInputElement);
const discoverForm = /** @type {HTMLFormElement} */ (byId("discover"));
const rows = /** @type {HTMLTableRowElement[]} */ ([...queryAll(form, "#hosts tr")]);
let matching = rows;
let first = 0; // index of the first row shown, among those that match

/** @param {HTMLTableRowElement} row */
const checkbox = (row) => queryOne(row, "[type=checkbox]", HTMLInputElement);
/** @param {HTMLTableRowElement} row */
const port = (row) => queryOne(row, "[type=number]", HTMLInputElement);
/** @param {HTMLTableRowElement} row */
const password = (row) => queryOne(row, "[type=password]", HTMLInputElement);
const selected = () => rows.filter((row) => checkbox(row).checked && !checkbox(row).disabled);

/**
 * Returns whether nothing that was found prevents a takeover of the host, with the password that was typed.
 *
 * @param {HTMLTableRowElement} row
 */
const qualifies = (row) =>
  "qualifies" in row.dataset || ("needsPassword" in row.dataset && password(row).value !== "");

/**
 * @param {string | undefined} text
 * @param {Record<string, number>} values
 */
const filled = (text, values) =>
  Object.entries(values).reduce((result, [name, value]) => result.replace(`{${name}}`, String(value)), text ?? "");

/** Shows one page of the matching rows. The others stay in the form, with all that was typed. */
function showRows() {
  first = Math.max(0, Math.min(first, Math.floor((matching.length - 1) / PAGE_SIZE) * PAGE_SIZE));
  const shown = new Set(matching.slice(first, first + PAGE_SIZE));
  for (const row of rows) row.hidden = !shown.has(row);
  byId("no-match").hidden = matching.length > 0;
  const pages = byId("host-pages");
  pages.hidden = matching.length <= PAGE_SIZE;
  queryOne(pages, "span").textContent = filled(pages.dataset.text, {
    first: first + 1,
    last: first + shown.size,
    total: matching.length,
  });
  queryOne(pages, "#previous-hosts", HTMLButtonElement).disabled = first === 0;
  queryOne(pages, "#next-hosts", HTMLButtonElement).disabled = first + PAGE_SIZE >= matching.length;
}

function searchRows() {
  const text = keyword.value.trim().toLowerCase();
  matching = rows.filter((row) => (row.dataset.name ?? "").toLowerCase().includes(text));
  first = 0;
  showRows();
  updateButtons();
}

/** @param {HTMLTableRowElement} row */
function reveal(row) {
  if (!matching.includes(row)) {
    keyword.value = "";
    searchRows();
  }
  first = Math.floor(matching.indexOf(row) / PAGE_SIZE) * PAGE_SIZE;
  showRows();
}

function updateButtons() {
  const count = selected().length;
  byId("selected").textContent = filled(form.dataset.selectedText, { count });
  byId("take-over").textContent = filled(form.dataset.buttonText, { count });
  for (const id of ["take-over", "check"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = count === 0;
  const all = /** @type {HTMLButtonElement} */ (byId("select-qualifying"));
  const found = matching.filter(qualifies).length;
  all.textContent = filled(all.dataset.text, { count: found });
  all.disabled = found === 0;
  /** @type {HTMLButtonElement} */ (byId("select-none")).disabled = count === 0;
}

/**
 * Sends the selected hosts, and opens the page of the result. After a failure, shows the reason; all that was typed
 * stays.
 *
 * @param {HTMLButtonElement} button
 * @param {boolean} [isConfirmed]
 */
async function send(button, isConfirmed = false) {
  for (const row of rows) if (checkbox(row).checked && !port(row).checkValidity()) reveal(row);
  if (!form.reportValidity()) return;
  const buttons = /** @type {HTMLButtonElement[]} */ ([byId("check"), byId("take-over")]);
  for (const each of buttons) each.disabled = true;
  const fields = new URLSearchParams(/** @type {any} */ (new FormData(form)));
  if (isConfirmed) fields.set(CONFIRMED, "yes");
  try {
    const response = await fetch(button.hasAttribute("formaction") ? button.formAction : form.action, {
      method: "POST",
      headers: { Accept: "text/html" },
      body: fields,
    });
    if (response.ok && response.redirected) return location.assign(response.url);
    showError(new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch {
    await serviceResponds();
  }
  updateButtons();
}

/** @param {Document} answer */
function showError(answer) {
  const error = answer.querySelector("#form-error .alert") ?? answer.querySelector("main h1, main p");
  const alert = document.createElement("p");
  alert.className = "alert";
  alert.setAttribute("role", "alert");
  alert.textContent = error?.textContent?.trim() ?? "";
  byId("form-error").replaceChildren(alert);
  alert.scrollIntoView({ block: "center" });
}

/** @param {HTMLButtonElement} button */
async function confirmAndSend(button) {
  const restarts = queryOne(form, "[name=allow-restart]", HTMLInputElement).checked;
  const text = form.dataset.confirmText ?? "";
  const isConfirmed = await askConfirmation({
    title: filled(form.dataset.confirmTitle, { count: selected().length }),
    question: restarts ? `${text} ${form.dataset.confirmRestart}` : text,
    answer: button.textContent.trim(),
  });
  if (isConfirmed) await send(button, true);
}

let moment = form.dataset.moment ?? ""; // of the database; what is shown is not older

/** Shows what discoveries have found since, and which hosts are locked, without changing what was typed. */
async function updateRows() {
  const fresh = await fetchDocument(`${form.dataset.rows}?${new URLSearchParams({ since: moment })}`);
  if (!fresh) return;
  moment = queryOne(fresh, "tbody").dataset.moment ?? moment;
  for (const source of queryAll(fresh, "tr")) {
    const row = document.getElementById(source.id);
    if (row instanceof HTMLTableRowElement) updateRow(row, source);
  }
  updateButtons();
}

/**
 * @param {HTMLTableRowElement} row
 * @param {HTMLElement} source
 */
function updateRow(row, source) {
  for (const name of ["state", "qualifies", "needsPassword"])
    if (name in source.dataset) row.dataset[name] = source.dataset[name];
    else delete row.dataset[name];
  row.className = source.className;
  const found = document.importNode(queryOne(source, ".found"), true);
  localizeTimes(found);
  const old = queryOne(row, ".found");
  if (old.innerHTML !== found.innerHTML) old.replaceChildren(...found.childNodes);
  for (const field of [checkbox, port, password]) field(row).disabled = source.classList.contains("locked");
  if (!("chosen" in port(row).dataset)) port(row).value = source.dataset.port ?? "";
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** Updates the rows in intervals, which are shorter while hosts are being discovered. */
function followRows() {
  clearTimeout(timer);
  const discovering = rows.some((row) => row.dataset.state === "PENDING");
  timer = setTimeout(
    async () => {
      if (!document.hidden) await updateRows();
      followRows();
    },
    discovering ? DISCOVERY_INTERVAL : IDLE_INTERVAL,
  );
}

async function discover() {
  queryOne(discoverForm, "[name=keyword]", HTMLInputElement).value = keyword.value.trim();
  try {
    const response = await fetch(discoverForm.action, {
      method: "POST",
      headers: { Accept: "text/html" },
      body: new URLSearchParams(/** @type {any} */ (new FormData(discoverForm))),
      redirect: "manual", // the page that follows has all hosts
    });
    if (response.type !== "opaqueredirect") return showError(new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch {
    await serviceResponds();
    return;
  }
  await updateRows();
  followRows();
}

form.addEventListener("input", (event) => {
  const row = closestToTarget(event, "tr");
  if (row instanceof HTMLTableRowElement && row.id && event.target !== checkbox(row))
    checkbox(row).checked = !checkbox(row).disabled;
  if (event.target instanceof HTMLInputElement && event.target.type === "number") event.target.dataset.chosen = "";
  updateButtons();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const button = event.submitter;
  if (!(button instanceof HTMLButtonElement)) return;
  if (button.id === "take-over") confirmAndSend(button);
  else send(button);
});
// Hosts that are not selected have nothing to say.
form.addEventListener("formdata", (event) => {
  for (const row of rows)
    if (!checkbox(row).checked) for (const field of [port, password]) event.formData.delete(field(row).name);
});
search.addEventListener("submit", (event) => {
  event.preventDefault();
  searchRows();
});
keyword.addEventListener("input", searchRows);
discoverForm.addEventListener("submit", (event) => {
  event.preventDefault();
  discover();
});
byId("select-qualifying").addEventListener("click", () => {
  for (const row of matching.filter(qualifies)) checkbox(row).checked = true;
  updateButtons();
});
byId("select-none").addEventListener("click", () => {
  for (const row of rows) checkbox(row).checked = false;
  updateButtons();
});
byId("previous-hosts").addEventListener("click", () => {
  first -= PAGE_SIZE;
  showRows();
});
byId("next-hosts").addEventListener("click", () => {
  first += PAGE_SIZE;
  showRows();
});
byId("select-qualifying").hidden = byId("select-none").hidden = false;
// The browser fills fields in again after a reload.
for (const row of rows) if (port(row).value !== port(row).defaultValue) port(row).dataset.chosen = "";
searchRows();
const [chosen] = selected();
if (chosen) reveal(chosen); // the address or a rejected form names it
followRows();
