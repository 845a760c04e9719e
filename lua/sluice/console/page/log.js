/** The tail of the log, the newest line first: by level, by text, and stopped to be read. */
import { byId, count, make, stamp } from "./dom.js";

const KEPT = 500;
const LEVELS = { debug: 0, info: 1, warn: 2, error: 3 };
const PLAIN = new Set(["time", "level", "message"]);
const LONG = new Set(["traceback"]);
const SHOWN = 400; // characters of what stands behind a message, unless somebody wants to see all

const list = byId("log-list"), level = byId("log-level"), only = byId("log-text"), pause = byId("log-pause");

let lines = [], last = 0, held = null; // held: what came since the pause

const value = (it) => (typeof it === "string" ? it : JSON.stringify(it));

function fields(line) {
  return Object.entries(line).filter(([name]) => !PLAIN.has(name) && !LONG.has(name))
    .map(([name, it]) => `${name}=${value(it)}`).join(" ");
}

/** What this page itself asked for. */
const own = (line) => String(line.path ?? "").startsWith("/-/console");

function fits(line) {
  if (own(line) || (LEVELS[line.level] ?? 1) < Number(level.value)) return false;
  const wanted = only.value.trim().toLowerCase();
  return wanted === "" || JSON.stringify(line).toLowerCase().includes(wanted);
}

function element(line) {
  const more = fields(line), time = typeof line.time === "string" ? Date.parse(line.time) / 1000 : line.time;
  const short = more.length > SHOWN ? `${more.slice(0, SHOWN)}…` : more;
  const text = [line.message ?? "", more && make("small", ` ${short}`, { class: "soft" })];
  if (short !== more) text.push(make("details", [make("summary", "All of it"), make("pre", more)]));
  if (line.traceback) text.push(make("pre", line.traceback));
  return make("li", [time ? stamp(time) : "", make("span", line.level ?? "", { class: "badge", "data-level": line.level }),
    make("div", text, { class: "grow" })]);
}

function draw() {
  list.replaceChildren(...lines.filter(fits).map(element));
}

function put(line) {
  lines.unshift(line);
  if (fits(line)) list.prepend(element(line));
  if (lines.length <= KEPT) return;
  if (fits(lines.pop())) list.lastChild?.remove();
}

/** Show lines: those that were shown already come again after a new connection. */
export function show(told) {
  const first = told.last - told.lines.length + 1;
  const fresh = told.lines.filter((_, at) => first + at > last);
  if (last > 0 && first > last + 1) {
    fresh.unshift({ level: "info", message: `${count(first - last - 1)} lines are not here` });
  }
  last = Math.max(last, told.last);
  for (const line of fresh) if (held) held.push(line); else put(line);
  if (held) pause.textContent = `Go on (${count(held.length)})`;
}

/** Another server, or the same one again: its lines are numbered anew. */
export function forget() { last = 0; }

level.onchange = draw;
only.oninput = draw;
pause.onclick = () => {
  const waited = held ?? [];
  held = held ? null : [];
  pause.setAttribute("aria-pressed", String(held !== null));
  pause.textContent = held ? "Go on" : "Pause";
  for (const line of waited.slice(-KEPT)) put(line);
};
