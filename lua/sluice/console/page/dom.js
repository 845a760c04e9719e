/**
 * What all parts of the console share: elements made of text (never of HTML), tables that keep their rows,
 * and numbers in words.
 */
const FEW = 10; // rows of a table
const BRIEF = 60; // characters of a name in one

export const byId = (id) => document.getElementById(id);

const TURNS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A text of strangers: characters that turn the direction of what follows, or show nothing, are spelled out. */
export const plain = (text) => text.replace(TURNS, (c) => `\\u{${c.codePointAt(0).toString(16).toUpperCase()}}`);

const safe = (part) => (typeof part === "string" ? plain(part) : part);

/** An element: its name, its text or children, and attributes. */
export function make(name, content = [], attributes = {}) {
  const made = document.createElement(name);
  made.append(...[content].flat().filter((part) => part !== null && part !== undefined && part !== "").map(safe));
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, key === "title" ? plain(value) : value);
  return made;
}

/** Change a text that is another now. */
export function say(element, text) {
  if (element.textContent !== plain(text)) element.textContent = plain(text);
}

/** The last part of "examples/x/app.lua:12". */
export const place = (where) => make("span", where.replace(/^.*\//, ""), { title: where });

/** A name that somebody chose: of a long one the beginning. */
export function brief(text) {
  const shown = [...text].slice(0, BRIEF).join("");
  return shown === text ? text : make("span", `${shown}…`, { title: text });
}

/** Who a client is: its user, or its address, which is one word. */
export const who = (row) => (row.user ? brief(row.user) : null) ?? make("span", row.ip ?? "", { class: "keep" });

/** A button that looks like a word: `asks` is what the page explains when it is clicked. */
export const asker = (kind, id, text = brief(id)) => make("button", text, { type: "button", class: "name", title: id,
  "data-kind": kind, "data-id": id, "aria-label": `Explain the ${kind} ${id}` });

/**
 * A table in `into` with these columns: { name, cell(row), num, wide, keep }: `num` stands right, `wide` is left
 * out on a phone, `keep` is one word. Returns a function that shows a list: rows with the same key stay the same elements, so that what has the
 * focus keeps it. Of many rows the first FEW are shown, and the others when somebody wants to see them.
 */
export function table(into, columns, key, none) {
  let shown = [], all = false;
  const kind = (column) => [column.num && "num", column.wide && "beside", column.keep && "keep"].filter(Boolean).join(" ") || undefined;
  const body = make("tbody"), rows = new Map();
  const whole = make("table", [make("thead", make("tr", columns.map((column) => make("th", column.name,
    { scope: "col", class: kind(column) })))), body]);
  const empty = make("p", none, { class: "none" }), more = make("button", "", { type: "button", class: "plain" });
  into.replaceChildren(whole, empty, more);
  const cells = (row) => columns.map((column) => make("td", column.cell(row), { class: kind(column) }));
  const show = (rows_now) => {
    shown = rows_now;
    const list = all ? shown : shown.slice(0, FEW);
    const focus = document.activeElement, seen = new Set(list.map(key));
    for (const [name, tr] of rows) if (!seen.has(name)) { tr.remove(); rows.delete(name); }
    list.forEach((row, at) => {
      const tr = rows.get(key(row)) ?? make("tr", cells(row));
      rows.set(key(row), tr);
      if (body.children[at] !== tr) body.insertBefore(tr, body.children[at] ?? null);
      const now = cells(row);
      now.forEach((cell, n) => { if (!cell.isEqualNode(tr.children[n])) tr.children[n].replaceWith(cell); });
    });
    if (focus !== document.activeElement && focus?.isConnected) focus.focus({ preventScroll: true });
    whole.hidden = list.length === 0;
    empty.hidden = list.length > 0;
    more.hidden = shown.length <= FEW;
    say(more, all ? "Show fewer" : `Show all ${shown.length}`);
    more.setAttribute("aria-expanded", String(all));
  };
  more.onclick = () => {
    all = !all;
    show(shown);
  };
  return show;
}

/** A part of the most, as a bar under a number. */
export function bar(part) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "bar");
  svg.setAttribute("viewBox", "0 0 100 1");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const rect = document.createElementNS(svg.namespaceURI, "rect");
  rect.setAttribute("width", String(Math.min(100, Math.max(0, part * 100)).toFixed(1)));
  rect.setAttribute("height", "1");
  svg.append(rect);
  return svg;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const UNITS = ["B", "kB", "MB", "GB", "TB"];

const digits = (n) => (n >= 100 || Number.isInteger(n) ? Math.round(n) : n.toFixed(n < 10 ? 1 : 0));

/** 12345 is "12,345"; a million and more is shortened. */
export const count = (n) => (n >= 1e7 ? `${digits(n / 1e6)} M` : whole.format(n));

/** A number per second, of which below ten the tenths count. */
export const rate = (n) => (n > 0 && n < 10 && !Number.isInteger(n) ? n.toFixed(1) : count(Math.round(n)));

/** [number, unit] of bytes, in thousands. */
export function bytes(n) {
  let at = 0;
  for (; n >= 999.5 && at < UNITS.length - 1; at++) n /= 1000;
  return [String(at === 0 ? Math.round(n) : digits(n)), UNITS[at]];
}

export const size = (n) => bytes(n).join(" ");

/** Seconds as "8 s", "3 min", "2 h 5 min", "4 d". */
export function duration(s) {
  if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}

/** 13:05:09 of seconds since 1970, of another day with its date. */
export function clock(seconds) {
  const date = new Date(seconds * 1000), time = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? time
    : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}

/** The time of something, as an element. */
export const stamp = (seconds) => make("time", clock(seconds), { datetime: new Date(seconds * 1000).toISOString() });
