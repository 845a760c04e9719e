"use strict";
// One EventSource for the inbox of whoever is signed in. What is unread comes first; after a break only
// what happened meanwhile. An item stays on the page until its notification-ack, whoever caused it.

const byId = (name) => document.getElementById(name);
const items = new Map(); // id -> its line
let source = null, lastId = "", retry = null;

function setStatus(state, text) {
  byId("status").dataset.state = state;
  byId("status").textContent = text;
}

async function ask(method, path, body, headers) {
  const answer = await fetch(path, { method, headers: { "Content-Type": "application/json", ...headers },
    body: body && JSON.stringify(body) });
  const text = await answer.text();
  const data = text ? JSON.parse(text) : {};
  if (!answer.ok) throw Object.assign(new Error(data.error?.message ?? answer.statusText), { status: answer.status });
  return data;
}

function count() {
  byId("count").textContent = items.size;
  byId("none").hidden = items.size > 0;
  document.title = items.size ? `(${items.size}) Sluice notifications` : "Sluice notifications";
}

function make(tag, text, name) {
  return Object.assign(document.createElement(tag), { textContent: text, className: name ?? "" });
}

async function acknowledge(ids) {
  try {
    await ask("POST", "/api/notifications/ack", { ids });
  } catch (problem) {
    setStatus("waiting", `Not acknowledged: ${problem.message}`);
  }
}

// Text is written as text, never as HTML. The newest stands first.
function add(item) {
  const line = make("li", "", item.severity);
  const time = new Date(item.timestamp).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
  const button = make("button", "Acknowledge");
  button.type = "button";
  button.setAttribute("aria-label", `Acknowledge: ${item.message.slice(0, 60)}`);
  button.onclick = () => acknowledge([item.id]);
  line.append(make("span", item.severity, "badge"), make("p", item.message),
    make("small", `${item.from ? `from ${item.from}, ` : ""}${time}`), button);
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
    items.get(id)?.querySelector("small").after(
      make("small", `Escalated, step ${step} (${via}): ${ok ? "done" : error}`, "step"));
  },
};

function clear() {
  items.clear();
  byId("list").replaceChildren();
  byId("dropped").hidden = true;
  count();
}

function connect() {
  clearTimeout(retry);
  source = new EventSource("/api/notifications" + (lastId && `?lastEventId=${encodeURIComponent(lastId)}`));
  for (const [name, show] of Object.entries(SHOWN)) {
    source.addEventListener(name, (message) => {
      if (message.lastEventId) lastId = message.lastEventId;
      show(JSON.parse(message.data));
      count();
    });
  }
  source.addEventListener("hello", () => setStatus("open", `${document.body.dataset.name}, live`));
  source.addEventListener("reset", clear); // what is unread follows
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) {
      setStatus("waiting", "The connection is lost: it comes back by itself");
      return;
    }
    setStatus("waiting", "Not connected: trying again");
    retry = setTimeout(begin, 5000);
  };
}

function hangUp() {
  clearTimeout(retry);
  source?.close();
  source = null;
}

async function begin() {
  hangUp();
  try {
    const { name } = await ask("GET", "/api/me");
    document.body.dataset.name = name;
    byId("sign-in").hidden = true;
    byId("signed-in").hidden = false;
    connect();
  } catch (problem) {
    if (problem.status !== 401) { // a proxy or a server that starts: nobody has signed out
      setStatus("waiting", "Not connected: trying again");
      retry = setTimeout(begin, 5000);
      return;
    }
    lastId = "";
    clear();
    byId("sign-in").hidden = false;
    byId("signed-in").hidden = true;
    setStatus("waiting", "Not signed in");
  }
}

byId("sign-in").onsubmit = async (event) => {
  event.preventDefault();
  try {
    await ask("POST", "/session", { name: new FormData(event.target).get("name") });
    begin();
  } catch (problem) {
    setStatus("waiting", problem.message);
  }
};

byId("send").onsubmit = async (event) => {
  event.preventDefault();
  try {
    const { subscribers } = await ask("POST", "/api/messages", Object.fromEntries(new FormData(event.target)),
      { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) });
    byId("sent").textContent = `Sent; ${subscribers} devices have it now`;
    event.target.message.value = "";
  } catch (problem) {
    byId("sent").textContent = `Not sent: ${problem.message}`;
  }
};

byId("all").onclick = () => acknowledge([...items.keys(), ...(byId("dropped").hidden ? [] : ["dropped"])]);

byId("line").onclick = ({ target }) => {
  const leaves = source !== null;
  target.setAttribute("aria-pressed", String(leaves));
  target.textContent = leaves ? "Come back" : "Go offline";
  if (!leaves) return begin();
  hangUp();
  setStatus("waiting", "Offline");
};

byId("sign-out").onclick = async () => {
  await ask("DELETE", "/api/auth/session").catch(() => {});
  begin();
};

begin();
