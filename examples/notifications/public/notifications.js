// One stream for the inbox of whoever is signed in. What is unread comes first; after a break only what happened
// meanwhile. An item stays on the page until its notification-ack, whoever caused it.
import { ask, byId, clock, follow, head, make, setStatus } from "/look/page.js";

const AGAIN_MS = 5000;
const items = new Map(); // id -> its line
let me = "", stream = null, retry = null, lastId = "", turns = 0, away = false;

function count() {
  byId("count").textContent = items.size;
  document.title = items.size ? `(${items.size}) Sluice notifications` : "Sluice notifications";
}

async function acknowledge(ids) {
  try {
    await ask("POST", "/api/notifications/ack", { ids });
  } catch (problem) {
    setStatus("waiting", `Not acknowledged: ${problem.message}`);
  }
}

/** The newest stands first. */
function add(item) {
  const button = make("button", "Acknowledge", { type: "button", "aria-label": `Acknowledge: ${item.message.slice(0, 60)}` });
  button.addEventListener("click", () => acknowledge([item.id]));
  const line = make("li", [
    make("div", [make("span", item.severity, { class: "badge" }),
      make("span", `${item.from ? `from ${item.from}, ` : ""}${clock(item.timestamp)}`, { class: "soft about" })], { class: "row" }),
    make("p", item.message), button], { class: "item", "data-severity": item.severity });
  items.set(item.id, line);
  byId("list").prepend(line);
}

const SHOWN = {
  notification: (item) => add(item),
  "notification-ack": ({ id }) => {
    items.get(id)?.remove();
    items.delete(id);
    if (id === "dropped") byId("dropped").hidden = true;
  },
  "notification-dropped": ({ total }) => {
    byId("dropped").textContent = `${total} not acknowledged in time, or too many: they are gone`;
    byId("dropped").hidden = false;
  },
  escalation: ({ id, step, via, ok, error }) => {
    items.get(id)?.querySelector(".step")?.remove();
    items.get(id)?.querySelector("button").before(
      make("p", `Escalated, step ${step} (${via}): ${ok ? "done" : error}`, { class: "step" }));
  },
};

function clear() {
  items.clear();
  byId("list").replaceChildren();
  byId("dropped").hidden = true;
  count();
}

function connect() {
  const on = Object.fromEntries(Object.entries(SHOWN).map(([name, show]) => [name, (data) => { show(data); count(); }]));
  stream = follow("/api/notifications", on, { live: `${me}, live`, lastEventId: lastId || undefined,
    onReset: clear, // what is unread follows
    onError: ({ status }) => { if (status === 401) retry = setTimeout(begin); } });
}

function hangUp() {
  turns += 1; // an answer that is still to come is of no use
  clearTimeout(retry);
  lastId = stream?.lastEventId ?? lastId;
  stream?.close();
  stream = null;
}

function setAway(now) {
  away = now;
  byId("line").setAttribute("aria-pressed", String(away));
  byId("line").textContent = away ? "Come back" : "Go offline";
}

async function begin() {
  hangUp();
  setAway(false);
  const turn = turns;
  try {
    const { name } = await ask("GET", "/api/me");
    if (turn !== turns) return;
    me = name;
    byId("sign-in").hidden = true;
    byId("signed-in").hidden = false;
    connect();
  } catch (problem) {
    if (turn !== turns) return;
    if (problem.status !== 401) { // a proxy or a server that starts: nobody has signed out
      setStatus("waiting", "Not connected: trying again");
      retry = setTimeout(begin, AGAIN_MS);
      return;
    }
    lastId = "";
    clear();
    byId("sign-in").hidden = false;
    byId("signed-in").hidden = true;
    setStatus("closed", "Not signed in");
  }
}

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await ask("POST", "/session", { name: new FormData(event.target).get("name") });
    begin();
  } catch (problem) {
    setStatus("waiting", problem.message);
  }
});

byId("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const { subscribers } = await ask("POST", "/api/messages", Object.fromEntries(new FormData(event.target)),
      { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) });
    byId("sent").textContent = `Sent; ${subscribers} devices have it now`;
    event.target.message.value = "";
  } catch (problem) {
    byId("sent").textContent = `Not sent: ${problem.message}`;
  }
});

byId("all").addEventListener("click", () => acknowledge([...items.keys(), ...(byId("dropped").hidden ? [] : ["dropped"])]));

byId("line").addEventListener("click", () => {
  if (away) return begin();
  hangUp();
  setAway(true);
  setStatus("waiting", "Offline");
});

byId("sign-out").addEventListener("click", async () => {
  await ask("DELETE", "/api/auth/session").catch(() => {});
  begin();
});

head("notifications");
begin();
