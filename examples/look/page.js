/**
 * What the example pages share: the head with the state of the connection, one stream by /sluice.js,
 * and elements made of text (never of HTML).
 *
 *   import { byId, follow, head } from "/look/page.js";
 *   head("match");
 *   follow("/api/live-match/7", { "match-event": (data) => add(data) }, { live: "Match 7, live" });
 */
import { connect } from "/sluice.js";

const ANSWER_MS = 30 * 1000; // a server answers within these, or is not there

export const byId = (id) => document.getElementById(id);

/** An element: its name, its text or children, and attributes. */
export function make(name, content = [], attributes = {}) {
  const made = document.createElement(name);
  made.append(...[content].flat().filter((part) => part !== null && part !== undefined && part !== ""));
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  return made;
}

/** 13:05, or with seconds 13:05:09, of a timestamp or of now. */
export function clock(time, seconds) {
  const second = seconds ? "2-digit" : undefined;
  return new Date(time ?? Date.now()).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second });
}

/** The head of a page. With `home` the logo leads there: to the showcase, when it serves this page as /NAME/. */
export function head(name, home = location.pathname.startsWith(`/${name}/`) ? "/" : undefined) {
  const brand = make(home ? "a" : "div", [make("img", "", { class: "mark", src: "/look/logo.svg", alt: "" }),
    make("h1", ["Sluice ", make("span", name)])], { class: "brand", href: home });
  const status = make("p", [make("span", "", { class: "dot", "aria-hidden": "true" }),
    make("span", "Connecting", { id: "status-text" })],
  { id: "status", class: "status", role: "status", "data-state": "connecting" });
  document.body.prepend(make("header", [brand, status], { class: "top" }));
}

/** The state of the connection and its words, in the head. */
export function setStatus(state, text) {
  byId("status").dataset.state = document.body.dataset.state = state;
  if (byId("status-text").textContent !== text) byId("status-text").textContent = text;
}

const WORDS = {
  connecting: "Connecting",
  open: "Live",
  waiting: "Waiting for the server",
  stale: "Nothing heard of the server",
  closed: "Closed by the server",
};

/** Why something was lost, in words. */
export const REASONS = {
  epoch: "the server was restarted and counts anew",
  restart: "the server was restarted and counts anew",
  trimmed: "what came meanwhile is no longer kept",
  slow: "this page read too slowly",
  future: "the server does not know how far this page is",
  unknown_id: "the server does not know how far this page is",
  denied: "this page may no longer read the channel",
  failover: "another server took over",
  user: "somebody else has signed in",
};

/**
 * One stream: a function for each type of event, called with its data and the event. More: `live`, the words while
 * it is open; `onReset`; `onStatus`; and all that connect takes. Returns the connection.
 */
export function follow(url, on, { live, onReset, onStatus, ...options } = {}) {
  return connect(url, {
    eventTypes: Object.keys(on),
    onMessage: (event) => on[event.type](event.data, event),
    onReset,
    onStatus: (status) => {
      setStatus(status, status === "open" && live ? live : WORDS[status]);
      onStatus?.(status);
    },
    ...options,
  });
}

/** What JSON says; null when it is none, as a page of a proxy. */
function parse(text) {
  try { return JSON.parse(text); } catch { return null; }
}

/** A request with JSON, and the answer's; throws an Error with the server's words and `status`. */
export async function ask(method, path, body, headers) {
  let answer, data;
  try {
    answer = await fetch(path, { method, body: body && JSON.stringify(body), signal: AbortSignal.timeout(ANSWER_MS),
      headers: { ...(body && { "Content-Type": "application/json" }), ...headers } });
    data = parse(await answer.text());
  } catch {
    throw new Error("the server does not answer");
  }
  if (!answer.ok) {
    const words = data?.error?.message || answer.statusText || `HTTP ${answer.status}`;
    throw Object.assign(new Error(words), { status: answer.status });
  }
  return data;
}

/** Change the text only when it is another: what has not changed is not said again, and costs nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Give a list these rows. One that is at its place stays there: it neither loses the focus nor arrives anew. */
export function arrange(list, rows) {
  for (const row of [...list.children]) if (!rows.includes(row)) row.remove();
  rows.forEach((row, i) => { if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null); });
}

/** A row for each item, by a key: it is made for a new one, and written whatever the item is now. */
export function showRows(list, items, { keyOf, makeRow, write }) {
  const there = new Map([...list.children].map((row) => [row.dataset.key, row]));
  arrange(list, items.map((item) => {
    const key = String(keyOf(item)), row = there.get(key) ?? makeRow(item);
    row.dataset.key = key;
    write(row, item);
    return row;
  }));
}

/**
 * Put a row into a list that keeps so many, the newest first; `.none` beside it is shown while it is empty. `time`: of
 * what it tells, when that is not now: the past of several channels comes in the order of the channels.
 */
export function addRow(list, row, most = 100, time = undefined) {
  row.dataset.at = Date.parse(time) || Date.now();
  const earlier = [...list.children].find(({ dataset }) => Number(dataset.at) <= Number(row.dataset.at));
  list.insertBefore(row, earlier ?? null);
  while (list.children.length > most) list.lastChild.remove();
}
