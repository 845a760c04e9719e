/** What happened to the app's code: its errors, each with the way it came, and its reloads, each with what it changed. */
import { byId, count, duration, make, say, stamp } from "./dom.js";

const errors = byId("errors-list"), reloads = byId("reloads-list");

/** Put a row that says the newest on top; one that is there already is replaced, and stays open. */
function put(list, n, made) {
  const old = list.querySelector(`:scope > [data-n="${n}"]`), opened = old?.querySelector("details")?.open;
  old?.remove();
  made.dataset.n = n;
  const more = made.querySelector("details");
  if (more && opened !== undefined) more.open = opened;
  list.prepend(made);
  while (list.children.length > 20) list.lastChild.remove();
}

const trace = (text, open) => text && make("details", [make("summary", "Traceback"), make("pre", text)], { open: open ? "" : undefined });

let seen = 0;

/** An error; one that came again comes with its count. */
export function showError(row) {
  const times = row.times > 1 ? `${count(row.times)} times` : "once";
  put(errors, row.n, make("li", [stamp(row.time), make("div", [make("p", row.text, { class: "bad strong" }),
    make("p", `${row.where}, ${times}${row.generation ? `, in generation ${row.generation}` : ""}`, { class: "small soft" }),
    trace(row.traceback, row.times === 1)], { class: "grow" })]));
  const all = [...errors.children].length, shown = byId("errors-count");
  seen = Math.max(seen, all);
  say(shown, String(seen));
  shown.hidden = false;
}

const SIGNS = { "+": "added", "-": "removed", "~": "changed" };

/** What a reload changed, piece by piece: "+get:/x  ~channel:news history 3→10". */
function difference(text) {
  const pieces = (text ?? "").split("  ").filter(Boolean);
  if (pieces.length === 0) return make("p", "Nothing that is registered has changed.", { class: "soft small" });
  return make("ul", pieces.map((piece) => make("li", piece, { "data-change": SIGNS[piece[0]] ?? "changed" })), { class: "changes" });
}

const WORDS = { reload: "Reload", rollback: "Rollback", dry_run: "Try" };

/** The outcome of a reload, as an answer has it or as it was kept. */
export function outcome(row) {
  const kind = WORDS[row.kind] ?? row.kind, took = row.seconds === undefined ? "" : ` in ${duration(row.seconds)}`;
  const files = Array.isArray(row.files) ? row.files.join(" ") : row.files ?? "";
  if (row.ok) {
    const now = row.kind === "dry_run" ? `${kind}: it would be taken` : `${kind}: generation ${row.generation}`;
    const notes = [row.notes ?? []].flat().map((note) => make("p", note, { class: "small warn" }));
    return [make("p", [make("b", now), make("span", `${took}${files ? `, ${files}` : ""}`, { class: "soft" })]),
      difference(row.difference), ...notes];
  }
  return [make("p", [make("b", `${kind} failed${row.phase ? ` in ${row.phase}` : ""}`, { class: "bad" }),
    make("span", row.generation ? `, generation ${row.generation} keeps serving` : "", { class: "soft" })]),
  make("p", row.text ?? row.message ?? "", { class: "bad" }), trace(row.traceback, true)];
}

/** A reload that was kept. */
export function showReload(row) {
  put(reloads, row.n, make("li", [stamp(row.time), make("div", outcome(row), { class: "grow" })]));
}

/** Another server, or the same one again. */
export function forget() {
  errors.replaceChildren();
  reloads.replaceChildren();
  seen = 0;
  byId("errors-count").hidden = true;
}
