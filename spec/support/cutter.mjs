// A proxy that cuts connections: node cutter.mjs <port> <mark>; its own port is the first line.
// A request whose URL holds "cut=N" is passed on, and of the answer all until N bytes behind the
// beginning of the mark; then comes a FIN. The next request of the same URL passes whole, as all others do.
import { connect, createServer } from "node:net";

const [port, mark] = process.argv.slice(2);
const done = new Set();

createServer((client) => {
  const server = connect(Number(port), "127.0.0.1");
  let cut = null, passed = Buffer.alloc(0);
  const end = () => { client.end(); server.destroy(); };
  client.on("error", end).on("close", end);
  server.on("error", end).on("end", () => client.end());
  client.on("data", (bytes) => {
    const line = bytes.toString("latin1").split("\r\n")[0]; // a connection has many requests
    const asked = /^(?:GET|POST) .*[?&]cut=(\d+)/.exec(line);
    if (asked && !done.has(line)) cut = { line, n: Number(asked[1]) };
    server.write(bytes);
  });
  server.on("data", (bytes) => {
    if (!cut) return client.write(bytes);
    const before = passed.length;
    passed = Buffer.concat([passed, bytes]);
    const at = passed.indexOf(mark);
    const keep = at < 0 ? passed.length : Math.min(at + cut.n, passed.length);
    client.write(passed.subarray(before, keep));
    if (at < 0 || passed.length < at + cut.n) return;
    done.add(cut.line);
    end();
  });
}).listen(0, "127.0.0.1", function () { console.log(this.address().port); });
