// What the showcase's spec needs a browser's own means for: requests, keys, motion, a network that is cut.
// Arguments: { what, url or port }.
import { startProxy, until } from "./dashboard.mjs";

const isStream = (request) => (request.headers().accept ?? "").includes("text/event-stream");
const textsOf = (page, selector) => page.locator(selector).allTextContents();

const scenarios = {
  /** How many streams the page opens, of which hosts it asks, and what its policy forbids. */
  async requests({ page, args }) {
    const streams = [], hosts = new Set();
    page.on("request", (request) => {
      hosts.add(new URL(request.url()).host);
      if (isStream(request)) streams.push(new URL(request.url()).pathname);
    });
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", (e) => window.violations.push(e.violatedDirective));
    });
    await page.goto(args.url);
    await until("events", () => page.evaluate("Number(document.getElementById('events').textContent.replace(',', '')) > 20"));
    await page.evaluate(() => { // what somebody might smuggle in
      document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = 1'>");
      return fetch("http://sluice.test:9/").catch(() => {});
    });
    const seen = await page.evaluate("({ violations, ran: window.ran === 1 })");
    return { streams, hosts: [...hosts], ...seen };
  },

  /** Only keys: from the top to the log, down in it, an event opened, the log paused and continued, code shown and closed. */
  async keys({ page, args }) {
    await page.goto(args.url);
    await until("events in the log", () => page.evaluate("document.querySelectorAll('#log li').length > 3"));
    const stops = [];
    for (let n = 0; n < 80; n += 1) {
      await page.keyboard.press("Tab");
      const name = await page.evaluate(() => {
        const it = document.activeElement;
        if (it === document.body) return null;
        const label = it.getAttribute("aria-label") ?? [...(it.labels ?? [])].map((l) => l.textContent).join(" ");
        const by = it.getAttribute("aria-labelledby");
        return (label || (by && document.getElementById(by).textContent) || it.textContent).trim() || `no name: ${it.outerHTML.slice(0, 80)}`;
      });
      if (name === null) break;
      stops.push(name);
    }
    await page.focus("#pause");
    await page.keyboard.press("Space");
    const pressed = await page.getAttribute("#pause", "aria-pressed");
    await page.focus("#log");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Enter");
    await until("the event is open", () => page.evaluate("document.activeElement.parentElement.open && !!document.querySelector('#log pre')"));
    const first = await page.evaluate("document.activeElement.closest('li') === document.querySelector('#log li')");
    await page.focus("#pause");
    await page.keyboard.press("Enter");
    await page.focus("#rules [data-is=links] button");
    await page.keyboard.press("Enter");
    await until("the code", () => page.evaluate("document.querySelectorAll('#viewer[open] .code li').length > 5"));
    await page.keyboard.press("Escape");
    const closed = await page.evaluate("!document.getElementById('viewer').open");
    return { stops, pressed, continued: await page.getAttribute("#pause", "aria-pressed"), first, closed };
  },

  /** What moves when somebody wants nothing to move. */
  async still({ page, args }) {
    await page.emulateMedia({ reducedMotion: "reduce" });
    await page.goto(args.url);
    await until("prices", () => page.evaluate("document.querySelectorAll('.tile').length === 6"));
    await until("a flash", () => page.evaluate("!!document.querySelector('.tile[data-flash]')"));
    return page.evaluate("document.getAnimations().length");
  },

  /** The connection is cut for a moment: what the page says of it, and what it says then. */
  async cut({ page, args }) {
    const proxy = await startProxy(args.port);
    try {
      await page.goto(proxy.url);
      await until("events", () => page.evaluate("Number(document.getElementById('events').textContent.replace(',', '')) > 20"));
      await until("all of the opening", () => page.evaluate("document.querySelector('#connection [data-is=id]').textContent.includes('-')"));
      proxy.blocked = true;
      proxy.cut();
      await until("it says that it waits", () => page.evaluate("document.getElementById('status').dataset.state === 'waiting'"));
      await new Promise((done) => setTimeout(done, args.blocked_ms));
      proxy.blocked = false;
      await until("it has resumed", () => page.evaluate("document.querySelector('#connection [data-is=resumed]').textContent !== 'not yet'"), 40);
      return { reports: await textsOf(page, "#connection .reports span"), resumed: await page.textContent("#connection [data-is=resumed]"),
        resets: await page.textContent("#connection [data-is=resets]") };
    } finally {
      await page.close();
      proxy.close();
    }
  },
};

export default async ({ args, context }) => {
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  const seen = await scenarios[args.what]({ page, args });
  if (!page.isClosed()) await page.close();
  return { seen, errors };
};
