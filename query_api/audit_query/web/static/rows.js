// Older events are added below and the address follows the top row in view; newer ones are told, and wait to be read.
import { failed } from "./navigation.js";

const EVERY_MS = 10_000;
const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["week", 604_800], ["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];
const events = () => document.getElementById("events");
const now = (() => {
  const there = Date.parse(document.documentElement.dataset.now);
  const here = performance.now();
  return () => there + performance.now() - here;
})();
let grown = false;
let adding = false;

async function append(form) {
  if (adding) return;
  adding = true;
  events().setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`${form.action}?${new URLSearchParams(new FormData(form))}`);
    const text = await answer.text();
    if (!answer.ok) return failed(text, () => append(form));
    const next = new DOMParser().parseFromString(text, "text/html");
    const bodies = [...next.querySelectorAll("#events > tbody")];
    const added = bodies.flatMap((body) => [...body.querySelectorAll("tr.one")]);
    const last = events().tBodies[events().tBodies.length - 1];
    if (bodies[0]?.dataset.day === last.dataset.day) last.append(...bodies.shift().querySelectorAll("tr.one"));
    events().append(...bodies);
    const offsets = new Set([...events().querySelectorAll(".offset")].map((one) => one.textContent));
    events().toggleAttribute("data-offsets", offsets.size > 1);
    const button = document.getElementById("older");
    const further = next.getElementById("older-form");
    if (further) form.replaceChildren(...further.querySelectorAll("input"), button);
    else {
      // A disabled button drops the focus; it goes on with what was added.
      const held = button === document.activeElement;
      button.disabled = true;
      if (held) added[0]?.querySelector("a[data-show]").focus({ preventScroll: true });
    }
    grown = true;
    document.getElementById("appended").textContent = events().dataset.appended.replace("{n}", added.length);
  } catch {
    failed("", () => append(form));
  } finally {
    adding = false;
    events()?.setAttribute("aria-busy", "false");
  }
}

document.addEventListener("submit", (submit) => {
  if (submit.target.id !== "older-form" || !events()) return;
  submit.preventDefault();
  append(submit.target);
}, true);

let waiting = false;
addEventListener("scroll", () => {
  if (!grown || waiting || !events()) return;
  waiting = true;
  setTimeout(() => {
    waiting = false;
    const top = events().querySelector("th").getBoundingClientRect().bottom; // it stays in view, unlike the thead
    const rows = [...events().querySelectorAll("tr.one")];
    const first = rows.find((row) => row.getBoundingClientRect().bottom > Math.max(0, top));
    if (!first || document.getElementById("drawer")?.open) return;
    const url = new URL(location.href);
    const newest = first === rows[0] && !document.querySelector("#newer-form");
    if (newest) url.searchParams.delete("at");
    else url.searchParams.set("at", first.dataset.place);
    history.replaceState({ htmx: true }, "", url.pathname + url.search);
  }, 150);
}, { passive: true });

async function look() {
  const place = document.getElementById("newer");
  if (!place || document.visibilityState !== "visible" || document.getElementById("newer-form")) return;
  const top = events()?.querySelector("tr.one")?.dataset.place;
  const url = new URL(place.dataset.src, location.href);
  if (top) url.searchParams.set("at", top);
  try {
    const answer = await fetch(url, { headers: { "HX-Request": "true" } });
    if (answer.ok && place.isConnected) place.innerHTML = answer.status === 204 ? "" : await answer.text();
  } catch { /* the next look may succeed; offline is told elsewhere */ }
}
setInterval(look, EVERY_MS);

function relate() {
  const words = new Intl.RelativeTimeFormat("en", { numeric: "always" });
  for (const one of document.querySelectorAll("[data-ago]")) {
    const seconds = (Date.parse(one.dataset.ago) - now()) / 1000;
    const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
    one.textContent = words.format(Math.round(seconds / length) || -1, unit);
  }
}
setInterval(relate, 30_000);
document.addEventListener("page:shown", () => { grown = false; });
