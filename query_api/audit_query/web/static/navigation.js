// Links and forms that lead to the log itself change the page in place; errors are told without losing what is shown.
const LOG = "/audit-log";
let focused = "";

export const page = () => document.getElementById("page");

function busy(is) {
  for (const one of document.querySelectorAll("#log, #events")) one.setAttribute("aria-busy", String(is));
}

export function go(url) {
  const panel = document.activeElement?.closest?.("[popover]");
  focused = document.querySelector(`[popovertarget="${panel?.id}"]`)?.id || document.activeElement?.id || "";
  busy(true);
  // The service names the address that belongs to the answer (HX-Push-Url).
  return htmx.ajax("GET", url, { source: page(), target: "#page", select: "#page", swap: "outerHTML show:none" });
}

const ours = (url) => url.origin === location.origin && (url.pathname === LOG || url.pathname === `${LOG}/apply`);

document.addEventListener("click", (click) => {
  const link = click.target.closest?.("a[href]");
  if (!link || !page() || click.defaultPrevented || click.button || click.metaKey || click.ctrlKey || click.shiftKey || click.altKey) return;
  const url = new URL(link.href);
  if (!ours(url) || url.hash) return;
  click.preventDefault();
  document.getElementById("drawer")?.close();
  go(url.pathname + url.search);
});

document.addEventListener("submit", (submit) => {
  const form = submit.target;
  if (!page() || submit.defaultPrevented || form.method !== "get") return;
  const url = new URL(form.action);
  if (!ours(url)) return;
  submit.preventDefault();
  const fields = [...new FormData(form, submit.submitter)].filter(([, value]) => value !== "");
  go(`${url.pathname}?${new URLSearchParams(fields)}`);
});

function tell(sentence, lines, retry) {
  const alert = document.getElementById("alert");
  if (!alert) return;
  const text = document.createElement("p");
  text.textContent = [sentence, ...lines].join(" ");
  alert.replaceChildren(text);
  if (retry) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "button", textContent: alert.dataset.retry });
    button.addEventListener("click", retry);
    alert.append(button);
  }
}

export function failed(answer, retry) {
  busy(false);
  const data = document.getElementById("alert")?.dataset ?? {};
  const problem = new DOMParser().parseFromString(answer || "", "text/html");
  const lines = [...problem.querySelectorAll("h1, .faults li")].map((one) => `${one.textContent.replace(/\.$/, "")}.`);
  tell(navigator.onLine ? data.failed : data.offline, lines, retry);
}

for (const kind of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(kind, (event) => {
    const { xhr, pathInfo } = event.detail;
    failed(xhr?.responseText, pathInfo?.requestPath?.startsWith(LOG) ? () => go(pathInfo.finalRequestPath) : null);
  });
}
addEventListener("offline", () => tell(document.getElementById("alert")?.dataset.offline, [], null));
addEventListener("online", () => document.getElementById("alert")?.replaceChildren());

// Counting costs more than reading a page; whoever clicks on does not wait for it.
let counting;
function countLater() {
  clearTimeout(counting);
  counting = setTimeout(() => {
    const activity = document.getElementById("activity");
    // Nor does whoever is choosing a filter: that asks for something else in a moment.
    if (document.querySelector(".panel:popover-open, #log[aria-busy=true]")) countLater();
    else if (activity) htmx.ajax("GET", activity.dataset.src, { source: activity, target: activity, swap: "innerHTML" });
  }, 400);
}

document.addEventListener("htmx:afterSettle", (event) => {
  const settled = event.detail.elt;
  // What is wrong with a panel's form is told in the panel, in place of the page.
  if (settled.matches?.("form[data-panel]")) settled.querySelector("[aria-invalid], input[name=add]")?.focus();
  if (settled.id === "page" || settled.matches?.("form[data-panel]")) busy(false);
  if (settled.id !== "page") return;
  const back = document.getElementById(focused);
  back?.focus({ preventScroll: true });
  back?.select?.();
  document.dispatchEvent(new Event("page:shown"));
});
document.addEventListener("page:shown", countLater);
addEventListener("DOMContentLoaded", () => document.dispatchEvent(new Event("page:shown")));
