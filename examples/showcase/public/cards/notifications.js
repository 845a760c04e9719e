// What is unread, for whoever is signed in; and what the hub says to everybody, which has no id and stays a while.
import { arrange, ask, clock, make } from "/look/page.js";
import { number, parts, say, words } from "./card.js";

const SHOWN = 3, KEPT = 1000;
const part = parts("notifications"), whole = number(0);
const items = new Map(); // id, or a number of ours -> item, oldest first
let unread = 0, counted = 0;

async function read(key, button) {
  if (button.ariaBusy === "true") return; // not disabled: it would lose the focus
  button.ariaBusy = "true";
  const item = items.get(key);
  if (!item.id) return forget(key);
  try {
    await ask("POST", "/api/notifications/ack", { ids: [item.id] });
  } catch { button.ariaBusy = "false"; } // the line stays: it is not read
}

function row(key, { id, message, title, severity, from, timestamp }) {
  const text = words(message) || words(title) || "–";
  const button = make("button", "✓", { type: "button", class: "plain", "aria-label": `Read: ${text}`, title: "Mark as read" });
  button.addEventListener("click", () => read(key, button));
  const whom = id ? words(from, 20) && `from ${words(from, 20)}` : "from the application";
  const about = [whom, clock(Date.parse(timestamp) || undefined)].filter(Boolean).join(", ");
  return make("li", [make("span", "", { class: "mark-of", "aria-hidden": "true" }),
    make("p", [make("span", text, { class: "line" }), make("small", `${words(severity, 10) || "info"} · ${about}`)], { title: text }), button],
  { "data-severity": words(severity, 10) || "info", "data-key": key });
}

/** The newest, each as the line that it has already. */
function show() {
  const there = new Map([...part.list.children].map((li) => [li.dataset.key, li]));
  const focused = part.list.contains(document.activeElement);
  const newest = [...items].slice(-SHOWN).reverse();
  arrange(part.list, newest.map(([key, item]) => there.get(key) ?? row(key, item)));
  if (focused && !part.list.contains(document.activeElement)) part.list.querySelector("button")?.focus();
  say(part.unread, whole(unread));
}

function forget(key) {
  const item = items.get(key);
  if (!item) return;
  if (item.id) unread -= 1;
  items.delete(key);
  show();
}

function add(data) {
  const key = words(data.id, 256) || `all-${(counted += 1)}`;
  if (data.id && !items.has(key)) unread += 1;
  items.set(key, { ...data, id: words(data.id, 256) });
  for (const [old, item] of items) {
    if (items.size <= KEPT) break;
    if (item.id) unread -= 1;
    items.delete(old);
  }
  show();
}

export default {
  id: "notifications",
  channels: /^(user|inbox)\//,
  on: {
    notification: add,
    "notification-ack": (data) => forget(words(data.id, 256)),
    alert: (data) => { if (data.deviceId === undefined && data.id === undefined) add(data); }, // the hub's
  },
  reset() {
    for (const [key, item] of items) if (item.id) items.delete(key);
    unread = 0;
    show();
  },
};
