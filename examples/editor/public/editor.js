// The page of a shared text: a textarea, before it a layer with the cursors of the others. What is typed becomes
// changes of session.js, which says what is to be sent and what to show. Who writes is this tab: reload it, and it is
// the same visitor; open another one, and it is somebody else.
import { ask, byId, follow, head, make } from "/look/page.js";
import { apply, clean, count, difference, isNothing, shift, unitAt } from "./ot.js";
import { Session } from "./session.js";

const SEND_MS = 60, AGAIN_MS = 1000, AGAIN_MOST_MS = 15000, ANSWER_MS = 15000;
const CURSOR_MS = 200, CURSOR_AGAIN_MS = 7000, CURSOR_GONE_MS = 10000, NAME_MS = 3000, COLOURS = 8;
const ANIMALS = ["Otter", "Heron", "Lynx", "Wren", "Badger", "Fox", "Seal", "Hare", "Owl", "Newt", "Stork", "Mole"];
const WHY = {
  anew: "The server has lost this text and began anew. What was typed here is merged; this is the text as it was:",
  unsure: "This page was away for too long to know whether the server has this. Look whether it is in the text:",
};

const id = new URLSearchParams(location.search).get("document") ?? "welcome";
const api = `/api/documents/${encodeURIComponent(id)}`;
const area = byId("text"), marks = byId("marks");
const session = new Session(random());
const members = new Map(); // user -> { name, colour }
const cursors = new Map(); // user -> { anchor, head, version, at, moved }
const visitor = restore();
let stream, live = false, failures = 0, composing = false, ready = false, sending = null, told = "", painting = false;
let later = []; // what comes while a character is being composed
let loading = null, retry = null, asked = 0;

function random() {
  return [...crypto.getRandomValues(new Uint8Array(9))].map((byte) => byte.toString(36).padStart(2, "0")).join("");
}

function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem("visitor"));
    if (kept?.id && kept.name) return kept;
  } catch { /* no storage: somebody new */ }
  return { id: random(), name: ANIMALS[Math.floor(Math.random() * ANIMALS.length)] };
}

function remember() {
  try {
    sessionStorage.setItem("visitor", JSON.stringify(visitor));
  } catch { /* then only this page knows */ }
}

const headers = () => ({ "X-User": visitor.id, "X-User-Name": encodeURIComponent(visitor.name) });

// ---- From the page to the server ----

/** What stands in the textarea and is not known yet. */
function typed() {
  const value = clean(area.value);
  if (value !== area.value) {
    const caret = clean(area.value.slice(0, area.selectionEnd)).length;
    area.value = value;
    area.setSelectionRange(caret, caret);
  }
  const change = difference(session.text, value, area.selectionEnd);
  if (isNothing(change)) return;
  session.edit(change, performance.now());
  changed();
}

function changed() {
  paint();
  told = "";
  sending ??= setTimeout(send, SEND_MS);
}

async function send() {
  clearTimeout(sending);
  sending = null;
  report();
  const body = session.next();
  if (!body) return;
  let status = 0, message = "";
  try {
    const answer = await fetch(`${api}/changes`, { method: "POST", body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", ...headers() }, signal: AbortSignal.timeout(ANSWER_MS) });
    status = answer.status;
    if (!answer.ok) message = (await answer.json()).error.message;
  } catch { /* no answer, or none in time: it is sent again, with its number */ }
  const failed = status === 0 || status >= 500 || status === 429;
  failures = failed ? failures + 1 : 0;
  if (session.answered(body.n, status, message)) load();
  if (failed) sending ??= setTimeout(send, wait(failures));
  else send();
}

const wait = (n) => Math.min(AGAIN_MS * 2 ** (n - 1), AGAIN_MOST_MS) * (1 + Math.random() / 2);

/** Ask for the text: at the beginning, and when the log cannot lead from what is here to what is there. */
async function load() {
  if (loading !== null) return;
  clearTimeout(retry);
  loading = session.losses;
  let answer = null;
  try {
    answer = await ask("GET", `${api}/text?client=${session.client}`, undefined, headers());
    asked = 0;
  } catch (problem) {
    retry = setTimeout(load, wait(++asked));
    if (problem.status) byId("saved").textContent = `Not loaded: ${problem.message}`;
  }
  const fresh = loading === session.losses;
  loading = null;
  if (answer && !fresh) load();
  else if (answer) whenComposed(() => loaded(answer));
}

function loaded(answer) {
  const { changes, lost } = session.load(answer);
  for (const change of changes) show(change);
  area.disabled = false;
  ready = true;
  if (lost) keep(WHY[lost.why], lost.text);
  if (session.loading) load();
  paint();
  send();
}

// ---- From the server to the page ----

function whenComposed(what) {
  if (composing) later.push(what);
  else what();
}

/** Make a change of others visible; the selection stays with what it was on. */
function show(change) {
  const before = area.value, { selectionStart, selectionEnd, selectionDirection } = area;
  const start = count(before.slice(0, selectionStart)), end = count(before.slice(0, selectionEnd));
  const after = apply(before, change);
  area.value = after;
  const [from, till] = [unitAt(after, shift(start, change, start !== end)), unitAt(after, shift(end, change))];
  area.setSelectionRange(Math.min(from, till), till, selectionDirection);
}

function remote(event) {
  if (area.value !== session.text && !session.loading) typed();
  const change = session.remote(event);
  if (change && !isNothing(change)) show(change);
  if (event.userId !== session.user) {
    const last = event.changes.at(-1);
    const head = event.changes.reduce((at, part) => at + (typeof part === "string" ? count(part) : Math.max(part, 0)), 0);
    if (last !== undefined) place(event.userId, head, head, event.version);
  }
  if (session.loading) load();
  paint();
  send();
}

function place(user, anchor, head, version) {
  if (user === visitor.id) return;
  const old = cursors.get(user);
  const moved = !old || old.head !== head || old.anchor !== anchor;
  const now = performance.now();
  cursors.set(user, { anchor, head, version, at: now, moved: moved ? now : old.moved });
  paint();
}

function colourOf(user) {
  const used = new Set([...members.values()].map((member) => member.colour));
  let colour = 0;
  for (const letter of user) colour = (colour * 31 + letter.codePointAt(0)) % COLOURS;
  for (let i = 0; i < COLOURS && used.has(colour); i++) colour = (colour + 1) % COLOURS;
  return colour;
}

function joined({ userId, userName }) {
  const old = members.get(userId);
  members.set(userId, { name: userName ?? userId, colour: old?.colour ?? colourOf(userId) });
  if (ready && !old && userId !== visitor.id) byId("news").textContent = `${userName ?? userId} has joined`;
  list();
}

function left({ userId }) {
  if (ready && members.has(userId) && userId !== visitor.id) byId("news").textContent = `${members.get(userId).name} has left`;
  members.delete(userId);
  cursors.delete(userId);
  list();
  paint();
}

function list() {
  byId("members").replaceChildren(...[...members].map(([user, { name, colour }]) => make("li", [
    make("span", "", { class: `swatch c${colour}`, "aria-hidden": "true" }), make("span", name, { class: "grow" }),
    user === visitor.id && make("span", "you", { class: "badge" })].filter(Boolean))));
  byId("here").textContent = members.size ? `Here now: ${members.size}` : "Here now";
}

// ---- What is seen ----

/** Saved, saving, or how much waits; what went wrong is also said to those who listen. */
function report() {
  const n = session.unsaved, offline = !live || failures > 1;
  const waits = `${n} ${n === 1 ? "change waits" : "changes wait"}`;
  const [state, words] = session.blocked ? ["bad", `Not saved: ${session.blocked}`]
    : !ready ? ["soft", "Loading"]
      : offline ? ["warn", n ? `Offline: ${waits}` : "Offline: type on, it is merged later"]
        : n ? ["soft", "Saving"] : ["good", "Saved"];
  byId("saved").textContent = words;
  byId("saved").className = `small ${state}`;
  const say = state === "bad" || state === "warn" ? words.replace(/: \d.*/, "") : "";
  if (byId("say").textContent !== say) byId("say").textContent = say;
  const length = count(session.text);
  byId("length").textContent = ready ? `${length} of ${session.maxLength.toLocaleString("en-GB")} characters` : "";
  byId("undo").disabled = session.undone.length === 0;
  byId("redo").disabled = session.done.length === 0;
}

function keep(why, text) {
  byId("kept-why").textContent = why;
  byId("kept-text").value = byId("kept").hidden ? text : `${byId("kept-text").value}\n${text}`;
  byId("kept").hidden = false;
}

function paint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    draw();
    report();
  });
}

/** The layer before the textarea: the same text, unseen, with the others' selections and cursors. */
function draw() {
  const text = area.value, now = performance.now(), ends = new Set([0, text.length]), seen = [];
  for (const [user, cursor] of cursors) {
    const anchor = session.place(cursor.anchor, cursor.version), head = session.place(cursor.head, cursor.version);
    if (anchor === null || now - cursor.at > CURSOR_GONE_MS) continue;
    const at = { from: unitAt(text, Math.min(anchor, head)), till: unitAt(text, Math.max(anchor, head)),
      head: unitAt(text, head), colour: members.get(user)?.colour ?? 0,
      name: members.get(user)?.name ?? user, named: now - cursor.moved < NAME_MS };
    seen.push(at);
    ends.add(at.from).add(at.till);
  }
  const parts = [], places = [...ends].sort((a, b) => a - b);
  for (const [i, from] of places.entries()) {
    for (const one of seen.filter(({ head }) => head === from)) {
      parts.push(make("span", make("span", one.name), { class: `caret c${one.colour}${one.named ? " named" : ""}` }));
    }
    const piece = text.slice(from, places[i + 1]);
    const over = seen.find((one) => one.from <= from && one.till > from);
    if (i + 1 < places.length && piece) parts.push(over ? make("span", piece, { class: `chosen c${over.colour}` }) : piece);
  }
  marks.replaceChildren(...parts, "\u200b");
  for (const caret of marks.querySelectorAll(".caret")) {
    caret.classList.toggle("turned", caret.offsetLeft > marks.clientWidth * 0.7);
  }
}

// ---- Where this page's cursor is ----

let cursorAt = 0, cursorWaits = null;

function cursorSoon() {
  if (document.activeElement === area) cursorWaits ??= setTimeout(tellCursor, CURSOR_MS);
}

async function tellCursor() {
  cursorWaits = null;
  if (!live || document.hidden || document.activeElement !== area) return;
  if (!session.settled || composing) return cursorSoon();
  const { value, selectionStart, selectionEnd, selectionDirection } = area;
  const ends = [count(value.slice(0, selectionStart)), count(value.slice(0, selectionEnd))];
  const [anchor, head] = selectionDirection === "backward" ? ends.reverse() : ends;
  const now = `${anchor} ${head} ${session.version}`;
  if (now === told && performance.now() - cursorAt < CURSOR_AGAIN_MS) return;
  told = now;
  cursorAt = performance.now();
  await fetch(`${api}/cursor`, { method: "POST", body: JSON.stringify({ version: session.version, anchor, head }),
    headers: { "Content-Type": "application/json", ...headers() } }).catch(() => {}); // the next one tells it
}

setInterval(() => {
  const now = performance.now();
  for (const [user, { at }] of cursors) if (now - at > CURSOR_GONE_MS) cursors.delete(user);
  if (marks.querySelector(".caret")) paint();
  cursorSoon();
}, 1000);

// ---- Begin ----

function connect() {
  stream = follow(`${api}/collaboration`, {
    "text-change": (event) => whenComposed(() => remote(event)),
    "user-joined": joined,
    "user-left": left,
    "cursor-move": ({ userId, anchor, head, version }) => place(userId, anchor, head, version),
    removed: ({ key }) => cursors.delete(key) && paint(),
  }, {
    headers, live: "Live", lastEventId: stream?.lastEventId || undefined,
    onReset: ({ channel }) => {
      if (channel === null || channel === `doc/${id}`) members.clear();
      if (channel !== null && !channel.endsWith("/text")) return;
      session.lose();
      load();
    },
    onStatus: (status) => {
      live = status === "open";
      if (!live && !stream?.lastEventId) session.lose(); // cut before its place was known: it begins anew
      if (live && session.loading) load();
      if (live) failures = 0;
      send();
    },
    onError: ({ status, message }) => {
      if (status && status < 500) byId("saved").textContent = `Not connected: ${message}`;
    },
  });
}

function step(change) {
  if (!change) return;
  show(change);
  const at = unitAt(area.value, change.reduce((n, part) => n + (typeof part === "string" ? count(part) : Math.max(part, 0)), 0));
  area.setSelectionRange(at, at);
  changed();
}

const undo = () => step(session.undo()), redo = () => step(session.redo());

area.addEventListener("input", ({ isComposing }) => { if (!isComposing && !composing) typed(); });
area.addEventListener("compositionstart", () => { composing = true; });
area.addEventListener("compositionend", () => {
  composing = false;
  typed();
  const waiting = later;
  later = [];
  for (const what of waiting) what();
});
area.addEventListener("beforeinput", (event) => {
  if (event.inputType !== "historyUndo" && event.inputType !== "historyRedo") return;
  event.preventDefault();
  (event.inputType === "historyUndo" ? undo : redo)();
});
area.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (!(event.ctrlKey || event.metaKey) || event.altKey || composing || (key !== "z" && key !== "y")) return;
  event.preventDefault(); // the browser's own steps know nothing of what others typed
  (key === "y" || event.shiftKey ? redo : undo)();
});
document.addEventListener("selectionchange", cursorSoon);
addEventListener("online", send);
addEventListener("beforeunload", (event) => { if (session.unsaved) event.preventDefault(); });
byId("undo").addEventListener("click", undo);
byId("redo").addEventListener("click", redo);
byId("dismiss").addEventListener("click", () => { byId("kept").hidden = true; });
byId("put-back").addEventListener("click", () => {
  area.setRangeText(byId("kept-text").value, area.selectionStart, area.selectionEnd, "end");
  byId("kept").hidden = true;
  area.focus();
  typed();
});
byId("me").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = clean(event.target.name.value).trim();
  if (!name || name === visitor.name) return;
  if (!session.settled) { // under the old name still
    byId("news").textContent = "In a moment: what you typed is not saved yet";
    return;
  }
  Object.assign(visitor, { id: random(), name });
  remember();
  stream.close();
  session.lose();
  connect();
});

head("editor", location.pathname.startsWith("/editor/") ? "/" : undefined);
remember();
byId("me").elements.name.value = visitor.name;
byId("name").textContent = id === "welcome" ? "A shared text" : id;
connect();
