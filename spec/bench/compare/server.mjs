// What many write first: a server of node:http alone, or with better-sse.
//   node server.mjs PORT node|better-sse [where better-sse is]
// GET: a stream. POST /burst?events=E&batch=K&every=US: numbered events to all of them.
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const [port, kind, path] = process.argv.slice(2);
const PAD = "x".repeat(126); // frames of 200 bytes, as those of the others
const streams = new Set();
let library, channel, last = 0;
if (kind === "better-sse") {
  library = await import(path);
  channel = library.createChannel();
}

async function open(req, res) {
  if (library) {
    const session = await library.createSession(req, res, { keepAlive: null });
    session.push({}, "hello", "aaaaaaaaaaaaa-0");
    channel.register(session);
    return;
  }
  res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  res.write("event: hello\ndata: {}\nid: aaaaaaaaaaaaa-0\n\n");
  res.socket.setNoDelay(true);
  streams.add(res);
  req.on("close", () => streams.delete(res));
}

function publish() {
  last += 1;
  const event = { n: last, t: Number(process.hrtime.bigint() / 1000n), pad: PAD };
  if (library) {
    channel.broadcast(event, "tick", { eventId: `aaaaaaaaaaaaa-${last}` });
    return;
  }
  const text = `event: tick\ndata: ${JSON.stringify(event)}\nid: aaaaaaaaaaaaa-${last}\n\n`;
  for (const res of streams) res.write(text);
}

async function burst(events, batch, every) {
  let due = performance.now();
  for (let n = 0; n < events; n += batch) {
    await sleep(Math.max(0, due - performance.now()));
    for (let i = n; i < Math.min(events, n + batch); i++) publish();
    due += every / 1000;
  }
}

http.createServer((req, res) => {
  const query = new URL(req.url, "http://x").searchParams;
  if (req.method === "GET") return open(req, res);
  burst(Number(query.get("events")), Number(query.get("batch") ?? 1), Number(query.get("every") ?? 0));
  res.writeHead(202, { "content-length": 2, "content-type": "application/json" }).end("{}");
}).listen(Number(port), "127.0.0.1");
