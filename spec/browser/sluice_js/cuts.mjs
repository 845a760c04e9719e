// Readers whose connections are cut anywhere, again and again, while numbers are published:
//   node cuts.mjs <file of connect> <url> <readers> <cuts of each> <seed> <speed of waits> -> { cuts, left, wrong }
// The proxy in between cuts after a random number of bytes, and sometimes only falls silent: a
// checker of its own compares what each reader was given with 1, 2, 3 …
import { connect as dial, createServer } from "node:net";
import { pathToFileURL } from "node:url";

const [file, url, readers, cuts, seed, speed] = process.argv.slice(2);
const timeout = setTimeout;
globalThis.setTimeout = (fn, ms, ...args) => timeout(fn, ms > 400 && ms < 60000 ? ms / speed : ms, ...args);
const { connect } = await import(pathToFileURL(file));
const upstream = new URL(url);
let state = Number(seed), made = 0;
const random = (n) => { // mulberry32
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) % n;
};
const wait = (ms) => new Promise((done) => timeout(done, ms));
const left = new Map(); // reader -> cuts to come

const proxy = createServer((client) => {
  const server = dial(upstream.port, "127.0.0.1");
  let room = Infinity, deaf = false;
  const end = () => { client.destroy(); server.destroy(); };
  client.on("error", end).on("close", end);
  server.on("error", end).on("close", end);
  client.on("data", (bytes) => {
    server.write(bytes);
    // a reader that polls may use a connection that another one has opened
    const reader = /reader=(\d+)/.exec(bytes)?.[1], cut = left.get(reader);
    if (!cut || room < Infinity) return;
    left.set(reader, cut - 1);
    room = random(4) ? 400 + random(900) : random(400); // most behind the head
    deaf = random(20) === 0;
  });
  server.on("data", (bytes) => {
    if (room === 0) return;
    client.write(bytes.subarray(0, room));
    room = Math.max(0, room - bytes.length);
    if (room > 0) return;
    made++;
    if (!deaf) client.destroySoon();
  });
});
await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
const front = `http://127.0.0.1:${proxy.address().port}`;

let n = 0, on = true;
const publish = () => fetch(upstream.origin + "/-t/publish/log", { method: "POST",
  headers: { "Content-Type": "application/json" }, body: JSON.stringify({ first: ++n, pad: random(60) }) });
const all = Array.from({ length: Number(readers) }, (_, i) => {
  const seen = [], resets = [];
  left.set(String(i), Number(cuts));
  const connection = connect(`${front}${upstream.pathname}?reader=${i}`, { eventTypes: ["e"],
    onMessage: (e) => seen.push(e.data.n), onReset: (r) => resets.push(r) });
  return { seen, resets, connection };
});
const publishing = (async () => { for (; on; await wait(10)) await publish(); })();
const until = async (fn, ms) => { for (const end = Date.now() + ms; Date.now() < end && !fn(); await wait(20)); };
await until(() => [...left.values()].every((x) => x === 0), 600000);
await wait(500);
on = false;
await publishing;
await until(() => all.every((r) => r.seen.at(-1) === n), 60000);
const wrong = all.flatMap(({ seen, resets }, i) => {
  const at = seen.findIndex((x, k) => x !== k + 1);
  return at < 0 && seen.length === n && !resets.length ? [] : [{ reader: i, at, near: seen.slice(Math.max(at, 2) - 2, at + 3),
    last: seen.at(-1), n, resets }];
});
console.log(JSON.stringify({ cuts: made, left: [...left.values()].reduce((a, b) => a + b), wrong }));
process.exit(0);
