/**
 * Operational transformation of plain text, the same as ../ot.lua: a spec holds both equal.
 *
 * A change is a list, read from the start of the text: 5 keeps five characters, "abc" inserts, -3 deletes three; the
 * rest of the text is kept. A character is a code point, so no change can split an emoji's two code units. Only one
 * form of each change is made: equal neighbours are one, what is inserted stands before what is deleted, nothing is
 * kept at the end.
 */
const isText = (part) => typeof part === "string";
const deletes = (part) => typeof part === "number" && part < 0; // "-3" < 0 is true, too
const keeps = (part) => typeof part === "number" && part > 0;

/** How many characters a text has. */
export function count(text) {
  let n = 0;
  for (let i = 0; i < text.length; n++) i += text.codePointAt(i) > 0xffff ? 2 : 1;
  return n;
}

const size = (part) => (isText(part) ? count(part) : Math.abs(part));

/** Where the character n after code unit `from` begins; the end, when there are fewer. */
export function unitAt(text, n, from = 0) {
  let i = from;
  while (n-- > 0 && i < text.length) i += text.codePointAt(i) > 0xffff ? 2 : 1;
  return i;
}

/** Append a part to a change. */
export function add(change, part) {
  if (part === 0 || part === "" || part === undefined) return change;
  const last = change.length - 1;
  if (isText(part)) {
    const gone = deletes(change[last]) ? change.pop() : 0;
    if (isText(change.at(-1))) change[change.length - 1] += part;
    else change.push(part);
    if (gone) change.push(gone);
  } else if (keeps(part) ? keeps(change[last]) : deletes(change[last])) change[last] += part;
  else change.push(part);
  return change;
}

function finish(change) {
  if (keeps(change.at(-1))) change.pop();
  return change;
}

/** Gives the parts one after the other, or the first n characters of the next one. */
class Reader {
  constructor(change) {
    this.change = change;
    this.i = 0;
    this.left = change[0];
  }

  take(n = Infinity) {
    let part = this.left;
    if (n < size(part)) {
      if (isText(part)) {
        const at = unitAt(part, n);
        [part, this.left] = [part.slice(0, at), part.slice(at)];
      } else {
        part = part < 0 ? -n : n;
        this.left -= part;
      }
    } else this.left = this.change[++this.i];
    return part;
  }
}

/**
 * The change `a` for a text in which `b`, made at the same time, stands already. Where both insert at one place, b's
 * text comes first; with aFirst, a's.
 */
export function transform(a, b, aFirst = false) {
  const out = [], mine = new Reader(a), theirs = new Reader(b);
  while (mine.left !== undefined) {
    const x = mine.left, y = theirs.left;
    if (isText(x) && (aFirst || !isText(y))) add(out, mine.take());
    else if (isText(y)) add(out, size(theirs.take()));
    else {
      const part = mine.take(Math.min(Math.abs(x), Math.abs(y ?? x)));
      if (y === undefined || theirs.take(Math.abs(part)) > 0) add(out, part);
    }
  }
  return finish(out);
}

/** One change that does `a` and then `b`. */
export function compose(a, b) {
  const out = [], one = new Reader(a), two = new Reader(b);
  while (one.left !== undefined || two.left !== undefined) {
    const x = one.left, y = two.left;
    if (deletes(x)) add(out, one.take());
    else if (isText(y)) add(out, two.take());
    else if (x === undefined) add(out, two.take());
    else if (y === undefined) add(out, one.take());
    else {
      const n = Math.min(size(x), Math.abs(y));
      const part = one.take(n);
      if (two.take(n) > 0) add(out, part);
      else if (!isText(part)) add(out, -n);
    }
  }
  return finish(out);
}

/** The text with the change. */
export function apply(text, change) {
  let out = "", at = 0;
  for (const part of change) {
    if (isText(part)) out += part;
    else {
      const till = unitAt(text, Math.abs(part), at);
      if (part > 0) out += text.slice(at, till);
      at = till;
    }
  }
  return out + text.slice(at);
}

/** The change that takes this one of `text` back. */
export function invert(text, change) {
  const out = [];
  let at = 0;
  for (const part of change) {
    if (isText(part)) add(out, -count(part));
    else {
      const till = unitAt(text, Math.abs(part), at);
      add(out, part > 0 ? part : text.slice(at, till));
      at = till;
    }
  }
  return finish(out);
}

/** Where a position is after a change; what is inserted just there comes behind it, or with `pushed` before it. */
export function shift(position, change, pushed = false) {
  let at = 0, out = position;
  for (const part of change) {
    if (at > position || (at === position && !pushed)) break;
    if (isText(part)) out += count(part);
    else {
      if (part < 0) out -= Math.min(-part, position - at);
      at += Math.abs(part);
    }
  }
  return out;
}

/** The one span in which two texts differ, as a change. `caret`: a code unit of the new text where typing ended. */
export function difference(before, after, caret = after.length) {
  const most = Math.min(before.length, after.length);
  let end = 0;
  while (end < Math.min(most, after.length - caret) && before.at(-1 - end) === after.at(-1 - end)) end++;
  let start = 0;
  while (start < most - end && before[start] === after[start]) start++;
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  const splits = (text, i) => i > 0 && i < text.length && text.codePointAt(i - 1) > 0xffff;
  if (splits(before, start) || splits(after, start)) start--;
  if (end > 0 && (splits(before, before.length - end) || splits(after, after.length - end))) end--;
  const out = add(add([], count(before.slice(0, start))), after.slice(start, after.length - end));
  return finish(add(out, -count(before.slice(start, before.length - end))));
}

/** The first `most` parts and characters of a change as one of its own, and what is left of it then. */
export function split(change, most) {
  const first = [], rest = [], reader = new Reader(change);
  let room = most;
  while (reader.left !== undefined && room > 0) {
    const part = reader.take(isText(reader.left) ? room : Infinity);
    room -= isText(part) ? count(part) : 1;
    add(first, part);
    if (isText(part) || part > 0) add(rest, size(part));
  }
  while (reader.left !== undefined) add(rest, reader.take());
  return [finish(first), finish(rest)];
}

/** The text without what no text may have: CR, other control characters, halves of surrogate pairs. */
export function clean(text) {
  return text.replace(/\r\n?/g, "\n").replace(/[^\P{Cc}\t\n]/gu, "").replace(/\p{Cs}/gu, "\ufffd");
}

export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
export const isNothing = (change) => change.length === 0;
export const inserted = (change) => change.filter(isText).join("");
