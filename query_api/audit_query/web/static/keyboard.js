// Single keys, which can be switched off (WCAG 2.1.4); never while something is typed or open.
const OFF = "audit-log-keys-off";
const keys = () => document.getElementById("keys");
const rows = () => [...document.querySelectorAll("tr.one a[data-show]")];

function move(step) {
  const all = rows();
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step];
  next?.focus();
  next?.closest("tr").scrollIntoView({ block: "nearest" });
}
function help() {
  document.getElementById("keys-on").checked = !localStorage.getItem(OFF);
  keys().showModal();
}
const ACTIONS = {
  "/": () => (document.getElementById("words") ?? document.getElementById("open-event"))?.focus(),
  f: () => document.getElementById("open-add")?.click(),
  j: () => move(1),
  k: () => move(-1),
  e: () => document.querySelector("[data-export]")?.click(),
  "?": help,
};
document.addEventListener("keydown", (press) => {
  if (press.ctrlKey || press.metaKey || press.altKey || press.isComposing || localStorage.getItem(OFF) || !keys()) return;
  if (press.target.closest("input, textarea, select, dialog, [popover]") || document.querySelector("dialog:modal")) return;
  const action = ACTIONS[press.key];
  if (!action) return;
  press.preventDefault();
  action();
});
document.addEventListener("click", (click) => { if (click.target.closest?.("[data-keys]")) help(); });
document.addEventListener("change", (change) => {
  if (change.target.id !== "keys-on") return;
  if (change.target.checked) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "1");
});
