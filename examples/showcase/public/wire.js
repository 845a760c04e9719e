/**
 * What a stream says of itself. sluice.js asks by fetch: what comes back passes through here and is counted, and hello,
 * sync, reset and bye, which pages do not get, become sentences. Kept in memory: what is not yet a whole block.
 *
 *   const ledger = new Ledger("/api/showcase", (text, tone) => report(text, tone));
 *   ledger.bytes, .client, .compression, .resumed, .caughtUp, .resets
 */
import { REASONS } from "/look/page.js";

const TOGETHER_MS = 250; // resets of many channels are one sentence

const BYES = {
  drain: "The server stops, and asks to come back",
  overload: "The server has too much to do, and asks to come back later",
  slow: "The server gave up on this reader: it was too slow",
  stop: "The server says that it is over",
  denied: "The server says that this may not be read",
  revoked: "The server says that this may no longer be read",
  expired: "The session is over",
  error: "The server's plan failed",
};

const ledgers = new Map(); // origin and path -> Ledger
const ask = globalThis.fetch;

const addressOf = (url) => {
  const to = new URL(url, location.href);
  return to.origin + to.pathname;
};

/** The answer as it was, but each piece is seen on its way. */
function through(answer, ledger) {
  const decoder = new TextDecoder();
  const seen = new TransformStream({
    transform(piece, out) {
      ledger.take(piece.byteLength, decoder.decode(piece, { stream: true }));
      out.enqueue(piece);
    },
  });
  const { status, statusText, headers } = answer;
  return new Response(answer.body.pipeThrough(seen), { status, statusText, headers });
}

globalThis.fetch = async function fetch(input, init) {
  const answer = await ask(input, init);
  const ledger = ledgers.get(addressOf(input.url ?? input));
  if (!ledger || !answer.ok || !answer.body || !/^text\/event-stream/.test(answer.headers.get("content-type"))) return answer;
  ledger.begin(answer.headers);
  return through(answer, ledger);
};

const json = (text) => {
  try { return Object(JSON.parse(text)); } catch { return {}; }
};

const channels = (list) => (list.length === 1 ? list[0] : `${list.length} channels`);
const events = (n) => (n === 1 ? "one event" : `${n} events`);

export class Ledger {
  constructor(url, report) {
    Object.assign(this, { report, bytes: 0, opened: 0, resumed: 0, caughtUp: 0, resets: 0, last: null, client: "",
      compression: "", rest: "", lost: new Map(), opening: null, said: "", down: 0 });
    ledgers.set(addressOf(url), this);
  }

  begin(headers) {
    this.compression = headers.get("content-encoding") ?? "";
    this.rest = "";
  }

  take(bytes, text) {
    this.bytes += bytes;
    const blocks = (this.rest + text).split("\n\n");
    this.rest = blocks.pop();
    for (const block of blocks) this.block(block);
  }

  block(block) {
    const type = /^event: ?(.*)$/m.exec(block)?.[1];
    if (["hello", "sync", "reset", "bye"].includes(type)) this[type](json(/^data: ?(.*)$/m.exec(block)?.[1]));
    else if (this.opening && /^id:/m.test(block)) this.opening.events += 1;
  }

  /** How it opened is said when all of its opening has come. */
  hello({ client, resumed }) {
    this.opened += 1;
    this.client = client ?? "";
    this.said = "";
    this.opening = { resumed, events: 0, seconds: this.down && (performance.now() - this.down) / 1000 };
    this.down = 0;
    if (this.opened === 1) this.report("Connected", "good");
  }

  sync() {
    const { opening } = this;
    this.opening = null;
    if (!opening || this.opened === 1) return;
    const after = opening.seconds ? ` after ${opening.seconds.toFixed(1)} s` : "";
    if (opening.resumed && this.lost.size === 0) {
      this.resumed += 1;
      this.caughtUp += opening.events;
      this.report(`Resumed${after}: ${events(opening.events)} caught up, nothing lost`, "good");
    } else this.report(`Connected again${after}`);
    this.tellResets();
  }

  reset({ channel, reason }) {
    this.resets += 1;
    this.last = reason;
    if (!this.lost.has(reason)) this.lost.set(reason, []);
    this.lost.get(reason).push(channel ?? "everything");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tellResets(), TOGETHER_MS);
  }

  tellResets() {
    if (this.opening) return; // with the rest of its opening
    for (const [reason, list] of this.lost) this.report(`Reset of ${channels(list)}: ${REASONS[reason] ?? reason}`, "warn");
    this.lost.clear();
  }

  bye({ reason }) {
    this.said = reason;
    this.report(BYES[reason] ?? `The server says goodbye: ${reason}`, "warn");
  }

  /** What sluice.js says of it. */
  status(state) {
    if (state === "waiting" && this.opened > 0 && !this.down) {
      this.down = performance.now();
      this.opening = null;
      if (!this.said) this.report("The connection broke", "warn");
    }
    if (state === "stale") this.report("Nothing is heard of the server", "warn");
  }
}
