// What is said for a moment, and what is asked before a deed.
/** Says something for a moment. */
export function toast(text) {
  const shown = document.createElement("div");
  shown.className = "toast";
  shown.textContent = text;
  document.querySelector(".toasts").append(shown);
  setTimeout(() => shown.remove(), 6000);
}

export function ask(form) {
  const dialog = document.getElementById("confirm");
  const yes = dialog.querySelector("[data-confirm-yes]");
  dialog.querySelector("h2").textContent = form.dataset.confirm;
  dialog.querySelector("[data-confirm-text]").textContent = form.dataset.text;
  yes.textContent = form.querySelector("button").textContent.trim();
  yes.classList.toggle("danger", "danger" in form.dataset);
  dialog.returnValue = "";
  // A copy: the page may have been brought up to date by the time of the answer.
  const sent = form.cloneNode(true);
  sent.hidden = true;
  document.body.append(sent);
  const decide = () => (dialog.returnValue === "yes" ? sent.submit() : sent.remove());
  dialog.addEventListener("close", decide, { once: true });
  dialog.showModal();
}
