// A headless browser for spec/support/browser.lua: one JSON request per line on a local
// socket, one JSON answer per line. The port is the first line of the output. Firefox is driven by WebDriver
// BiDi, Chromium by its own protocol.
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [driver, profile, engine, program] = process.argv.slice(2);
const engines = createRequire(`${driver}/`)("playwright-core");
const chromium = engine === "chromium";
const context = await engines[engine].launchPersistentContext(profile, {
  executablePath: program,
  channel: chromium ? undefined : "moz-firefox",
  headless: true,
  ignoreHTTPSErrors: true, // the certificates of specs are their own
  viewport: { width: 1280, height: 800 },
  // a page that is left is kept, as for users
  ignoreDefaultArgs: ["--disable-back-forward-cache"],
  firefoxUserPrefs: { "browser.sessionhistory.max_total_viewers": 8, "fission.bfcacheInParent": true },
  args: !chromium ? [] : ["--headless", "--no-sandbox", "--host-resolver-rules=MAP *.test 127.0.0.1", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const pages = [], others = [];
const noise = []; // what pages complained about: [page, kind, text]

function watch(page) {
  const n = pages.push(page);
  page.on("pageerror", (error) => noise.push([n, "error", String(error)]));
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && noise.push([n, m.type(), m.text()]));
  return n;
}

// In an expression "() => x" or "x": a function is called, with `arg`, in the page.
const call = ({ js, arg }) => {
  const code = /^\s*(async\s*)?(\(|\w+\s*=>|function)/.test(js) ? `(${js})` : `(() => (${js}))`;
  return [`((arg) => ${code}(arg))(${JSON.stringify(arg ?? null)})`];
};

const ops = {
  async open({ url, width, height, scheme, apart }) {
    // apart: with connections, cookies and a cache of its own, as in another profile
    const where = apart ? await context.browser().newContext({ ignoreHTTPSErrors: true }) : context;
    if (apart) others.push(where);
    const page = await where.newPage();
    const n = watch(page);
    if (width) await page.setViewportSize({ width, height });
    if (scheme) await page.emulateMedia({ colorScheme: scheme });
    const response = await page.goto(url, { waitUntil: "load" });
    return { page: n, status: response?.status() };
  },
  eval: (o) => pages[o.page - 1].evaluate(call(o)[0]),
  async wait(o) {
    const until = Date.now() + o.ms;
    for (let last; ; ) {
      try {
        last = await pages[o.page - 1].evaluate(call(o)[0]);
        if (last) return last;
      } catch (error) { last = error.message; }
      if (Date.now() > until) throw new Error(`not within ${o.ms} ms: ${o.js} (last: ${JSON.stringify(last)})`);
      await new Promise((done) => setTimeout(done, 20));
    }
  },
  text: (o) => pages[o.page - 1].textContent(o.selector, { timeout: o.ms }),
  click: (o) => pages[o.page - 1].click(o.selector, { timeout: o.ms }),
  fill: (o) => pages[o.page - 1].fill(o.selector, o.value, { timeout: o.ms }),
  press: (o) => pages[o.page - 1].keyboard.press(o.key).then(() => true),
  async drag({ page, selector, places }) { // over an element, by the mouse, from place to place: parts of its width
    const { mouse } = pages[page - 1], box = await pages[page - 1].locator(selector).boundingBox();
    for (const [i, place] of places.entries()) {
      await mouse.move(box.x + place * box.width, box.y + box.height / 2);
      if (i === 0) await mouse.down();
    }
    await mouse.up();
    return true;
  },
  reload: (o) => pages[o.page - 1].reload({ waitUntil: "load" }).then(() => true),
  media: (o) => pages[o.page - 1].emulateMedia({ colorScheme: o.scheme }).then(() => true),
  size: (o) => pages[o.page - 1].setViewportSize({ width: o.width, height: o.height }).then(() => true),
  offline: (o) => context.setOffline(o.on).then(() => true),
  screenshot: (o) => pages[o.page - 1].screenshot({ path: o.path, fullPage: o.full ?? true }).then(() => true),
  async freeze(o) { // as Chromium does with tabs that nobody sees
    const page = pages[o.page - 1], session = (page.session ??= await context.newCDPSession(page));
    await session.send("Page.setWebLifecycleState", { state: o.on ? "frozen" : "active" });
    return true;
  },
  close: (o) => pages[o.page - 1].close().then(() => true),
  noise: () => noise.splice(0),
  async clear() { // as new: nothing is left of who used it before
    for (const page of context.pages().slice(1)) await page.close();
    for (const other of others.splice(0)) await other.close();
    if (chromium) await context.setOffline(false);
    await context.clearCookies();
    pages.length = 0;
    noise.length = 0;
    return true;
  },
  // A scenario file: export default async ({ context, args, open, noise }) => result
  async run({ file, args }) {
    const scenario = (await import(pathToFileURL(file))).default;
    const open = async (url) => { const page = await context.newPage(); watch(page); await page.goto(url); return page; };
    return (await scenario({ context, args, open, noise })) ?? null;
  },
};

const server = createServer((socket) => {
  createInterface({ input: socket }).on("line", async (line) => {
    let answer;
    try {
      const request = JSON.parse(line);
      answer = { ok: (await ops[request.op](request)) ?? null };
    } catch (error) {
      answer = { error: String(error.stack ?? error) };
    }
    socket.write(JSON.stringify(answer) + "\n");
  });
  socket.on("close", async () => { await context.close(); process.exit(0); });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
