// The button says how many hosts are chosen, and is there when some are. Whoever fills a row in chooses its host.
const form = document.getElementById("takeover");

function count() {
  const chosen = form.querySelectorAll(".choose [type=checkbox]:checked").length;
  const button = form.querySelector("button.primary");
  button.textContent = form.dataset.chosen.replace("{count}", chosen);
  button.disabled = chosen === 0;
}

if (form) {
  form.addEventListener("input", (event) => {
    const box = event.target.closest("tr")?.querySelector("[type=checkbox]");
    if (box && event.target !== box && !box.disabled) box.checked = true;
    count();
  });
  count();
}
