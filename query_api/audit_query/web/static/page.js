// What the page does better with JavaScript: filter lists that search as you type, and close when you leave them.
// Without it everything works too: the search boxes search with Apply.

function option({ value, label, note }) {
  const row = document.createElement("label");
  row.className = "option";
  const box = document.createElement("input");
  Object.assign(box, { type: "checkbox", name: "user", value });
  const text = document.createElement("span");
  const small = document.createElement("small");
  small.textContent = note;
  text.append(label, small);
  row.append(box, text);
  return row;
}

const users = document.querySelector('[data-search="users"]');
const userList = document.querySelector('[data-options="user"]');
let asked = 0;
let timer;
users?.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const mine = ++asked;
    const answer = await fetch(`${users.form.getAttribute("action")}/users?${new URLSearchParams({ search: users.value })}`);
    if (!answer.ok || mine !== asked) return;
    const found = await answer.json();
    const ticked = [...userList.querySelectorAll("label:has(input:checked)")];
    const kept = new Set(ticked.map((row) => row.querySelector("input").value));
    const rows = found.filter((one) => !kept.has(one.value)).map(option);
    userList.querySelectorAll("label, .none").forEach((row) => row.remove());
    userList.append(...ticked, ...rows);
    if (!ticked.length && !rows.length) {
      const none = document.createElement("p");
      none.className = "none";
      none.textContent = "No user matches.";
      userList.append(none);
    }
  }, 150);
});
// The boxes only narrow the lists; they are no part of the page's address.
users?.form.addEventListener("submit", () => { users.disabled = events.disabled = true; });

const events = document.querySelector('[data-search="events"]');
events?.addEventListener("input", () => {
  const wanted = events.value.trim().toLowerCase();
  for (const group of document.querySelectorAll('[data-options="event"] fieldset')) {
    const whole = group.querySelector("legend").textContent.toLowerCase().includes(wanted);
    let any = false;
    for (const row of group.querySelectorAll("label")) {
      const box = row.querySelector("input");
      const shown = whole || box.checked || row.textContent.toLowerCase().includes(wanted) || box.value.includes(wanted);
      row.hidden = !shown;
      any ||= shown;
    }
    group.hidden = !any;
  }
});

// Enter in a search box searches, which typing has done already; it must not apply.
for (const box of [users, events]) {
  box?.addEventListener("keydown", (press) => { if (press.key === "Enter") press.preventDefault(); });
}
for (const panel of document.querySelectorAll("details.filter")) {
  panel.addEventListener("keydown", (press) => {
    if (press.key === "Escape") {
      panel.open = false;
      panel.querySelector("summary").focus();
    }
  });
  panel.addEventListener("toggle", () => { if (panel.open) panel.querySelector("input[type=search]").focus(); });
  document.addEventListener("click", (click) => { if (!panel.contains(click.target)) panel.open = false; });
}
