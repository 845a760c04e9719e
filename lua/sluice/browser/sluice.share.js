/**
 * sluice.share.js: one stream for all tabs that ask the same (`share: true`). sluice.js loads it.
 *
 * In a page: share, which follows the stream of a SharedWorker. As the script of that worker: a Leader for
 * each stream. What passes between them is { after, share, block }: `after` is the worker's id before that
 * block, empty while its stream is opening and was not resumed. A tab follows only what continues its own
 * place for its own user; else it opens a stream of its own and joins again. No reset is passed on: each tab
 * gets its own. Kept in memory: what the worker says while a tab joins.
 */
import { Joiner, Stream, epoch, order } from "./sluice.js";

const PING = 2000, PATIENCE = 1500, TURN = 3000, GONE = 150000; // milliseconds
const now = () => Date.now();

/** A page's side of it: instead of a stream of its own, once it has joined. */
class Follower {
  constructor(hub) {
    Object.assign(this, { hub, stream: hub.stream, role: "", heard: 0, pinged: 0 });
    this.wake = ({ type, persisted }) => (type === "pagehide" ? this.away() : persisted && this.connect());
    for (const name of ["pagehide", "pageshow"]) addEventListener(name, this.wake);
    this.connect();
    this.timer = setInterval(() => this.ping(), PING);
  }

  connect() {
    const { token, headers, lastEventId, user, ...ask } = this.hub.ask;
    const worker = new SharedWorker(new URL("./sluice.share.js", import.meta.url), { type: "module", name: "sluice" });
    this.port?.close();
    this.port = worker.port;
    this.watch?.abort();
    worker.onerror = () => this.alone();
    this.port.onmessage = ({ data }) => this.hear(data);
    this.heard = this.pinged = now();
    const asks = [token, headers].map((it) => typeof it === "function");
    const plain = { ...ask, token: asks[0] ? null : token, headers: asks[1] ? null : headers };
    this.send({ open: JSON.stringify([plain, asks]), asks, ask: plain });
    this.join();
  }

  /** A page that waits for a lock is not kept for who goes back. */
  away() {
    this.watch?.abort();
    this.send({ bye: 1 });
  }

  send(message) { this.port.postMessage(message); }

  /** There is no such worker: a stream of its own, for good. */
  alone() {
    this.close();
    this.hub.shared = null;
    if (this.role !== "join" || !this.stream.turn) this.stream.run();
  }

  /** The worker holds this lock as long as it lives: to get it is to know that it was killed. */
  guard(lock) {
    const { signal } = (this.watch = new AbortController());
    navigator.locks.request(lock, { signal }, () => void (signal.aborted || this.connect())).catch(() => {});
  }

  /** The same where there are no locks. */
  ping() {
    const silent = this.pinged > this.heard && now() - this.pinged > PATIENCE;
    if (silent) return this.connect(); // it was killed
    this.pinged = now();
    this.send({ ping: 1 });
  }

  join() {
    this.role = "join";
    this.joiner?.stop();
    this.stream.pause();
    this.stream.opened = false; // what it was sent before says nothing of now
    this.joiner = new Joiner(this.stream, { switched: (kept) => this.switched(kept), restart: (up) => this.send({ up }) });
    this.send({ join: 1 });
    clearTimeout(this.turn);
    this.turn = setTimeout(() => this.go(), TURN);
  }

  go() {
    clearTimeout(this.turn);
    if (this.role === "join" && !this.stream.turn) this.stream.run();
  }

  /** The worker was: a stream of its own says whether this tab is too. */
  refused() {
    if (this.role === "follow") this.join();
    this.go();
  }

  /** Its own stream is closed: what the worker said meanwhile, in order. */
  switched(kept) {
    this.role = "follow";
    this.send({ joined: 1 });
    for (const message of kept) this.take(message);
  }

  hear(message) {
    this.heard = now();
    if (message.lives) this.guard(message.lives);
    else if (message.go) this.go();
    else if (message.need) this.give(message);
    else if (message.stop) this.stream.end();
    else if (message.leave) this.join();
    else if (message.over) this.refused();
    else if (message.state && this.role === "follow") this.stream.become(message.state);
    else if ("after" in message) this.take(message);
  }

  async give({ need, what }) {
    let it;
    try { it = await this.hub.ask[what](); } catch { /* another tab is asked */ }
    this.send({ given: need, it });
  }

  take(message) {
    const { after, share, block } = message, { stream } = this;
    if (this.role === "join") return this.joiner.hear(message);
    if (this.hub.left) return;
    if (share !== stream.share) return this.again(message);
    if (block && !block.id) return this.hub.frame(block, stream.id); // of a state
    if (!after) return;
    if (!(order(after, stream.id) <= 0)) return this.again(message); // something between was not for it
    if (!block || order(block.id, stream.id) <= 0) return;
    const before = stream.id;
    stream.id = block.id;
    this.hub.frame(block, before);
  }

  again(message) {
    this.join();
    this.joiner.hear(message);
  }

  /** What was open stays so for its page while it joins again, unless that takes longer than a retry. */
  holds(state) {
    clearTimeout(this.calm);
    const holds = this.told === "open" && state === "connecting" && this.role === "join";
    if (holds) this.calm = setTimeout(() => this.hub.status(state), this.stream.retry);
    this.told = holds ? "" : state;
    return holds;
  }

  /** After each block of the stream of its own. */
  look(type) {
    if (this.role === "join") this.joiner.look(type);
  }

  close() {
    for (const name of ["pagehide", "pageshow"]) removeEventListener(name, this.wake);
    clearInterval(this.timer);
    clearTimeout(this.turn);
    clearTimeout(this.calm);
    this.joiner.stop();
    this.away();
    this.port.onmessage = null;
  }
}

/** For sluice.js: what follows in place of the hub's own stream; nothing where that cannot be. */
export function share(hub) {
  if (hub.ask.method && hub.ask.method !== "GET") return null;
  try { return new Follower(hub); } catch { return null; }
}

const leaders = new Map(); // what is asked -> its Leader

/** The worker's side: one stream, and the ports of the tabs that follow it. */
class Leader {
  constructor(key, ask, asks) {
    Object.assign(this, { key, ports: new Map(), turns: [], needs: new Map(), needed: 0, whole: false });
    const from = (what, does) => (does ? () => this.need(what) : ask[what]);
    this.ask = { ...ask, token: from("token", asks[0]), headers: from("headers", asks[1]) };
    this.start();
  }

  start() {
    this.stream = new Stream(this.ask, this);
    this.stream.run();
  }

  say(message) {
    for (const port of this.ports.keys()) port.postMessage({ ...message, share: this.stream.share });
  }

  place() { return { after: this.whole ? this.stream.id : "", share: this.stream.share }; }

  hear(port, message) {
    const { stream } = this;
    if (message.ping) port.postMessage(this.ports.has(port) ? { alive: 1 } : { leave: 1 }); // it slept too long
    this.ports.set(port, now());
    if (message.joined) this.next(port);
    if (message.bye) this.drop(port);
    if (message.given) this.needs.get(message.given)?.(message.it);
    if (message.up && stream.over) this.start(); // refused once: that tab is not
    else if (message.up && this.whole && epoch(message.up) !== epoch(stream.id)) stream.run(); // its server is gone
    if (!message.join) return;
    if (stream.over) port.postMessage({ over: 1 });
    else if (stream.client) port.postMessage(this.place());
    this.turns = [...this.turns.filter((it) => it !== port), port];
    if (!this.current || this.current === port) this.next(this.current);
  }

  /** One tab after the other opens a stream of its own. */
  next(port) {
    if (port !== this.current) return;
    clearTimeout(this.timer);
    this.current = this.turns.shift();
    if (!this.current) return;
    this.current.postMessage({ go: 1 });
    this.timer = setTimeout(() => this.next(this.current), TURN);
  }

  drop(port) {
    this.ports.delete(port);
    this.turns = this.turns.filter((it) => it !== port);
    this.next(port);
    if (this.ports.size) return;
    this.stream.close();
    clearTimeout(this.timer);
    leaders.delete(this.key);
  }

  /** A ticket, or headers, of the tab that was heard last, or else of another. */
  async need(what) {
    for (const [port] of [...this.ports].sort((a, b) => b[1] - a[1])) {
      const need = ++this.needed;
      port.postMessage({ need, what });
      const it = await new Promise((done) => { this.needs.set(need, done); setTimeout(done, TURN); });
      this.needs.delete(need);
      if (it) return it;
    }
    throw new Error(`no tab has given its ${what}`);
  }

  // from the stream
  frame(block, before) {
    const { type } = block, { stream, whole } = this;
    if (type === "reset") return;
    if (type === "hello") {
      this.whole = stream.resumed;
      return this.say(this.place());
    }
    if (type === "sync") this.whole = true;
    if (!this.torn) this.say({ after: whole ? before : "", block });
    if (whole || type !== "sync") return;
    if (this.torn) this.say({ leave: 1 }); // each has resets of its own to get
    this.torn = false;
    this.say(this.place());
  }

  reset() {
    if (this.whole) this.stream.run(); // in the middle: what follows now is for nobody but this stream
    else this.torn = true;
    this.whole = false;
  }

  status(state) {
    if (state === "connecting") this.whole = this.torn = false;
    if (state !== "closed") this.say({ state });
  }

  error() {}

  end(problem) {
    this.say(problem ? { over: 1 } : { stop: 1 });
    if (!problem) leaders.delete(this.key);
  }
}

if (globalThis.SharedWorkerGlobalScope) {
  const lives = String(Math.random());
  const locked = new Promise((done) => navigator.locks?.request(lives, () => (done(), new Promise(() => {}))));
  globalThis.onconnect = ({ ports: [port] }) => {
    locked.then(() => port.postMessage({ lives }));
    let first; // what it has opened
    port.onmessage = ({ data }) => {
      first ??= data;
      const key = first.open;
      if (!leaders.has(key)) {
        if (data.bye) return;
        leaders.set(key, new Leader(key, first.ask, first.asks));
      }
      leaders.get(key).hear(port, data);
    };
  };
  setInterval(() => {
    for (const leader of leaders.values())
      for (const [port, heard] of leader.ports) if (now() - heard > GONE) leader.drop(port);
  }, GONE / 5);
}
