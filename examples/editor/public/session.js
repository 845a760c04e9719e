/**
 * One page's part in a shared text, without a network or a page: what it is told goes in, what is to be sent and
 * shown comes out. spec/kit/editor_random_spec.lua drives it against the server through every kind of trouble.
 *
 *   text = base with `sent` and then `waits`
 *
 * `base` is the text of `version`, as the server's log says. `sent` is the one change that the server has or will
 * have: it is sent again, with its number, until it comes back in the log. `waits` is what was typed since. A change
 * of somebody else comes before both, so it moves them, and they move it, before it is shown. The server does the
 * same (../sequencer.lua), in the same order: that is why all texts become equal.
 */
import { apply, compose, count, difference, inserted, invert, isNothing, same, shift, split, transform } from "./ot.js";

const PIECE = 4000; // characters and parts of one change that is sent
const HELD = 2000; // events that wait for the text to be loaded
const RECENT = 300; // changes over which a position may be moved on
const UNDO = 200, TOGETHER_MS = 800; // steps; what is typed without a pause is one

export class Session {
  constructor(client) {
    Object.assign(this, { client, user: null, born: null, version: 0, base: "", text: "", sent: null, waits: [], n: 0,
      loading: true, losses: 0, held: [], recent: [], blocked: null, edits: 0, maxLength: Infinity, undone: [], done: [] });
    this.lastEdit = -Infinity;
  }

  /** The text must be asked for: events wait until load(). */
  lose() {
    this.losses++; // an answer that was asked for before says too little
    this.loading = true;
    this.held = [];
  }

  /**
   * What GET …/text answered. Returns `changes`, to be shown one after the other, and `lost`, when something of the
   * user's may be gone: { why, text }.
   */
  load(answer) {
    const first = this.born === null;
    const lives = this.born === answer.born && answer.version >= this.version;
    const before = this.text;
    const lost = first ? null : this.#rebase(answer, lives);
    Object.assign(this, { user: answer.user.id, born: answer.born, version: answer.version, base: answer.text,
      maxLength: answer.maxLength, loading: false, recent: [] });
    this.n = Math.max(this.n, answer.n);
    this.text = apply(apply(this.base, this.sent?.change ?? []), this.waits);
    const shown = difference(before, this.text);
    this.#moveUndo(shown);
    const changes = isNothing(shown) ? [] : [shown];
    const held = this.held;
    this.held = [];
    for (const event of held) {
      const change = this.remote(event);
      if (change && !isNothing(change)) changes.push(change);
    }
    return { changes, lost };
  }

  /** Move `sent` and `waits` to another text, between which and `base` nothing is known but the two. */
  #rebase(answer, lives) {
    const { sent } = this;
    const made = lives && sent && answer.n >= sent.n && !answer.refused;
    const unsure = lives && sent && answer.n < sent.n && sent.version < answer.knownSince;
    const base = made || unsure ? apply(this.base, sent.change) : this.base;
    const between = difference(base, answer.text);
    if (made || unsure) this.waits = transform(this.waits, between);
    else {
      const over = sent ? transform(between, sent.change, true) : between;
      if (sent) sent.change = transform(sent.change, between);
      this.waits = transform(this.waits, over);
    }
    if (made || unsure) this.#settle();
    else if (sent) sent.flies = sent.taken = false;
    if (unsure && inserted(sent.change)) return { why: "unsure", text: inserted(sent.change) };
    if (!lives && this.base !== answer.text) return { why: "anew", text: this.base };
    return null;
  }

  /** What the user has typed, as a change of `text`. */
  edit(change, now = 0) {
    if (isNothing(change)) return;
    const back = invert(this.text, change);
    const last = this.undone.at(-1);
    if (last && now - this.lastEdit < TOGETHER_MS) this.undone[this.undone.length - 1] = compose(back, last);
    else this.undone.push(back);
    if (this.undone.length > UNDO) this.undone.shift();
    this.lastEdit = now;
    this.done = [];
    this.#put(change);
  }

  #put(change) {
    this.text = apply(this.text, change);
    this.waits = compose(this.waits, change);
    this.edits++;
    this.blocked = null;
  }

  /** Take the user's last step back, or make it again: the change that is to be shown; null when there is none. */
  undo() { return this.#step(this.undone, this.done); }
  redo() { return this.#step(this.done, this.undone); }

  #step(from, to) {
    while (from.length > 0) {
      const change = from.pop();
      if (isNothing(change)) continue;
      to.push(invert(this.text, change));
      this.#put(change);
      this.lastEdit = -Infinity;
      return change;
    }
    return null;
  }

  /** Steps are changes of the text as it is: what others change moves them, from the newest to the oldest. */
  #moveUndo(change) {
    for (const list of [this.undone, this.done]) {
      let over = change;
      for (let i = list.length - 1; i >= 0; i--) {
        const step = list[i];
        list[i] = transform(step, over);
        over = transform(over, step, true);
      }
    }
  }

  /** What is to be sent now: the body of POST …/changes; or null. */
  next() {
    if (this.loading || this.blocked) return null;
    if (!this.sent && !isNothing(this.waits)) {
      const [change, rest] = split(this.waits, PIECE);
      this.sent = { n: ++this.n, change, version: this.version, edits: this.edits };
      this.waits = rest;
    }
    if (!this.sent || this.sent.flies || this.sent.taken) return null;
    this.sent.flies = true;
    return { born: this.born, version: this.version, client: this.client, n: this.sent.n, changes: this.sent.change };
  }

  /** What the POST with number n was answered; status 0 when nothing came. True when the text must be loaded. */
  answered(n, status, message) {
    const { sent } = this;
    if (!sent || sent.n !== n) return false;
    sent.flies = false;
    if (status >= 200 && status < 300) sent.taken = true; // it comes in the log
    else if (status === 409) {
      this.lose();
      return true;
    } else if (status >= 400 && status < 500 && ![408, 425, 429].includes(status)) {
      this.waits = compose(sent.change, this.waits);
      this.sent = null;
      this.blocked = message;
    }
    return false;
  }

  #settle() {
    this.edits = Math.max(0, this.edits - this.sent.edits);
    this.sent = null;
  }

  /**
   * A text-change of the log. Returns the change that is to be shown, [] when it is shown already, or null when it
   * says nothing new; `loading` is true afterwards when the text must be asked for.
   */
  remote(event) {
    if (this.loading) {
      this.held.push(event);
      if (this.held.length > HELD) this.held.shift(); // a gap, which is noticed
      return null;
    }
    if (event.born !== this.born || event.version > this.version + 1) {
      this.lose();
      return null;
    }
    if (event.version <= this.version) return null;
    const { sent } = this;
    const mine = event.client === this.client && event.userId === this.user;
    if (mine && !(sent && sent.n === event.n && same(event.changes, sent.change))) {
      this.lose(); // it was changed on the way, by a load in between
      return null;
    }
    this.base = apply(this.base, event.changes);
    this.version = event.version;
    this.recent.push(event.changes);
    if (this.recent.length > RECENT) this.recent.shift();
    if (mine) {
      this.#settle();
      return [];
    }
    this.blocked = null; // there may be room now
    let shown = event.changes;
    if (sent) [sent.change, shown] = [transform(sent.change, shown), transform(shown, sent.change, true)];
    [this.waits, shown] = [transform(this.waits, shown), transform(shown, this.waits, true)];
    this.text = apply(this.text, shown);
    this.#moveUndo(shown);
    return shown;
  }

  /** How many of the user's changes the server is not known to have. */
  get unsaved() { return !this.sent && isNothing(this.waits) ? 0 : Math.max(1, this.edits); }

  /** Whether all is with the server, so that a position can be told. */
  get settled() { return !this.loading && !this.sent && isNothing(this.waits); }

  /** A position of `version` in the text that is shown; null when that version is not here yet. */
  place(position, version) {
    if (this.loading || version > this.version) return null;
    const since = this.recent.slice(Math.max(0, this.recent.length - (this.version - version)));
    for (const change of since) position = shift(position, change);
    if (this.sent) position = shift(position, this.sent.change);
    return Math.min(shift(position, this.waits), count(this.text));
  }
}
