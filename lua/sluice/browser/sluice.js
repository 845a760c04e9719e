/**
 * sluice.js: follows the event streams of a Sluice server, in pages, in workers and in Node.
 *
 *   import { connect } from "/sluice.js";
 *   const stocks = connect("/api/stocks", { eventTypes: ["price"], onMessage: (e) => show(e.data) });
 *
 * From below: parser (text to blocks), Stream (one request after another: ids, waits, tokens, silence),
 * Hub (one Stream for all connections of a page that ask the same), connect. The types stand in
 * sluice.d.ts. Kept in memory: what is not parsed yet, and the newest event of each type under `throttle`.
 */

const LONGEST = 2 ** 31 - 1; // of a timer, in milliseconds
const FIRST_WORD = 10000; // milliseconds: within these a server says something
const none = () => {};
const later = globalThis.reportError ?? ((error) => setTimeout(() => { throw error; }));

/** Call what users wrote: an error of theirs is reported, and ends nothing of ours. */
const tell = (fn, ...args) => {
  try { return fn?.(...args); } catch (error) { later(error); }
};
const value = (it) => (typeof it === "function" ? it() : it);
const jitter = (ms) => Math.min(ms * (1 + Math.random() / 2), LONGEST);

/** JSON as what it says, other text as it is. */
const json = (text) => {
  try { return JSON.parse(text); } catch { return text; }
};

/** Ids are <epoch>-<number>. Below, at, above 0: a comes before, is, comes after b; NaN: not of one epoch. */
export const epoch = (id) => id.slice(0, id.lastIndexOf("-"));
export const order = (a, b) => (epoch(a) !== epoch(b) ? NaN : a.length - b.length || (a < b ? -1 : +(a > b)));
/** Who a stream is for: the first part of `share` in hello. */
const user = (share = "") => share.split(".")[0];

/**
 * A function that takes the text of a stream, in pieces, and gives each whole block to emit: { type, data,
 * id, retry }, null where it has no such line. A block counts from its blank line on, with its id.
 */
export function parser(emit) {
  let rest = "", type = "", data = null, id = null, retry = null, after = false;
  const end = () => {
    const block = { type: type || "message", data, id, retry };
    const any = data !== null || id !== null || retry !== null;
    type = "";
    data = id = retry = null;
    if (any) emit(block);
  };
  const take = (line) => {
    if (line === "") return end();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const text = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (name === "data") data = data === null ? text : data + "\n" + text;
    else if (name === "event") type = text;
    else if (name === "id" && !text.includes("\0")) id = text;
    else if (name === "retry" && /^\d+$/.test(text)) retry = +text;
  };
  return (text) => {
    if (!text) return;
    if (after && text[0] === "\n") text = text.slice(1); // of a CR LF that was cut in two
    after = text.endsWith("\r");
    const lines = (rest + text).split(/\r\n|\r|\n/);
    rest = lines.pop();
    lines.forEach(take);
  };
}

/**
 * One request after another to one URL, until it is over. `on` hears frame(block, idBefore), reset(notice),
 * status(word), error({ status, message }) and end(). Read here: id, client, share; `opened`: its opening
 * has been sent, and no reset came since; `resumed`: it goes on where it was.
 */
export class Stream {
  constructor(ask, on) {
    Object.assign(this, { ask, on, id: ask.lastEventId ?? "", client: "", share: ask.user ?? "", state: "", opened: false,
      resumed: false, polls: false, token: "", renewed: false, tries: 0, retry: 3000, heard: 0, timer: 0 });
    this.beat = FIRST_WORD / 2.5 - 400; // until the first block says whether there is one
    this.wake = this.wake.bind(this);
    this.name = ask.method === "POST" ? globalThis.crypto?.randomUUID?.() ?? String(Math.random()) : "";
  }

  /** Connect, now; also when it is connected. */
  async run() {
    this.pause();
    if (this.over) return;
    const turn = (this.turn = new AbortController());
    let problem = { message: "the stream ended" };
    this.listen(true);
    this.spoke = false;
    this.heard = Date.now();
    this.watch(turn);
    if (!this.polled) {
      this.opened = this.resumed = false;
      this.become("connecting");
    }
    this.polled = false;
    try {
      const response = await this.request(turn.signal);
      if (this.turn !== turn) return;
      problem = await this.judge(response, turn);
    } catch (error) {
      problem = { message: String(error?.message ?? error), hurry: true };
    }
    if (this.turn === turn && problem) this.failed(problem);
  }

  async request(signal) {
    const { url, method = "GET", body, withCredentials } = this.ask;
    const to = new URL(url), headers = new Headers(await value(this.ask.headers)), query = to.searchParams;
    const ticket = await value(this.ask.token);
    headers.set("Accept", "text/event-stream");
    if (ticket) query.set("ticket", ticket);
    if (this.polls) query.set("mode", "poll");
    if (this.polls && this.token) query.set("poll", this.token);
    if (this.stale) query.set("again", Math.random());
    if (this.name && !headers.has("Idempotency-Key")) headers.set("Idempotency-Key", this.name);
    if (this.id && method === "GET") query.set("lastEventId", this.id); // needs no preflight
    else if (this.id) headers.set("Last-Event-ID", this.id);
    const credentials = withCredentials ? "include" : "same-origin";
    return fetch(to, { method, headers, body, signal, credentials, cache: "no-store" });
  }

  /** What came: reads a stream to its end. The problem why it has to come back; nothing: it is over. */
  async judge(response, turn) {
    const { status, headers } = response;
    if (status === 204) return this.end();
    if (status === 200 && /^text\/event-stream/i.test(headers.get("content-type"))) {
      this.polled = headers.has("content-length"); // the answer of a poll is no stream
      await this.read(response.body.getReader(), turn);
      return { message: "the stream ended", hurry: true };
    }
    const after = headers.get("retry-after") ?? 0; // seconds, or a date
    const wait = Math.max(1000 * after || Date.parse(after) - Date.now() || 0, 0);
    const problem = { status, wait, message: status === 200 ? "the answer is no event stream" : `HTTP ${status}` };
    turn.abort();
    if (status === 410 && this.id) return this.forget("trimmed", problem);
    if (status < 400 || status > 499 || [408, 425, 429].includes(status)) return problem;
    return this.refused(problem);
  }

  async read(reader, turn) {
    const decoder = new TextDecoder();
    const feed = parser((block) => this.turn === turn && this.take(block));
    const held = this.polled;
    if (!held) this.token = "";
    for (let all = ""; ;) {
      const { done, value: bytes } = await reader.read();
      if (this.turn !== turn) return;
      if (done) { // held: of one that was cut nothing counts, and it is given again
        this.token = this.polls && /\npoll: (.+)\n\n$/.exec(all)?.[1] || "";
        this.polled = held || !!this.token; // a gateway may take the length away
        return feed(held ? all : "");
      }
      this.heard = Date.now();
      this.spoke = true;
      this.become("open");
      const text = decoder.decode(bytes, { stream: true });
      all = (held ? all : all.slice(-999)) + text;
      if (!held) feed(text);
    }
  }

  take(block) {
    const { type, id, data } = block, before = this.id;
    if (block.retry !== null) this.retry = block.retry;
    this.tries = 0;
    if (type === "hello" && !this.hello(Object(json(data)))) return;
    if (type === "bye") return this.bye(Object(json(data)), id);
    if (id !== null && !(this.client && order(id, this.id) < 0)) this.id = id;
    if (type === "sync") this.opened = true;
    else if (type === "reset") {
      this.opened = this.resumed = false;
      this.on.reset(Object(json(data)));
    }
    if (data === null) return;
    if (!this.client) this.beat = 0; // no server of ours
    if (type !== "hello") this.renewed = false;
    this.on.frame(block, before);
  }

  hello(said) {
    const other = this.id && this.share && user(this.share) !== user(said.share);
    this.stale = this.client && said.client === this.client && !this.polls;
    if (this.stale) {
      this.failed({ message: "an old answer came out of a cache" }); // a service worker's
      return false;
    }
    this.share = said.share ?? "";
    this.client = said.client ?? ""; // empty: another kind of server
    this.beat = said.heartbeat * 1000 || 0;
    this.resumed = said.resumed;
    this.opened = false;
    if (other) this.failed(this.forget("user")); // what it holds is another user's
    return !other;
  }

  bye({ reason, status, retry }, id) {
    const problem = { status, message: `bye ${reason}` };
    if (reason === "stop") return this.end();
    if (reason === "denied") {
      const again = this.refused({ ...problem, status: status ?? 403 });
      return again && this.failed(again);
    }
    if (id && !(order(id, this.id) < 0)) this.id = id;
    this.failed({ ...problem, wait: retry });
  }

  /** Start anew: what was built from this stream is to be discarded. */
  forget(reason, problem) {
    const from = this.id;
    this.id = this.token = "";
    this.on.reset({ channel: null, reason, from, oldest: null });
    return { ...problem, atOnce: true };
  }

  /** Its credentials may be old: asked once more, else it is over. */
  refused(problem) {
    const asks = [this.ask.token, this.ask.headers].some((it) => typeof it === "function");
    if (problem.status === 401 && asks && !this.renewed) {
      this.renewed = true;
      return { ...problem, atOnce: true };
    }
    this.on.error(problem);
    this.end(problem);
  }

  /** Wait, then connect again: as long as the server says, or longer each time. */
  failed({ status, message, wait = 0, hurry, atOnce }) {
    this.pause();
    if (this.over) return;
    if (atOnce) return void this.run();
    const own = this.spoke ? this.retry : Math.min(500 * 2 ** this.tries++, 30000);
    if (!this.polled) {
      this.become("waiting");
      this.on.error({ status, message });
      if (this.over || this.turn) return; // closed meanwhile, or connected again
    }
    this.listen(true);
    this.hurries = hurry && !wait;
    this.timer = setTimeout(() => this.run(), jitter(Math.max(own, wait)));
  }

  /** Twice a heartbeat without a byte: the network is gone and has not said so. */
  watch(turn, late) {
    clearTimeout(this.timer);
    if (this.turn !== turn) return;
    const quiet = Date.now() - this.heard, word = this.ask.fallbackAfter ?? FIRST_WORD;
    const limit = this.spoke ? this.beat * 2.5 + 1000 : this.polls ? Math.max(word, FIRST_WORD * 4) : word;
    const knows = !this.spoke || this.beat;
    if (knows && this.spoke && quiet > this.beat * 1.5 + 500) this.become("stale");
    if (knows && quiet > limit && !late) {
      if (!this.spoke) this.polls = !this.polls && this.ask.fallback !== false;
      return this.failed({ message: "nothing was heard of the server", hurry: this.spoke });
    }
    const at = Date.now() + 1000;
    // a page that was frozen first reads what waits for it
    this.timer = setTimeout(() => this.watch(turn, !late && Date.now() > at + 3000), 1000);
  }

  /** The page is seen again, or the network is back. */
  wake(event) {
    if (event.type === "pagehide") return this.pause(true);
    if (event.type === "pageshow" ? event.persisted : !this.turn && this.hurries && !globalThis.document?.hidden) {
      this.pause();
      this.listen(true);
      this.timer = setTimeout(() => this.run(), Math.random() * 300);
    } else if (this.turn) this.watch(this.turn);
  }

  listen(on) {
    const act = on ? "addEventListener" : "removeEventListener", { document } = globalThis;
    if (document) document[act]("visibilitychange", this.wake);
    if (globalThis[act]) for (const name of ["online", "pagehide", "pageshow"]) globalThis[act](name, this.wake);
  }

  /** No request and no timer, for now. */
  pause(listens) {
    const turn = this.turn;
    this.turn = null;
    clearTimeout(this.timer);
    if (!listens) this.listen(false);
    turn?.abort();
  }

  end(problem) {
    this.close();
    this.on.end?.(problem);
  }

  close() {
    this.over = true;
    this.pause();
    this.become("closed");
  }

  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.on.status(state);
  }
}

/**
 * What another stream says while this one joins it, kept until this one has all of its own opening and is not
 * behind: then its own stream is not needed any more. `switched` gets what was kept.
 */
export class Joiner {
  constructor(stream, { switched, restart }) {
    Object.assign(this, { stream, switched, restart, base: "", kept: [] });
  }

  /** `after`: the id of the other stream before that block; empty while its own opening is not over. */
  hear(message) {
    const { after, share } = message;
    if (share !== this.share) Object.assign(this, { share, base: "", kept: [] }); // the other one is another user's
    if (!after) this.base = "";
    else if (!this.base || epoch(this.base) !== epoch(after)) {
      this.base = after;
      this.kept = this.kept.filter((m) => m.block && !m.block.id);
    }
    this.kept.push(message);
    this.look();
  }

  /** After each block of the own stream. */
  look(type) {
    const { stream, base } = this;
    if (this.done || !stream.opened) return;
    if (type === "sync") {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.behind(), 1000);
      this.restart(stream.id);
    }
    if (!base || stream.share !== this.share || !(order(stream.id, base) >= 0)) return;
    this.stop();
    stream.pause();
    this.switched(this.kept);
  }

  /** On a quiet stream only a new opening tells how far it is. */
  behind() {
    if (!this.done && this.stream.opened && order(this.stream.id, this.base) < 0) this.stream.run();
  }

  stop() {
    this.done = true;
    clearTimeout(this.timer);
  }
}

const hubs = new Map(); // what is asked -> its Hub
const numbers = new WeakMap(); // functions in what is asked, told apart
let counted = 0, open = 0;

/** Streams of this page alone, and of other pages of its host, use six connections together. */
function count(ask, by) {
  open += by;
  const page = globalThis.document && new URL(ask.url).protocol === "http:";
  if (by > 0 && open === 7 && page)
    console.warn("sluice: this is the seventh stream. Over HTTP/1.1 a browser opens six connections to a host: "
      + "this stream waits, and so does the next page. Follow several channels by one stream, or serve HTTP/2.");
}

/** One stream, and the connections that it is for. */
class Hub {
  constructor(ask, key, main) {
    Object.assign(this, { ask, key, members: new Set(), joiners: new Set(), main: null, begun: false });
    this.stream = new Stream(ask, this);
    if (main) this.joins(main);
    if (!ask.share) count(ask, 1);
    queueMicrotask(() => this.start()); // all that connect in this turn have come
  }

  async start() {
    if (!this.members.size) return;
    if (this.ask.share && globalThis.SharedWorker && !this.main) {
      const shared = await import("./sluice.share.js").catch(none);
      if (!this.members.size) return;
      this.shared = tell(() => shared?.share(this));
    }
    if (!this.shared) this.stream.run();
  }

  /** It has begun without this connection: that gets a stream of its own until it has what it missed. */
  joins(main) {
    this.main = main;
    this.join = new Joiner(this.stream, {
      switched: (kept) => this.move(kept),
      restart: (id) => main.stream.opened && epoch(main.stream.id) !== epoch(id) && main.stream.run(),
    });
    main.joiners.add(this.join);
    if (main.stream.opened) this.join.hear({ after: main.stream.id, share: main.stream.share });
  }

  move(kept) {
    const { main, stream: { id } } = this;
    for (const member of this.members) {
      member.hub = main;
      member.from = id;
      main.members.add(member);
      for (const { block } of kept) if (block) main.give(member, block);
      member.status(main.stream.state);
    }
    this.members.clear();
    this.leave();
  }

  give(member, block) {
    if (block.id && member.from && order(block.id, member.from) <= 0) return;
    if (block.id) member.from = "";
    member.frame(block);
  }

  add(member) {
    this.members.add(member);
    Object.assign(member, { hub: this, from: "" });
    if (this.stream.state) member.status(this.stream.state);
  }

  leave(member) {
    if (member) this.members.delete(member);
    if (this.members.size || this.left) return;
    this.left = true;
    if (!this.ask.share) count(this.ask, -1);
    this.join?.stop();
    this.main?.joiners.delete(this.join);
    this.shared?.close();
    this.stream.close();
    if (hubs.get(this.key) !== this) return;
    hubs.delete(this.key);
    for (const join of this.joiners) join.stop(); // each goes on alone
  }

  all(name, ...args) { for (const member of [...this.members]) member[name](...args); }

  // from the stream
  frame(block, before) {
    const { stream } = this, control = ["hello", "reset", "sync"].includes(block.type);
    this.begun = true;
    if (!control) for (const member of [...this.members]) this.give(member, block);
    const after = stream.opened || stream.resumed ? (control ? stream.id : before) : "";
    for (const join of this.joiners) join.hear({ after, share: stream.share, block: control ? null : block });
    if (this.join) this.join.look(block.type);
    this.shared?.look(block.type);
  }

  reset(notice) {
    for (const member of this.members) member.from = "";
    for (const join of this.joiners) Object.assign(join, { base: "", kept: [] });
    this.all("reset", notice);
  }

  status(state) { if (!this.shared?.holds(state)) this.all("status", state); }
  error(problem) { this.all("error", problem); }
  end(problem) {
    for (const member of [...this.members]) member.over(problem);
  }
}

/** What is asked of the server; the key is the same for those who may have one stream. */
function asked(url, o) {
  const to = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  const types = o.eventTypes?.includes("*") ? null : o.eventTypes;
  if (types?.length) to.searchParams.set("types", types.join());
  if (o.keys) to.searchParams.set("keys", o.keys.join());
  if (o.maxRate) to.searchParams.set("max_rate", o.maxRate);
  const { method, headers, body, token, withCredentials, fallback, fallbackAfter, share, lastEventId, user } = o;
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const kind = text === body ? {} : { "Content-Type": "application/json" };
  const all = typeof headers === "function" ? async () => ({ ...kind, ...await headers() }) : { ...kind, ...headers };
  const number = (it) => {
    if (typeof it !== "function") return it;
    if (!numbers.has(it)) numbers.set(it, ++counted);
    return numbers.get(it);
  };
  const own = method && method !== "GET" && ++counted; // each POST is for itself
  const functions = [number(token), number(headers)];
  const key = JSON.stringify([to, own, withCredentials, fallback, fallbackAfter, share, functions]);
  return { key, ask: { url: to.href, method, headers: all, body: text, token, withCredentials, fallback, fallbackAfter,
    share, lastEventId, user } };
}

function enter(member, url, options) {
  const { key, ask } = asked(url, options), { lastEventId = "", user = "" } = ask;
  const main = hubs.get(key);
  const same = main && !main.begun && main.stream.id === lastEventId && main.stream.share === user;
  const hub = same ? main : new Hub(ask, key, main);
  if (!main) hubs.set(key, hub);
  hub.add(member);
}

/** add calls at most every `throttle`: the first at once, then the newest of each type. out: now what is kept. */
function throttled(throttle, call) {
  const kept = new Map(), frame = globalThis.requestAnimationFrame;
  let waits = false;
  const wait = (fn) => (throttle === "frame" && frame && !document.hidden ? frame(fn)
    : setTimeout(fn, throttle === "frame" ? 16 : throttle));
  const out = () => {
    for (const [type, event] of kept) {
      kept.delete(type);
      call(event);
    }
  };
  const turn = () => {
    waits = kept.size > 0;
    if (waits) wait(turn);
    out();
  };
  const add = (event) => {
    if (!throttle) return call(event);
    kept.set(event.type, event);
    if (!waits) turn();
  };
  return { add, out, kept };
}

/**
 * Follow a stream.
 * @param {string} url
 * @param {import("./sluice.js").Options} [options]
 * @returns {import("./sluice.js").Connection}
 */
export function connect(url, options = {}) {
  const o = { ...options };
  let status = "connecting", closed = false, waiting = [];
  const { add, out, kept } = throttled(o.throttle, (event) => tell(options.onMessage, event));
  const become = (state) => {
    if (state === status) return;
    status = state;
    if (state === "closed") out();
    tell(options.onStatus, state);
  };
  const ack = async (event) => {
    const path = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    path.pathname += "/ack";
    path.search = "";
    const response = await fetch(new URL(o.ackUrl ?? path, path), { method: "POST", credentials: o.withCredentials
      ? "include" : "same-origin", headers: { ...await value(o.headers), "Content-Type": "application/json" },
    body: JSON.stringify({ ids: [event.data?.id ?? event.id] }) });
    if (!response.ok) throw new Error(`${response.url}: HTTP ${response.status}`);
  };
  const member = {
    frame({ type, data, id }) {
      const types = o.eventTypes ?? ["message"];
      if (closed || !(types.includes(type) || types.includes("*"))) return;
      const event = { type, data: tell(o.parse ?? json, data), id: id ?? "", ack: () => ack(event) };
      if (!options.filter || tell(options.filter, event)) add(event);
    },
    reset(notice) {
      if (notice.channel === null) kept.clear();
      out(); // what comes after it is new
      tell(options.onReset, notice);
    },
    error: (problem) => tell(options.onError, problem),
    status(state) {
      if (closed) return;
      become(state);
      if (state === "open") for (const done of waiting.splice(0)) done();
    },
    over() {
      if (closed) return;
      closed = true;
      member.hub.leave(member);
      become("closed");
      for (const done of waiting.splice(0)) done();
      o.signal?.removeEventListener("abort", close);
    },
  };
  const close = () => member.over();
  const connection = {
    close,
    async set(changes) {
      if (closed) throw new Error("the connection is closed");
      const before = member.hub, { lastEventId, user } = connection;
      out();
      if (closed) return;
      Object.assign(o, changes, { lastEventId, user });
      const opened = new Promise((done) => waiting.push(done));
      enter(member, url, o);
      before.leave(member);
      await opened;
    },
    get status() { return status; },
    get client() { return member.hub.stream.client; },
    get user() { return member.hub.stream.share; },
    get lastEventId() { return member.from || member.hub.stream.id; },
  };
  o.signal?.addEventListener("abort", close);
  enter(member, url, o);
  if (o.signal?.aborted) close();
  return connection;
}
