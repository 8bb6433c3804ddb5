// An event's details in a drawer beside the table; the address says which, so Back closes it and a link opens it.
import { failed } from "./navigation.js";

const drawer = () => document.getElementById("drawer");
const shown = () => new URLSearchParams(location.search).get("show");
const base = (url) => {
  const parts = new URL(url, location.href);
  parts.searchParams.delete("show");
  return parts.pathname + parts.search;
};
let opener = null;
let before = base(location.href);

function address(id) {
  const url = new URL(location.href);
  if (id) url.searchParams.set("show", id);
  else url.searchParams.delete("show");
  return url.pathname + url.search;
}

async function open(id) {
  const dialog = drawer();
  const body = dialog.querySelector(".body");
  dialog.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`/audit-log/events/${encodeURIComponent(id)}`, { headers: { "HX-Request": "true" } });
    const text = await answer.text();
    if (!answer.ok) return failed(text, () => open(id));
    body.innerHTML = text; // the service's own template; what people wrote is escaped in it
  } catch {
    return failed("", () => open(id));
  } finally {
    dialog.removeAttribute("aria-busy");
  }
  if (dialog.open && !dialog.matches(":modal")) dialog.close();
  if (!dialog.open) dialog.showModal();
  body.scrollTop = 0;
}

export function show(link) {
  opener = link.closest("tr")?.dataset.place ?? null;
  before = base(location.href);
  history.pushState({ drawer: true }, "", address(link.dataset.show));
  open(link.dataset.show);
}

document.addEventListener("click", (click) => {
  if (click.button || click.metaKey || click.ctrlKey || click.shiftKey || click.altKey) return;
  const row = click.target.closest?.("tr.one");
  const link = click.target.closest?.("a[data-show]") ?? (click.target.closest?.("a, button") ? null : row?.querySelector("a[data-show]"));
  if (!link || (row && String(getSelection()))) return;
  click.preventDefault();
  show(link);
}, true);
document.addEventListener("click", (click) => {
  // The area beside a modal drawer belongs to it, too.
  if (click.target === drawer() && drawer().matches(":modal")) drawer().close();
});
document.addEventListener("close", (close) => {
  if (close.target !== drawer()) return;
  if (shown()) history.replaceState({ htmx: true }, "", address(""));
  const row = opener && document.querySelector(`tr[data-place="${CSS.escape(opener)}"]`);
  (row?.querySelector("a[data-show]") ?? document.getElementById("content"))?.focus({ preventScroll: true });
}, true);
// Before HTMX's own: between the table and its drawer nothing is read anew.
addEventListener("popstate", (event) => {
  if (!drawer() || base(location.href) !== before) return;
  event.stopImmediatePropagation();
  if (shown()) open(shown());
  else drawer().close();
});
document.addEventListener("page:shown", () => {
  before = base(location.href);
  // Rendered open without script it is no modal; here it becomes one.
  if (shown() && drawer() && !drawer().matches(":modal")) open(shown());
});

