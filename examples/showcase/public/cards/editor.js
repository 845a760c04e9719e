// A document: who is in it, its first lines, and where each of them is.
import { make } from "/look/page.js";
import { known, parts, say, soon, words } from "./card.js";

const LINES = 5, PEOPLE = 6, COLUMNS = 60, AWAY_MS = 15000;
const part = parts("editor");
const people = new Map(); // id -> name
const cursors = new Map(); // id -> { line, column, at }
const lines = new Map(); // number -> text

const hue = (id) => [...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
function coloured(element, id) {
  element.style.setProperty("--hue", hue(id));
  return element;
}

const show = soon(() => {
  const there = [...people].slice(0, PEOPLE);
  part.people.replaceChildren(...there.map(([id, name]) => coloured(make("li", [make("span", name.charAt(0).toUpperCase(), { "aria-hidden": "true" }), name]), id)),
    ...(people.size > PEOPLE ? [make("li", `and ${people.size - PEOPLE} more`, { class: "more" })] : []));
  const last = Math.min(LINES, Math.max(0, ...lines.keys(), ...[...cursors.values()].map(({ line }) => line)));
  while (part.text.children.length > last) part.text.lastChild.remove();
  for (let n = 1; n <= last; n += 1) {
    const li = part.text.children[n - 1] ?? part.text.appendChild(make("li", make("span", "", { class: "words" })));
    say(li.firstChild, lines.get(n) ?? "");
    while (li.children.length > 1) li.lastChild.remove();
    for (const [id, { line, column }] of cursors) {
      if (line !== n) continue;
      const mark = coloured(make("i", "", { "aria-hidden": "true", title: people.get(id) ?? id }), id);
      mark.style.setProperty("--column", Math.min(column, COLUMNS));
      li.append(mark);
    }
  }
});

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
    "line-change": (data) => {
      if (known(data.line) && data.line >= 1 && data.line <= LINES) lines.set(data.line, words(data.text, COLUMNS));
      show();
    },
  },
  reset() {
    people.clear();
    cursors.clear();
    lines.clear();
    show();
  },
};
