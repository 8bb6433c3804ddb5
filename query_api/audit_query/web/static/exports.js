// The list of exports while one of them goes on: read again every two seconds, without closing what is open.
const EVERY_MS = 2000;

async function refresh() {
  const list = document.getElementById("exports");
  if (!list || !("going" in list.dataset) || document.visibilityState !== "visible" || list.contains(document.activeElement)) return;
  try {
    const answer = await fetch(list.dataset.src, { headers: { "HX-Request": "true" } });
    if (!answer.ok) return;
    const open = [...list.querySelectorAll("details[open]")].map((one) => one.id);
    list.outerHTML = await answer.text(); // the service's own template; what people wrote is escaped in it
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  } catch { /* the next look may succeed */ }
}
setInterval(refresh, EVERY_MS);
