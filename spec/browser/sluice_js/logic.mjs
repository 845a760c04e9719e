// What sluice.js does with answers of every kind, in Node, against a server that plays them:
//   node logic.mjs <file of connect> -> a line of JSON per case: { name, error }
// Every case has a server and a deadline of its own; all run side by side. The file may be
// sluice.legacy.js: it is given an XMLHttpRequest, and what it does not have is left out.
import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { pathToFileURL } from "node:url";

const SCALE = Number(process.env.SLUICE_SPEC_SCALE ?? 1);
const LEGACY = process.argv[2].includes("legacy");
const lib = await import(pathToFileURL(process.argv[2]));
const { connect } = LEGACY ? lib.default.sluice : lib;

/** As much of it as sluice.legacy.js uses. */
globalThis.XMLHttpRequest = class {
  open(method, url) { Object.assign(this, { method, url, fields: {}, status: 0, readyState: 1, responseText: "" }); }
  setRequestHeader(name, value) { this.fields[name] = value; }
  getResponseHeader(name) { return this.answer.headers[name.toLowerCase()] ?? null; }
  change(state) {
    if (this.aborted) return;
    this.readyState = state;
    this.onreadystatechange?.();
  }
  send(body) {
    const decoder = new TextDecoder();
    this.asked = request(this.url, { method: this.method, headers: this.fields, agent: false }, (answer) => {
      Object.assign(this, { answer, status: answer.statusCode });
      answer.on("data", (bytes) => { this.responseText += decoder.decode(bytes, { stream: true }); this.change(3); });
      answer.on("end", () => this.change(4));
      answer.on("error", () => { this.status = 0; this.change(4); });
    });
    this.asked.on("error", () => { this.status = 0; this.change(4); });
    this.asked.end(body ?? undefined);
  }
  abort() { this.aborted = true; this.asked.destroy(); }
};
const MODERN = ["follows events without", "is one stream", "gives a late one", "keeps the stream of", "follows another tab's", "leaves no stream", "answers out of", "changes what it", "changes its", "knows that", "closes by"];

let clients = 0; // each stream has a name of its own
const HELLO = (more) => `:ok\nretry: 500\nevent: hello\ndata: ${JSON.stringify({ client: `c${++clients}`, epoch: "a", resumed: false,
  replay: 0, state: {}, channels: 1, heartbeat: 15, ...more })}\nid: a-1\n\n`;
const event = (n, data = n) => `event: e\ndata: ${JSON.stringify(data)}\nid: a-${n}\n\n`;
const SYNC = "event: sync\ndata: {}\nid: a-1\n\n";

const wait = (ms) => new Promise((done) => setTimeout(done, ms));
async function until(what, fn, ms = 8000) {
  for (const end = Date.now() + ms * SCALE; Date.now() < end; await wait(5)) if (fn()) return;
  assert.fail(`not within ${ms} ms: ${what()}`);
}

/** A server that gives each request the next of these answers; the last one again and again. */
async function serve(...answers) {
  const asked = [], open = [];
  const server = createServer((req, res) => {
    const query = Object.fromEntries(new URL(req.url, "http://x").searchParams);
    const n = asked.push({ query, method: req.method, headers: req.headers, res, body: "", at: Date.now() });
    req.on("data", (bytes) => { asked[n - 1].body += bytes; });
    open.push(res);
    res.sse = (...texts) => {
      if (!res.headersSent) res.writeHead(200, { "Content-Type": "text/event-stream" });
      for (const text of texts) res.write(text);
      return res;
    };
    res.on("close", () => open.splice(open.indexOf(res), 1));
    answers[Math.min(n, answers.length) - 1](res, asked[n - 1]);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${server.address().port}/s`;
  return { url, asked, open, close: () => { server.closeAllConnections(); server.close(); } };
}

/** Follow it, and note all that is told. */
function follow(url, options = {}) {
  const seen = { events: [], data: [], states: [], errors: [], resets: [] };
  seen.connection = connect(url, { eventTypes: ["e"], ...options,
    onMessage: (e) => { seen.events.push(e); seen.data.push(e.data); options.onMessage?.(e); },
    onStatus: (s) => { seen.states.push(s); options.status?.(s); }, onError: (e) => seen.errors.push(e),
    onReset: (r) => { seen.resets.push(r); options.reset?.(r); } });
  seen.has = (n) => until(() => JSON.stringify(seen), () => seen.events.length >= n);
  seen.is = (state) => until(() => `${state}: ${JSON.stringify(seen)}`, () => seen.connection.status === state);
  return seen;
}

const live = (res) => res.sse(HELLO(), SYNC);
const refuse = (status, headers) => (res) => res.writeHead(status, headers).end("no");
const bye = (reason, more) => `event: bye\ndata: ${JSON.stringify({ reason, retry: 500, ...more })}\nid: a-1\n\n`;

const cases = {
  async "reads JSON, text that is none as it is, and lines of every kind"() {
    const s = await serve((res) => res.sse("\ufeff", HELLO(), ": x\n", "event: e\r\ndata: {\"a\":1}\r\rdata:plain\revent:e\n\n",
      "event: e\ndata: two\ndata: lines\n\nevent: e\ndata\n\nevent: e\nid: 7\n\nevent: other\ndata: 1\n\n"));
    const seen = follow(s.url);
    await seen.has(4);
    assert.deepEqual(seen.data, [{ a: 1 }, "plain", "two\nlines", ""]);
    return [s, seen];
  },

  async "reads the same however its bytes are cut"() {
    const bytes = Buffer.from(HELLO() + event(2, "ä€😀\r") + event(3, { x: 1 }).replaceAll("\n", "\r\n") + event(4));
    const s = await serve((res) => {
      res.sse();
      let at = 0;
      const next = () => { if (at < bytes.length && !res.destroyed) res.write(bytes.subarray(at, ++at), () => setImmediate(next)); };
      next();
    });
    const seen = follow(s.url);
    await seen.has(3);
    assert.deepEqual(seen.data, ["ä€😀\r", { x: 1 }, 4]);
    assert.deepEqual(seen.events.map((e) => e.id), ["a-2", "a-3", "a-4"]);
    return [s, seen];
  },

  async "sends types, keys and rate, and filters here"() {
    const s = await serve((res) => live(res).sse(event(2), event(3), event(4)));
    const seen = follow(s.url + "?a=b", { keys: ["x", "y z"], maxRate: 2, filter: (e) => e.data % 2 === 0 });
    await seen.has(2);
    assert.deepEqual(seen.data, [2, 4]);
    assert.deepEqual(s.asked[0].query, { a: "b", types: "e", keys: "x,y z", max_rate: "2" });
    assert.equal(s.asked[0].headers.accept, "text/event-stream");
    assert.equal(s.asked[0].headers["cache-control"], "no-cache");
    return [s, seen];
  },

  async "follows events without a name when no types are given, and all with *"() {
    const s = await serve((res) => live(res).sse(event(2), "data: 1\n\n"));
    const seen = follow(s.url, { eventTypes: undefined }), all = follow(s.url, { eventTypes: ["*"] });
    await all.has(2);
    await seen.has(1);
    assert.deepEqual([seen.data, all.data], [[1], [2, 1]]);
    assert.deepEqual([s.asked.length, s.asked[0].query], [1, {}]);
    return [s, seen, all];
  },

  async "goes on after what it has read, when the server ends or breaks off"() {
    const s = await serve((res) => live(res).sse(event(2), event(3)).end(),
      (res) => res.sse(HELLO({ resumed: true }).replace("a-1", "a-3"), event(4)) && setTimeout(() => res.destroy(), 50),
      (res) => res.sse(HELLO({ resumed: true }).replace("a-1", "a-4"), event(5)));
    const seen = follow(s.url);
    await seen.has(4);
    assert.deepEqual(seen.data, [2, 3, 4, 5]);
    assert.deepEqual(s.asked.map((a) => a.query.lastEventId), [undefined, "a-3", "a-4"]);
    assert.deepEqual(seen.states, ["open", "waiting", "connecting", "open", "waiting", "connecting", "open"]);
    return [s, seen];
  },

  async "takes an id with the blank line, not before"() {
    const text = event(3);
    await Promise.all([...text].map(async (_, n) => { // cut after so many bytes of it
      const s = await serve((res) => res.sse(HELLO(), event(2) + text.slice(0, n)).end(), live), seen = follow(s.url);
      await until(() => n, () => s.asked.length > 1);
      assert.deepEqual([s.asked[1].query.lastEventId, seen.data], ["a-2", [2]]);
      seen.connection.close();
      s.close();
    }));
  },

  async "comes back after 502 and 503, and waits as Retry-After says"() {
    const s = await serve(refuse(502), refuse(503, { "Retry-After": "2" }), (res) => live(res).sse(event(2)));
    const seen = follow(s.url);
    await seen.has(1);
    const [, second, third] = s.asked;
    assert.deepEqual(seen.errors.map((e) => e.status), [502, 503]);
    assert.ok(third.at - second.at >= 1990, `after ${third.at - second.at} ms`);
    assert.deepEqual(seen.states, ["waiting", "connecting", "waiting", "connecting", "open"]);
    return [s, seen];
  },

  async "comes back when nobody listens, and after an answer that is no stream"() {
    const s = await serve((res) => res.end("<html>"), (res) => res.destroy(), (res) => live(res).sse(event(2)));
    const seen = follow(s.url);
    await seen.has(1);
    assert.deepEqual(seen.errors.map((e) => e.status), [200, undefined]);
    return [s, seen];
  },

  async "is over after 204, bye stop and a refusal"() {
    for (const [answer, status] of [[refuse(204)], [(res) => live(res).sse(event(2), bye("stop").replace("a-1", "stop"))],
      [refuse(404), 404], [refuse(401), 401], [(res) => res.sse(bye("denied").replace("a-1", "stop")), 403],
      [(res) => res.sse(bye("denied", { status: 401 })), 401]]) {
      const s = await serve(answer), seen = follow(s.url);
      await seen.is("closed");
      await wait(50);
      assert.deepEqual([s.asked.length, seen.states.at(-1), seen.errors[0]?.status], [1, "closed", status]);
      s.close();
    }
  },

  async "comes back after other byes, when they say"() {
    const s = await serve((res) => live(res).sse("event: bye\nretry: 700\ndata: {\"reason\":\"drain\",\"retry\":700}\nid: a-9\n\n"), live);
    const seen = follow(s.url), start = Date.now();
    await until(() => "again", () => s.asked.length === 2);
    assert.ok(Date.now() - start >= 690);
    assert.equal(s.asked[1].query.lastEventId, "a-9");
    return [s, seen];
  },

  async "asks for a token each time, and again after 401, also a late one"() {
    let n = 0;
    const token = async () => `t${++n}`;
    const s = await serve(refuse(401), (res) => live(res).end(), (res) => res.sse(bye("denied", { status: 401 }).replace("a-1", "stop")),
      (res) => live(res).sse(event(2)));
    const seen = follow(s.url, { token });
    await seen.has(1);
    assert.deepEqual(s.asked.map((a) => a.query.ticket), ["t1", "t2", "t3", "t4"]);
    assert.equal(s.asked[3].query.lastEventId, "a-1");
    assert.ok(seen.errors.every((e) => e.status !== 401));
    const never = await serve(refuse(401)), refused = follow(never.url, { token });
    await refused.is("closed");
    assert.deepEqual([never.asked.length, refused.errors.map((e) => e.status)], [2, [401]]);
    return [s, seen, never];
  },

  async "says stale when nothing is heard for longer than a heartbeat, and connects again"() {
    const s = await serve((res) => res.sse(HELLO({ heartbeat: 0.1 }), SYNC, event(2)), (res) => live(res).sse(event(3)));
    const seen = follow(s.url);
    await seen.has(2);
    assert.deepEqual(seen.states, ["open", "stale", "waiting", "connecting", "open"]);
    assert.equal(s.asked[1].query.lastEventId, "a-2");
    return [s, seen];
  },

  async "throttles: the first at once, then the newest of each type"() {
    const s = await serve((res) => {
      live(res);
      let n = 1;
      const timer = setInterval(() => { for (let i = 0; i < 20; i++) res.write(event(++n)); if (n > 500) clearInterval(timer); }, 10);
    });
    const start = Date.now(), seen = follow(s.url, { throttle: 200 });
    await until(() => seen.data.join(), () => seen.data.at(-1) === 501);
    const most = Math.ceil((Date.now() - start) / 200) + 1;
    assert.ok(seen.data.length <= most && seen.data.length > 1, `${seen.data.length} calls, not ${most}`);
    return [s, seen];
  },

  async "is one stream for all who ask the same, also for who comes late"() {
    const s = await serve((res) => live(res).sse(event(2)), (res) => res.sse(HELLO().replace("a-1", "a-2"), SYNC.replace("a-1", "a-2")));
    const first = follow(s.url), other = follow(s.url);
    await first.has(1);
    await other.has(1);
    assert.equal(s.asked.length, 1);
    s.asked[0].res.write(SYNC.replace("a-1", "a-2"));
    const late = follow(s.url);
    await until(() => `${s.open.length} open`, () => s.asked.length === 2 && s.open.length === 1);
    s.asked[0].res.write(event(3));
    await late.has(1);
    assert.deepEqual([first.data, other.data, late.data], [[2, 3], [2, 3], [3]]);
    first.connection.close();
    other.connection.close();
    s.asked[0].res.write(event(4));
    await late.has(2);
    late.connection.close();
    await until(() => "closed", () => s.open.length === 0);
    return [s];
  },

  async "gives a late one nothing twice and nothing less, whichever stream is ahead"() {
    for (const [own, others] of [[[2, 3], [3, 4]], [[2, 3, 4, 5], [3, 4, 5, 6]], [[2], [3, 4]]]) {
      const s = await serve((res) => live(res).sse(event(2)), (res) => res.sse(HELLO(), ...own.map((n) => event(n))));
      const first = follow(s.url);
      await first.has(1);
      const late = follow(s.url);
      await until(() => "late", () => s.asked.length === 2);
      await late.has(own.length);
      for (const n of others) s.asked[0].res.write(event(n));
      await until(() => first.data.join(), () => first.data.at(-1) === others.at(-1));
      s.asked[1].res.write(SYNC.replace("a-1", `a-${own.at(-1)}`));
      await until(() => "one", () => s.open.length === 1);
      s.asked[0].res.write(event(9));
      await until(() => JSON.stringify(late.data), () => late.data.at(-1) === 9);
      assert.deepEqual(late.data, [...own, ...others.filter((n) => n > own.at(-1)), 9]);
      first.connection.close();
      late.connection.close();
      s.close();
    }
  },

  async "keeps the stream of a late one until that is not behind"() {
    const s = await serve((res) => live(res).sse(event(2), event(3), event(4), event(5)),
      (res) => res.sse(HELLO(), event(2), event(3), SYNC.replace("a-1", "a-3")));
    const first = follow(s.url);
    await first.has(4);
    const late = follow(s.url);
    await late.has(2);
    await wait(200);
    assert.equal(s.open.length, 2);
    s.asked[1].res.write(event(4) + event(5));
    await until(() => "one", () => s.open.length === 1);
    s.asked[0].res.write(event(6));
    await late.has(5);
    assert.deepEqual(late.data, [2, 3, 4, 5, 6]);
    return [s, first, late];
  },

  async "follows another tab's stream only where that continues its own"() {
    const own = { share: "u.p" }, at = (n, more) => res => res.sse(HELLO({ resumed: true, ...own, ...more })
      .replace("a-1", `a-${n}`).replace("retry: 500", "retry: 60000"));
    const s = await serve((res) => res.sse(HELLO(own).replace("retry: 500", "retry: 60000"), SYNC), (res) => at(2)(res).sse(event(3), event(4), SYNC.replace("a-1", "a-4")),
      (res) => at(5)(res).sse(event(6), SYNC.replace("a-1", "a-6")), (res) => at(7)(res).sse(SYNC.replace("a-1", "a-7")));
    let port, place = "a-1";
    const told = []; // by the page to the worker, which this case plays
    const say = (after, n, data = n, share = "u.p") => port.postMessage({ after, share,
      block: n && { type: "e", data: JSON.stringify(data), id: n === "state" ? null : `a-${n}`, retry: null } });
    globalThis.SharedWorker = class {
      constructor() {
        const channel = new MessageChannel();
        this.port = channel.port1;
        port = channel.port2;
        port.onmessage = ({ data }) => {
          told.push(Object.keys(data)[0]);
          if (data.ping) port.postMessage({ alive: 1 });
          if (!data.join) return;
          say(place);
          port.postMessage({ go: 1 });
        };
      }
    };
    globalThis.addEventListener ??= () => {};
    globalThis.removeEventListener ??= () => {};
    const seen = follow(s.url, { share: true });
    const follows = (n) => until(() => `${n}: ${told} ${JSON.stringify(seen)}`, () => told.filter((x) => x === "joined").length === n && s.open.length === 0);
    await follows(1);
    say("a-1", 2);
    say("a-2", 2); // has it
    say("a-2", "state", "s");
    await seen.has(2);
    place = "a-4";
    say("a-4", 5); // two between are not there
    await follows(2);
    await seen.has(5);
    place = "a-6";
    say("a-5", 6, "of another user", "x.p");
    await until(() => "own", () => s.asked.length === 3);
    await seen.has(6);
    say("a-6"); // the sharer is its own user's again
    await follows(3);
    say("a-6", 7);
    await seen.has(7);
    port.postMessage({ leave: 1 });
    await follows(4);
    assert.deepEqual(seen.data, [2, "s", 3, 4, 5, 6, 7]);
    assert.deepEqual(seen.states, ["open"]); // however often it joined again
    assert.deepEqual(s.asked.map((a) => a.query.lastEventId), [undefined, "a-2", "a-5", "a-7"]);
    port.postMessage({ stop: 1 });
    await seen.is("closed");
    delete globalThis.SharedWorker;
    return [s, seen, { close: () => port.close() }];
  },

  async "answers out of a cache are none: it asks with an address of its own"() {
    const text = HELLO() + SYNC + event(2), old = (res) => res.sse(text).end();
    const s = await serve(old, old, (res) => res.sse(HELLO({ client: "d", resumed: true }).replace("a-1", "a-2"), event(3)));
    const seen = follow(s.url);
    await seen.has(2);
    assert.deepEqual(seen.data, [2, 3]);
    assert.deepEqual(s.asked.map((a) => [a.query.lastEventId, !!a.query.again]), [[undefined, false], ["a-2", false], ["a-2", true]]);
    return [s, seen];
  },

  async "leaves no stream behind when it is closed at once"() {
    const s = await serve(live);
    const seen = follow(s.url);
    seen.connection.close();
    const again = follow(s.url);
    await again.is("open");
    again.connection.close();
    await until(() => "closed", () => s.open.length === 0);
    assert.deepEqual([s.asked.length, seen.states], [1, ["closed"]]);
    return [s];
  },

  async "changes what it asks for, and keeps its place"() {
    const s = await serve((res) => live(res).sse(event(2)), (res) => live(res).sse(event(3)));
    const seen = follow(s.url, { keys: ["a"] });
    await seen.has(1);
    await seen.connection.set({ keys: ["b"], maxRate: 5 });
    await seen.has(2);
    assert.deepEqual(s.asked[1].query, { types: "e", keys: "b", max_rate: "5", lastEventId: "a-2" });
    await until(() => "one", () => s.open.length === 1);
    return [s, seen];
  },

  async "opens by POST, under one name"() {
    const s = await serve((res) => live(res).sse(event(2)).end(), live);
    const seen = follow(s.url, { method: "POST", body: { prompt: "hi" }, headers: () => ({ Authorization: "Bearer x" }) });
    await until(() => "again", () => s.asked.length === 2);
    await seen.is("open");
    const [a, b] = s.asked;
    assert.deepEqual([a.method, a.body, a.headers["content-type"], b.body], ["POST", '{"prompt":"hi"}', "application/json", a.body]);
    assert.ok(a.headers["idempotency-key"] && a.headers["idempotency-key"] === b.headers["idempotency-key"]);
    assert.deepEqual([a.headers["last-event-id"], b.headers["last-event-id"], b.headers.authorization], [undefined, "a-2", "Bearer x"]);
    return [s, seen];
  },

  async "acknowledges by the id in the data"() {
    const s = await serve((res) => live(res).sse(event(2, { id: "n7" })), (res) => res.writeHead(204).end());
    const seen = follow(s.url + "?x=1");
    await seen.has(1);
    await seen.events[0].ack();
    await until(() => "ack", () => s.asked[1]?.body);
    assert.deepEqual([s.asked[1].method, s.asked[1].body], ["POST", '{"ids":["n7"]}']);
    return [s, seen];
  },

  async "tells of resets, and starts anew for another user"() {
    const reset = { channel: "l", reason: "trimmed", from: "a-2", oldest: "a-5" };
    const s = await serve((res) => res.sse(HELLO({ share: "alice.p" }), SYNC, event(2)).end(),
      (res) => res.sse(HELLO({ share: "alice.q" }).replace("a-1", "a-4"), `event: reset\ndata: ${JSON.stringify(reset)}\nid: a-4\n\n`,
        event(5)).end(), (res) => res.sse(HELLO({ share: "bob.p" }), event(6)), (res) => res.sse(HELLO({ share: "bob.p" }), event(7)));
    const seen = follow(s.url);
    await seen.has(3);
    assert.deepEqual(seen.data, [2, 5, 7]);
    assert.deepEqual(seen.resets, [reset, { channel: null, reason: "user", from: "a-5", oldest: null }]);
    assert.deepEqual(s.asked.map((a) => a.query.lastEventId), [undefined, "a-2", "a-5", undefined]);
    return [s, seen];
  },

  async "follows servers of other kinds, with words of their own for a beginning"() {
    const s = await serve((res) => res.sse("event: hello\ndata: null\n\n", "id: 9\nevent: e\ndata: 1\n\nevent: bye\ndata: later\n\n"),
      (res) => res.sse("event: hello\ndata: hi\n\nid: 10\nevent: e\ndata: 2\n\nid: 8\nevent: e\ndata: 3\n\n"));
    const seen = follow(s.url);
    await seen.has(3);
    assert.deepEqual([seen.data, seen.connection.lastEventId, s.asked[1].query.lastEventId], [[1, 2, 3], "8", "9"]);
    return [s, seen];
  },

  async "goes on when a page's function raises"() {
    const s = await serve((res) => live(res).sse(event(2), event(3)));
    const raised = [];
    const note = (error) => raised.push(error.message);
    process.on("uncaughtException", note);
    const seen = follow(s.url, { onMessage: () => { throw new Error("of the page"); } });
    await seen.has(2);
    await until(() => raised.join(), () => raised.filter((m) => m === "of the page").length === 2);
    process.off("uncaughtException", note);
    return [s, seen];
  },

  async "closes by a signal"() {
    const s = await serve(live), stop = new AbortController(), seen = follow(s.url, { signal: stop.signal });
    await seen.is("open");
    stop.abort();
    await until(() => "closed", () => s.open.length === 0 && seen.connection.status === "closed");
    return [s];
  },

  async "polls when a proxy keeps the stream for itself"() {
    const poll = (n, begin, most) => {
      const text = `${begin}${event(n).slice(0, -1)}poll: t${n}\n\n`;
      return (res) => {
        res.writeHead(200, { "Content-Type": "text/event-stream", "Content-Length": text.length });
        if (most) res.write(text.slice(0, -most), () => res.destroy()); // its end never arrives
        else res.end(text);
      };
    };
    const s = await serve((res) => res.sse(), poll(2, HELLO()), poll(3, ""), poll(4, "", 8), poll(4, ""), poll(5, ""));
    const seen = follow(s.url, { fallbackAfter: 300 });
    await until(() => JSON.stringify(seen), () => seen.events.length >= 4, 30000);
    assert.deepEqual(s.asked.slice(0, 6).map(({ query }) => query.mode), [undefined, ...Array(5).fill("poll")]);
    assert.deepEqual(s.asked.slice(0, 6).map(({ query }) => query.poll), [undefined, undefined, "t2", "t3", "t3", "t4"]);
    assert.deepEqual(s.asked.slice(0, 6).map(({ query }) => query.lastEventId), [undefined, undefined, "a-2", "a-3", "a-3",
      "a-4"]);
    assert.deepEqual(seen.events.slice(0, 4).map((e) => e.id), ["a-2", "a-3", "a-4", "a-5"]);
    return [s, seen];
  },

  async "knows that another user has signed in when it changes what it asks for"() {
    const s = await serve((res) => res.sse(HELLO({ share: "alice.p" }), SYNC, event(2)),
      (res) => res.sse(HELLO({ share: "bob.p", resumed: true }), event(5)), (res) => res.sse(HELLO({ share: "bob.p" }), SYNC, event(4)));
    const seen = follow(s.url);
    await seen.has(1);
    await seen.connection.set({ keys: ["b"] });
    await seen.has(2);
    assert.deepEqual([seen.data, seen.resets.map((r) => r.reason)], [[2, 4], ["user"]]);
    assert.deepEqual(s.asked.map((a) => a.query.lastEventId), [undefined, "a-2", undefined]);
    return [s, seen];
  },

  async "goes on after an id for the user it was of, else anew"() {
    for (const [share, wanted] of [["alice.q", [[5], [], 1]], ["bob.p", [[4], ["user"], 2]]]) {
      const first = await serve((res) => res.sse(HELLO({ share: "alice.p" }), SYNC, event(2)));
      const before = follow(first.url);
      await before.has(1);
      const { user, lastEventId } = before.connection;
      assert.deepEqual([user, lastEventId], ["alice.p", "a-2"]);
      const s = await serve((res) => res.sse(HELLO({ share, resumed: true }), event(5)), (res) => res.sse(HELLO({ share }), event(4)));
      const seen = follow(s.url, { lastEventId, user });
      await seen.has(1);
      assert.deepEqual([seen.data, seen.resets.map((r) => r.reason), s.asked.length], wanted);
      for (const it of [first, s, before.connection, seen.connection]) it.close();
    }
  },

  async "gives what a throttle holds before a reset of a channel, and never after one of all"() {
    const reset = (channel) => `event: reset\ndata: ${JSON.stringify({ channel, reason: "trimmed" })}\nid: a-9\n\n`;
    for (const [channel, wanted] of [["l", [2, 3, "reset", 10]], [null, [2, "reset", 10]]]) {
      const s = await serve((res) => live(res).sse(event(2), event(3), reset(channel), event(10)));
      const order = [];
      const seen = follow(s.url, { throttle: 200, onMessage: (e) => order.push(e.data), reset: () => order.push("reset") });
      await until(() => order.join(), () => order.at(-1) === 10);
      assert.deepEqual(order, wanted);
      seen.connection.close();
      s.close();
    }
  },

  async "gives what a throttle holds when it is closed and when the server stops, and nothing later"() {
    const s = await serve((res) => live(res).sse(event(2), event(3))), seen = follow(s.url, { throttle: 300 });
    await until(() => seen.connection.lastEventId, () => seen.connection.lastEventId === "a-3");
    assert.deepEqual(seen.data, [2]);
    seen.connection.close();
    assert.deepEqual(seen.data, [2, 3]);
    const stopped = await serve((res) => live(res).sse(event(2), event(3), bye("stop").replace("a-1", "stop"))), told = [];
    follow(stopped.url, { throttle: 300, onMessage: (e) => told.push(e.data), status: (state) => told.push(state) });
    await until(() => told.join(), () => told.includes("closed"));
    await wait(400);
    assert.deepEqual([seen.data, told], [[2, 3], ["open", 2, 3, "closed"]]);
    return [s, stopped];
  },

  async "waits and asks again when a function for the token or the headers fails"() {
    for (const name of ["token", "headers"]) {
      for (const fails of [() => { throw new Error("broken once"); }, () => Promise.reject(new Error("broken once"))]) {
        const s = await serve((res) => live(res).sse(event(2)).end(), (res) => live(res).sse(event(3)));
        let n = 0;
        const give = () => (name === "token" ? `t${n}` : { "X-Turn": `t${n}` });
        const seen = follow(s.url, { [name]: () => (++n === 2 ? fails() : give()) });
        await seen.has(2);
        assert.deepEqual(s.asked.map((a) => a.query.ticket ?? a.headers["x-turn"]), ["t1", "t3"]);
        assert.ok(seen.errors.some((e) => e.message === "broken once"), JSON.stringify(seen.errors));
        seen.connection.close();
        s.close();
      }
    }
  },

  async "gives an event without data when parse raises, and reports it"() {
    const s = await serve((res) => live(res).sse(event(2) + event(3) + event(4)));
    const raised = [], note = (error) => raised.push(error.message);
    process.on("uncaughtException", note);
    const seen = follow(s.url, { parse: (text) => { if (text === "3") throw new Error("no parse"); return +text; } });
    await seen.has(3);
    await until(() => raised.join(), () => raised.includes("no parse"));
    process.off("uncaughtException", note);
    assert.deepEqual([seen.data, seen.events[1].id], [[2, undefined, 4], "a-3"]);
    return [s, seen];
  },

  async "is refused when a new token is no better, also behind a hello"() {
    const s = await serve((res) => res.sse(HELLO(), bye("denied", { status: 401 }).replace("a-1", "stop")));
    const seen = follow(s.url, { token: () => "old" });
    await seen.is("closed");
    assert.deepEqual([s.asked.length, seen.errors.map((e) => e.status)], [2, [401]]);
    return [s, seen];
  },

  async "polls in silence through a gateway that takes the length away"() {
    const poll = (n, begin = "") => (res) => res.sse(begin, event(n).slice(0, -1) + `poll: t${n}\n\n`).end();
    const cut = (res) => res.sse(event(4), "event: e\ndata: 5\n") && setTimeout(() => res.destroy(), 50);
    const s = await serve((res) => res.sse(), poll(2, HELLO()), poll(3), cut, poll(5), poll(6));
    const seen = follow(s.url, { fallbackAfter: 300 });
    await until(() => JSON.stringify(seen), () => seen.events.length >= 5, 30000);
    assert.deepEqual(seen.data.slice(0, 5), [2, 3, 4, 5, 6]);
    assert.deepEqual(s.asked.slice(0, 6).map(({ query }) => query.poll), [undefined, undefined, "t2", "t3", undefined, "t5"]);
    assert.deepEqual(s.asked.slice(1, 6).map(({ query }) => query.lastEventId), [undefined, "a-2", "a-3", "a-4", "a-5"]);
    assert.deepEqual(seen.states, ["waiting", "connecting", "open", "waiting", "connecting", "open"]);
    assert.equal(seen.errors.length, 2);
    return [s, seen];
  },

  async "changes its question to that of an open stream that has said nothing"() {
    const s = await serve((res) => res.sse(":ok\n\n")), quiet = follow(s.url, { keys: ["b"] }), seen = follow(s.url, { keys: ["a"] });
    await quiet.is("open");
    await seen.is("open");
    let set = false;
    seen.connection.set({ keys: ["b"] }).then(() => { set = true; });
    await until(() => "set", () => set);
    return [s, quiet, seen];
  },
};

// A first word takes ten seconds: with the full size.
if (process.env.SLUICE_SPEC_FULL === "1") cases["notices a server that falls silent before its hello"] = async () => {
  const s = await serve((res) => res.sse(":ok\n\n"), live), seen = follow(s.url);
  await until(() => JSON.stringify(seen), () => s.asked.length === 2, 20000);
  await seen.is("open");
  assert.deepEqual(seen.states, ["open", "stale", "waiting", "connecting", "open"]);
  return [s, seen];
};

const wanted = Object.entries(cases).filter(([name]) => !LEGACY || !MODERN.some((begin) => name.startsWith(begin)));
await Promise.all(wanted.map(async ([name, fn]) => {
  let error = null;
  try {
    for (const it of (await fn()) ?? []) (it.close ?? it.connection.close)();
  } catch (e) { error = e.stack; }
  console.log(JSON.stringify({ name, error }));
}));
process.exit(0);
