/**
 * The log of events: newest first, a filter by type and text, a pause that counts what comes meanwhile; and what is known
 * of each type. In memory: the newest 80 events of a type, 600 of all, and as many that wait while it is paused.
 */
import { ask, byId, clock, make } from "/look/page.js";
import { number, say, soon, words } from "./cards/card.js";

const KEPT = 600, OF_TYPE = 80, SHOWN = 150, BUSY = 1.4, SLOT_MS = 200, WINDOW_MS = 3000, CALM_MS = 30000, TEXT_MOST = 4000, LINE_MOST = 240, TYPES_MOST = 200;
const whole = number(0);

const kept = []; // newest first: { at, type, id, text }
const rows = new Map(); // event -> its line
const types = new Map(); // name -> { name, count, at, option, row, badge, ...what the server says }
let waiting = null; // while it is paused: what came meanwhile, oldest first
let missed = 0;
let asked = 0;
let onCode = null; // shows a place in the code

// ---- Lines --------------------------------------------------------------------------------------

/** JSON on several lines; text as it is. */
function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function makeRow(event) {
  const summary = make("summary", [make("time", clock(event.at, true)), make("b", event.type), make("span", words(event.text, LINE_MOST), { class: "line" })], { tabindex: -1 });
  const more = make("details", summary);
  more.addEventListener("toggle", () => {
    if (more.open && !more.querySelector("pre")) more.append(make("pre", `${pretty(event.text)}${event.id ? `\nid: ${event.id}` : ""}`));
  });
  return make("li", more);
}

const found = (event, find) => !find || event.text.toLowerCase().includes(find) || event.type.toLowerCase().includes(find);

function wanted() {
  const type = byId("type").value, find = byId("find").value.trim().toLowerCase();
  const page = type.startsWith("page:") ? type.slice(5) : null;
  const calm = (event) => !(types.get(event.type)?.busyUntil > event.at);
  if (type === "calm") return (event) => calm(event) && found(event, find);
  return (event) => (!type || (page ? types.get(event.type)?.page === page : event.type === type))
    && found(event, find);
}

const show = soon(() => {
  const matches = wanted(), list = kept.filter(matches).slice(0, SHOWN), log = byId("log");
  const seen = new Set(list);
  for (const [event, row] of rows) if (!seen.has(event)) { row.remove(); rows.delete(event); }
  let before = log.firstElementChild;
  for (const event of list) {
    let row = rows.get(event);
    if (!row) rows.set(event, (row = makeRow(event)));
    if (row === before) before = row.nextElementSibling;
    else log.insertBefore(row, before);
  }
  const all = kept.length;
  say(byId("log-count"), `${whole(list.length)} of ${whole(all)} kept`);
  say(byId("log-none"), all > 0 ? "None of the kept events is like this" : "Nothing yet");
  showPause();
  showAbout();
});

function showPause() {
  const button = byId("pause");
  button.setAttribute("aria-pressed", String(waiting !== null));
  say(button, waiting === null ? "Pause" : missed > 0 ? `Continue (${whole(missed)} new)` : "Continue");
}

/** Of each type some are kept, so that what comes all the time does not push out the rest. */
function keep(event) {
  kept.unshift(event);
  if (kept.filter(({ type }) => type === event.type).length > OF_TYPE) {
    kept.splice(kept.findLastIndex(({ type }) => type === event.type), 1);
  }
  if (kept.length > KEPT) kept.length = KEPT;
}

function toggle() {
  if (waiting === null) waiting = [];
  else {
    waiting.forEach(keep);
    waiting = null;
  }
  missed = 0;
  showPause();
  show();
}

/** One tab stop; the arrows go from line to line. */
function onKey(event) {
  const lines = [...byId("log").querySelectorAll("summary")], at = lines.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: Math.max(0, at - 1), Home: 0, End: lines.length - 1 }[event.key];
  if (to === undefined || !lines[to]) return;
  event.preventDefault();
  lines[to].focus();
}

// ---- Types --------------------------------------------------------------------------------------

const kind = ({ automatic }) => (automatic === undefined ? "not described" : automatic ? "automatic" : "manual");

function placeOf(rule) {
  if (!rule) return null;
  if (typeof rule === "object") return { file: words(rule.file), line: rule.line };
  const [, file, line] = /^(.*?)(?::(\d+))?$/.exec(words(rule, 200));
  return { file, line: line && Number(line) };
}

/** A button that shows the place, where the page can show code. */
function code(rule) {
  const place = placeOf(rule);
  if (!place?.file) return make("span", "not known");
  const text = `${place.file}${place.line ? `:${place.line}` : ""}`;
  if (!onCode) return make("code", text);
  const button = make("button", make("code", text), { type: "button", class: "plain" });
  button.addEventListener("click", () => onCode(place.file, place.line));
  return button;
}

const example = (it) => (it === undefined || it === null ? "" : typeof it === "string" ? it : JSON.stringify(it));

function about(type) {
  const shown = [["Example", type.example !== undefined && make("code", words(example(type.example), 600))],
    ["Comes from", code(type.rule)],
    ["Seen on", type.page && make("a", type.page, { href: `/${encodeURIComponent(type.page)}/` })]];
  return [make("p", [make("b", type.name), " ", make("span", kind(type), { class: "badge", "data-kind": kind(type) }), " ", make("span", "", { class: "soft small num came" })]),
    type.description && make("p", words(type.description, 400)),
    make("dl", shown.filter(([, it]) => it).map(([name, it]) => make("div", [make("dt", name), make("dd", it)])))];
}

function showAbout() {
  const box = byId("about"), type = types.get(byId("type").value);
  box.hidden = !type;
  if (type && box.dataset.type !== type.name + kind(type)) {
    box.replaceChildren(...about(type).filter(Boolean));
    box.dataset.type = type.name + kind(type);
  }
  if (type) say(box.querySelector(".came"), type.count > 0 ? `came ${type.count === 1 ? "once" : `${whole(type.count)} times`}, last at ${clock(type.at, true)}` : "has not come yet");
}

function pick(value) {
  byId("type").value = value;
  show();
}

/** One more type, or what is now known of one. */
function learn(info) {
  let type = types.get(info.name);
  if (!type) {
    if (types.size >= TYPES_MOST) return null;
    type = { count: 0, recent: 0, busyUntil: 0, at: 0 };
    types.set(info.name, type);
  }
  Object.assign(type, info);
  showTypes();
  return type;
}

const groups = () => {
  const made = new Map();
  for (const type of [...types.values()].sort((a, b) => a.name.localeCompare(b.name))) {
    const page = type.page ?? "others";
    if (!made.has(page)) made.set(page, []);
    made.get(page).push(type);
  }
  return [...made].sort(([a], [b]) => (a === "others") - (b === "others") || a.localeCompare(b));
};

function typeRow(type) {
  const button = make("button", make("code", type.name), { type: "button", class: "plain" });
  button.addEventListener("click", () => {
    pick(type.name);
    byId("log-card").scrollIntoView({ block: "start" });
    byId("type").focus({ preventScroll: true });
  });
  return make("li", [button, make("span", kind(type), { class: "badge", "data-kind": kind(type) }), make("span", words(type.description, 400), { class: "soft" })]);
}

const showTypes = soon(() => {
  const before = byId("type").value, list = groups();
  byId("type").replaceChildren(...[...byId("type").children].filter((it) => it.localName === "option"), ...list.map(([page, some]) => make("optgroup",
    [page !== "others" && make("option", `All of ${page}`, { value: `page:${page}` }), ...some.map(({ name }) => make("option", name, { value: name }))].filter(Boolean), { label: page })));
  byId("type").value = before;
  byId("types-list").replaceChildren(...list.flatMap(([, some]) => some.map(typeRow)));
  say(byId("types").querySelector("summary"), `What can come: ${types.size} types of events`);
  show();
});

/** What comes all the time hides the rest: it is left out until somebody asks for it. */
function look(seconds) {
  const now = Date.now();
  for (const type of types.values()) {
    if (type.recent > BUSY * seconds) type.busyUntil = now + CALM_MS;
    type.recent = 0;
  }
  const busy = [...types.values()].filter((type) => type.busyUntil > now).map(({ name }) => words(name, 24));
  const few = busy.length > 3 ? `${busy.slice(0, 2).join(", ")} and ${busy.length - 2} more` : busy.join(", ");
  say(byId("type").querySelector("[value=calm]"), few ? `All but ${few}` : "All but the busiest");
  show();
}

// ---- For the page -------------------------------------------------------------------------------

/** One more event. */
export function add({ type, data, id }) {
  const text = (typeof data === "string" ? data : JSON.stringify(data) ?? "").slice(0, TEXT_MOST);
  const event = { at: Date.now(), type, id, text };
  const info = types.get(type) ?? learn({ name: type });
  if (info) {
    info.count += 1;
    if (event.at - info.at > SLOT_MS) info.recent += 1; // what comes at once, as a replay does, counts once
    info.at = event.at;
  }
  if (waiting === null) keep(event);
  else {
    missed += 1;
    waiting.push(event);
    if (waiting.length > KEPT) waiting.shift();
  }
  show();
}

/** What the server says of its types: again after each reload, as what makes an event may be elsewhere. */
export async function askTypes() {
  const turn = (asked += 1), list = await ask("GET", "/api/event-types").catch(() => []);
  if (turn !== asked) return; // a reload came meanwhile
  byId("about").dataset.type = "";
  for (const info of Array.isArray(list) ? list : []) if (typeof info?.name === "string") learn(info);
}

export function start(showCode) {
  onCode = showCode;
  byId("pause").addEventListener("click", toggle);
  byId("log").addEventListener("keydown", onKey);
  byId("filters").addEventListener("input", show);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  setInterval(look, WINDOW_MS, WINDOW_MS / 1000);
  return askTypes();
}
