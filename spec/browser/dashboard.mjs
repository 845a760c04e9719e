// The dashboard behind a proxy that cuts: what the page received must be what a witness, who
// stayed connected all the time, received. Arguments: { port, cuts, blocked_ms }.
import { connect, createServer } from "node:net";
import { get } from "node:http";

const PATH = "/api/dashboard-metrics";

export async function until(what, probe, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (let last; ; ) {
    last = await probe();
    if (last) return last;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

// Passes bytes both ways; cut() destroys what is open and, while blocked, what comes.
export async function startProxy(port) {
  const open = new Set();
  const proxy = { blocked: false, refused: 0 };
  const server = createServer((near) => {
    near.on("error", () => {});
    if (proxy.blocked) { proxy.refused += 1; return near.destroy(); }
    const far = connect(port, "127.0.0.1");
    far.on("error", () => {});
    for (const [a, b] of [[near, far], [far, near]]) {
      open.add(a);
      a.on("close", () => { open.delete(a); b.destroy(); });
      a.pipe(b);
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  proxy.url = `http://127.0.0.1:${server.address().port}/`;
  proxy.cut = () => { for (const socket of open) socket.destroy(); };
  proxy.close = () => { server.close(); proxy.cut(); };
  return proxy;
}

// Ids of all metrics, read from the server itself by a few lines that know only what they need.
function startWitness(port) {
  const witness = { ids: [], ended: false };
  let rest = "";
  const request = get({ host: "127.0.0.1", port, path: PATH, headers: { accept: "text/event-stream" } }, (response) => {
    response.setEncoding("utf8");
    response.on("end", () => { witness.ended = true; });
    response.on("data", (text) => {
      const blocks = (rest + text).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        if (/^event: metrics-update$/m.test(block)) witness.ids.push(/^id: (.*)$/m.exec(block)?.[1] ?? "");
      }
    });
  });
  request.on("error", () => { witness.ended = true; });
  witness.close = () => request.destroy();
  return witness;
}

const figuresOf = (page) => page.evaluate(() =>
  [...document.querySelectorAll(".card[data-metric] .figure b")].map((b) => b.textContent));

async function cutOnce(page, proxy, args) {
  const before = await page.evaluate(() => ({ events: dashboard.events, connections: dashboard.connections }));
  await until("events before the cut", () => page.evaluate((n) => dashboard.events > n, before.events));
  proxy.blocked = true;
  proxy.cut();
  await until("the page says that it waits", () => page.evaluate(() => dashboard.state === "waiting"));
  const words = await page.textContent("#status-text");
  await new Promise((done) => setTimeout(done, args.blocked_ms));
  proxy.blocked = false;
  await until("it is connected again", () => page.evaluate((n) => dashboard.connections > n, before.connections));
  await until("events after it", () => page.evaluate((n) => dashboard.state === "open" && dashboard.events > n + 2, before.events));
  return words;
}

export default async ({ args, open }) => {
  const proxy = await startProxy(args.port);
  const witness = startWitness(args.port);
  try {
    await until("the witness reads", () => witness.ids.length > 0);
    const page = await open(proxy.url);
    await until("the page reads", () => page.evaluate(() => dashboard.state === "open" && dashboard.events > 0));
    const first = await figuresOf(page);
    await until("figures change", async () => (await figuresOf(page)).join() !== first.join());
    const waiting = [];
    for (let i = 0; i < args.cuts; i += 1) waiting.push(await cutOnce(page, proxy, args));
    const seen = await page.evaluate(() => ({ ...dashboard, status: document.getElementById("status-text").textContent,
      log: [...document.querySelectorAll("#log span")].map((row) => row.textContent) }));
    const last = seen.ids[seen.ids.length - 1];
    await until("the witness is as far", () => witness.ids.includes(last));
    const from = witness.ids.indexOf(seen.ids[0]);
    return { ...seen, figures: first, waiting, blank: (await figuresOf(page)).filter((text) => text === "–").length,
      expected: witness.ids.slice(from, witness.ids.indexOf(last) + 1), witnessed: !witness.ended };
  } finally {
    witness.close();
    proxy.close();
  }
};
