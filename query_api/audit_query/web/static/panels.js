// Filter panels are popovers, so Escape and a click elsewhere close them without applying. They are read when opened.
const kept = new WeakMap();

function load(panel, url) {
  panel.setAttribute("aria-busy", "true");
  return htmx.ajax("GET", url, { source: panel, target: panel, swap: "innerHTML" }).then(() => {
    panel.removeAttribute("aria-busy");
    if (panel.matches(":popover-open")) panel.querySelector("input:not([type=hidden]), button")?.focus();
  });
}

// `toggle` does not bubble, but it is captured.
document.addEventListener("toggle", (toggle) => {
  const panel = toggle.target;
  if (!panel.matches?.(".panel")) return;
  if (toggle.newState === "open") {
    if (!kept.has(panel)) kept.set(panel, [...panel.childNodes]);
    place(panel);
    if (panel.dataset.src) load(panel, panel.dataset.src);
    else panel.querySelector("a, input:not([type=hidden])")?.focus();
  } else if (kept.has(panel)) {
    // What was ticked but not applied is gone; the next time begins with what holds.
    panel.replaceChildren(...kept.get(panel));
  }
}, true);

// Below its button, where the browser can't do that by itself.
function place(panel) {
  if (CSS.supports("position-area: bottom")) return;
  const button = document.querySelector(`[popovertarget="${panel.id}"]`).getBoundingClientRect();
  const left = Math.max(8, Math.min(button.left, innerWidth - panel.offsetWidth - 8));
  Object.assign(panel.style, { inset: "auto", left: `${left}px`, top: `${button.bottom + 4}px`, margin: "0" });
}

document.addEventListener("click", (click) => {
  const item = click.target.closest?.("a[data-panel]");
  if (item) {
    click.preventDefault();
    load(item.closest(".panel"), item.href);
  }
  const all = click.target.closest?.("[data-all]");
  if (all) {
    const boxes = [...all.closest("fieldset").querySelectorAll("label:not([hidden]) input[type=checkbox]")];
    const on = boxes.some((box) => !box.checked);
    for (const box of boxes) box.checked = on;
  }
}, true);

// Event types are few and all there: searching them needs no answer of the service.
document.addEventListener("input", (input) => {
  if (!input.target.matches?.("[data-narrow]")) return;
  const fold = (text) => text.normalize("NFC").toLowerCase();
  const wanted = fold(input.target.value.trim());
  let found = false;
  for (const group of input.target.form.querySelectorAll(".options fieldset")) {
    let any = false;
    for (const option of group.querySelectorAll("label")) {
      const box = option.querySelector("input");
      const is = box.checked || fold(`${option.querySelector("bdi").textContent}\n${box.value}`).includes(wanted);
      option.hidden = !is;
      any ||= is;
    }
    group.hidden = !any;
    found ||= any;
  }
  input.target.form.querySelector("[data-none]").hidden = found;
});

// What is ticked while a search is under way is not in its answer: it is asked anew, so that no tick is lost.
document.addEventListener("change", (change) => {
  const search = change.target.closest?.(".options") && change.target.form?.querySelector("input[type=search].htmx-request");
  if (search) htmx.trigger(search, "ticked");
});

// Enter in a search box searches, which typing has done already; it must not apply. Escape closes, it must not only clear.
document.addEventListener("keydown", (press) => {
  if (!press.target.matches?.(".choose input[type=search]")) return;
  if (press.key === "Enter" || press.key === "Escape") press.preventDefault();
  if (press.key === "Escape") press.target.closest("[popover]")?.hidePopover();
});
// Zones for the boxes that take one; with the page each time would be 10 kB for hardly anybody.
document.addEventListener("focusin", (focus) => {
  const list = document.getElementById("zones");
  if (!focus.target.matches?.("input[list=zones]") || !list || list.childElementCount) return;
  const zones = ["UTC", ...Intl.supportedValuesOf("timeZone")];
  list.append(...zones.map((zone) => Object.assign(document.createElement("option"), { value: zone })));
});
