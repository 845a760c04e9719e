// A document: who is in it, its last lines, and where each of them is. Its text is asked for once; then each change is
// made here, too. A change that is not the next one was missed: then the text is asked for again, until it has all that
// was heard of.
import { ask, make } from "/look/page.js";
import { known, parts, say, soon, words } from "./card.js";

const DOCUMENT = "welcome", LINES = 5, PEOPLE = 6, COLUMNS = 100, AWAY_MS = 15000, AGAIN_MS = 1000;
const part = parts("editor");
const people = new Map(); // id -> name
const cursors = new Map(); // id -> { line, column, at }
let text = null, version = -1, heard = -1; // characters, as a list
let asking = false, resets = 0;

const hue = (id) => [...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
function coloured(element, id) {
  element.style.setProperty("--hue", hue(id));
  return element;
}

/** The lines that are shown, from the number of the first: those around the newest cursor, or the first ones. */
function excerpt(lines) {
  const [newest] = [...cursors.values()].sort((a, b) => b.at - a.at);
  const from = Math.max(1, Math.min(newest ? newest.line - 2 : 1, lines.length - LINES + 1));
  return [from, lines.slice(from - 1, from - 1 + LINES)];
}

function showPeople() {
  const there = [...people].slice(0, PEOPLE), key = JSON.stringify([there, people.size]);
  if (part.people.dataset.key === key) return;
  part.people.dataset.key = key;
  part.people.replaceChildren(...there.map(([id, name]) => coloured(make("li", [make("span", name.charAt(0).toUpperCase(), { "aria-hidden": "true" }), name]), id)),
    ...(people.size > PEOPLE ? [make("li", `and ${people.size - PEOPLE} more`, { class: "more" })] : []));
}

/** A line, with a mark at each column where somebody is. */
function lineOf(text, marks) {
  const characters = [...text], parts = [];
  let from = 0;
  for (const [id, { column }] of marks.sort(([, a], [, b]) => a.column - b.column)) {
    parts.push(characters.slice(from, column).join(""), coloured(make("i", "", { "aria-hidden": "true", title: people.get(id) ?? id }), id));
    from = Math.min(Math.max(column, from), characters.length);
  }
  return [...parts, characters.slice(from).join("")];
}

const show = soon(() => {
  showPeople();
  const [from, shown] = excerpt((text ?? []).join("").split("\n"));
  part.text.hidden = text === null;
  part.text.replaceChildren(...shown.map((line, i) => make("li",
    lineOf(words(line, COLUMNS), [...cursors].filter(([, at]) => at.line === from + i)))));
});

/** 5 keeps five characters, "abc" inserts, -3 deletes three. */
function change(list) {
  let at = 0;
  for (const step of list) {
    if (typeof step === "string") {
      const added = [...step];
      text.splice(at, 0, ...added);
      at += added.length;
    } else if (step < 0) text.splice(at, -step);
    else if (known(step)) at += step;
  }
}

async function read() {
  if (asking) return;
  asking = true;
  const turn = resets;
  try {
    const is = await ask("GET", `/api/documents/${DOCUMENT}/text`);
    if (turn === resets && is.version > version) {
      [text, version] = [[...words(is.text, 20000)], is.version];
      show();
    }
  } catch { /* there is no such document here: only who is in it is shown */ }
  setTimeout(() => {
    asking = false;
    if (turn !== resets || version < heard) read();
  }, AGAIN_MS);
}

function onChange({ version: next, changes }) {
  if (!known(next) || next <= version) return;
  heard = Math.max(heard, next);
  if (text === null || next !== version + 1 || !Array.isArray(changes)) return read();
  change(changes);
  version = next;
  show();
}

read();
setInterval(() => { // a cursor that has not moved for long is away
  for (const [id, { at }] of cursors) if (Date.now() - at > AWAY_MS) { cursors.delete(id); show(); }
}, 5000);

const idOf = (data) => words(data.userId, 64) || words(data.id, 64);

export default {
  id: "editor",
  channels: /^(doc|room|text|editor)/,
  on: {
    "user-joined": (data) => {
      if (idOf(data)) people.set(idOf(data), words(data.userName, 24) || idOf(data));
      show();
    },
    "user-left": (data) => {
      people.delete(idOf(data));
      cursors.delete(idOf(data));
      show();
    },
    "cursor-move": (data) => {
      const { line, column } = Object(data.position);
      if (!idOf(data) || !known(line) || !known(column)) return;
      cursors.set(idOf(data), { line, column: Math.max(0, column), at: Date.now() });
      if (cursors.size > 50) cursors.delete(cursors.keys().next().value);
      show();
    },
    "text-change": onChange,
  },
  reset() {
    people.clear();
    cursors.clear();
    [version, heard, resets] = [-1, -1, resets + 1];
    show();
    read();
  },
};
