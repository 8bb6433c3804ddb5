// Copies what a button names, and says so on the button.
document.addEventListener("click", async (click) => {
  const button = click.target.closest?.("[data-copy], [data-copy-href], [data-copy-of], [data-copy-link]");
  if (!button) return;
  const { copy, copyHref, copyOf } = button.dataset;
  const text = copy ?? (copyHref && new URL(copyHref, location.href).href) ?? (copyOf && document.getElementById(copyOf).textContent) ?? location.href;
  const usual = button.textContent;
  await navigator.clipboard.writeText(text);
  button.textContent = button.dataset.done;
  setTimeout(() => { button.textContent = usual; }, 2000);
});
