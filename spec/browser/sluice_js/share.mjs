// Tabs that share one stream: they come one after the other while events are published, the worker between
// them is killed again and again, the server's streams are cut, and one tab comes late.
//   { url, tabs, kills, cuts } -> what each tab saw, and how many streams there were in the end
// Half of the kills come first, while the server's streams are left alone: no tab may say anything but `open`.
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** End the SharedWorker as if it had crashed: nothing of it runs after that. */
async function kill(context, page) {
  const session = await context.newCDPSession(page);
  const { targetInfos } = await session.send("Target.getTargets");
  const workers = targetInfos.filter((t) => t.type === "shared_worker" && t.url.includes("sluice.share.js"));
  for (const { targetId } of workers) {
    const { sessionId } = await session.send("Target.attachToTarget", { targetId, flatten: false }).catch(() => ({}));
    if (!sessionId) return 0; // it had just gone
    const message = JSON.stringify({ id: 1, method: "Runtime.evaluate", params: { expression: "self.close()" } });
    await session.send("Target.sendMessageToTarget", { sessionId, message }).catch(() => {});
  }
  await session.detach();
  return workers.length;
}

export default async ({ context, args, open }) => {
  const { url, tabs, kills = 0, cuts = 0 } = args;
  const post = (path, body = {}) => fetch(url + path, { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body) });
  const count = async () => Number(await (await fetch(url + "/count")).text());
  let n = 0, on = true, killed = 0;
  const publishing = (async () => {
    for (; on; await wait(5)) {
      await post("/-t/publish/log", { first: ++n });
      await post("/-t/publish/st", { event: "st", first: n, key: "k" });
    }
  })();
  const until = async (fn, ms) => {
    for (const end = Date.now() + ms; Date.now() < end; await wait(20)) if (await fn()) return true;
    return false;
  };
  const pages = [];
  for (let i = 0; i < tabs; i++) {
    pages.push(await open(url + "/page"));
    await wait(100);
  }
  const shared = await until(async () => (await count()) === 1, 20000);
  const calm = Math.floor(kills / 2), told = [];
  for (let i = 0; i < Math.max(kills, calm + cuts); i++) {
    if (i < kills) killed += await until(() => kill(context, pages[i % tabs]), 20000);
    await wait(i % 4 < 3 ? 7 * (i % 60) : 1500);
    if (i === calm - 1) {
      await until(async () => (await count()) === 1, 20000);
      for (const page of pages) told.push(await page.evaluate("early.splice(0)"));
    }
    if (i >= calm && i < calm + cuts) {
      await until(async () => (await count()) > 0, 20000);
      await post("/cut");
    }
  }
  pages.push(await open(url + "/page"));
  await wait(1000);
  on = false;
  await publishing;
  const all = await until(async () => (await Promise.all(pages.map((page) => page.evaluate("seen.at(-1)")))).every((x) => x === n), 30000);
  const one = await until(async () => (await count()) === 1, 20000);
  const seen = await Promise.all(pages.map((page) => page.evaluate(() => ({ wrong: seen.flatMap((x, i) =>
    (x === (i ? seen[i - 1] + 1 : 1) ? [] : [[seen[i - 1], x]])), n: seen.length, state: last.k, resets: resets.length,
    status: c.status, states: states.join(" ") }))));
  return { n, shared, all, one, killed, told, seen, streams: await count() };
};
