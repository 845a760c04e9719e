// An HTTP proxy whose behaviour changes: node proxy.mjs <port of the server>; its own port is the first line.
// POST /-proxy/<mode> sets how it is from now on:
//   pass      all goes through
//   silent    nothing does, and nobody is told; what is open stays dead when it passes again
//   swallow   an answer without a length is held back until it ends
//   <status>  everything is answered with that
import { createServer, request } from "node:http";

const port = Number(process.argv[2]);
const dead = new WeakSet(), under_way = new Set();
let mode = "pass";

createServer((req, res) => {
  if (req.url.startsWith("/-proxy/")) {
    mode = req.url.slice(8);
    if (mode === "silent") for (const it of under_way) dead.add(it);
    return res.writeHead(204).end();
  }
  if (Number(mode)) return res.writeHead(Number(mode)).end("away");
  const swallows = mode === "swallow", held = [];
  if (mode === "silent") dead.add(res);
  under_way.add(res);
  const give = (fn) => (it) => { if (!dead.has(res)) fn(it); };
  const up = request({ port, path: req.url, method: req.method, headers: req.headers, agent: false }, (from) => {
    const holds = swallows && !from.headers["content-length"];
    const head = () => res.headersSent || res.writeHead(from.statusCode, from.headers).flushHeaders();
    if (!holds) give(head)();
    from.on("data", give((bytes) => (holds ? held.push(bytes) : res.write(bytes))));
    from.on("end", give(() => { head(); res.end(Buffer.concat(held)); }));
    from.on("error", give(() => res.destroy()));
  });
  up.on("error", give(() => res.destroy()));
  res.on("close", () => { under_way.delete(res); up.destroy(); });
  req.pipe(up);
}).listen(0, "127.0.0.1", function () { console.log(this.address().port); });
