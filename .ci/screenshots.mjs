// Take the pictures of README and the docs from the real pages, into doc/images: each page of the showcase with its demo
// in the light and the dark, and the reload as a short film. `make screenshots`; or some: `.ci/screenshots.mjs devices`.
// Needs what .ci/setup installs for it: Chromium, playwright-core, cwebp and img2webp.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SECONDS = 15; // so long a page runs before its picture is taken
const WIDTH = 1280, HEIGHT = 860;
const FILM = { width: 1100, height: 640, every: 200, frames: 62, typing: [16, 17, 18, 19, 20], back: 44 };
const PAGES = ["showcase", "dashboard", "notifications", "progress", "match", "stocks", "devices", "editor", "monitoring", "chat"];
const folder = mkdtempSync(join(tmpdir(), "sluice-screenshots-"));
const { chromium } = createRequire(new URL("../build/node/", import.meta.url))("playwright-core");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const running = [];

/** Serve an app, and say where. */
function serve(app, ...args) {
  const server = spawn("build/bin/sluice", ["run", app, "--port", "0", ...args], { env: { ...process.env, XDG_RUNTIME_DIR: folder } });
  running.push(server);
  return new Promise((done, fail) => {
    let log = "";
    server.stderr.on("data", (bytes) => {
      log += bytes;
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(log.replaceAll("\\/", "/"));
      if (found) done(found[0]);
    });
    server.on("exit", () => fail(new Error(log)));
  });
}

async function open(browser, url, colorScheme, width, height) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: true });
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

const DO = { // what a picture shows besides what comes by itself
  chat: async (page) => {
    await page.fill("#question", "What does a stream cost while it is idle?");
    await page.press("#question", "Enter");
  },
};

async function picture(browser, base, name) {
  const url = name === "showcase" ? `${base}/` : `${base}/${name}/`;
  await Promise.all(["light", "dark"].map(async (scheme) => {
    const page = await open(browser, url, scheme, WIDTH, HEIGHT), file = join(folder, `${name}-${scheme}.png`);
    await DO[name]?.(page);
    await pause(SECONDS * 1000);
    await page.screenshot({ path: file, timeout: 120000 }); // a busy machine
    await page.context().close();
    tell(`doc/images/${name}-${scheme}.webp`, (to) => execFileSync("cwebp", ["-quiet", "-lossless", "-z", "9", file, "-o", to]));
  }));
}

function tell(to, make) {
  make(to);
  console.log(`${to} ${Math.ceil(statSync(to).size / 1024)} KB`);
}

// ---- The film: rules.lua in an editor, the page of examples/alerts beside it ------------------------------------

const STYLE = `body { margin-left: 300px; }
  aside { position: fixed; inset: 0 auto 0 0; width: 300px; padding: 18px 14px; background: #10211f; color: #d7e5e2; font: 12.5px/1.75 "DejaVu Sans Mono", monospace; }
  aside h2 { margin: 0 0 14px; color: #8fb5ae; font: 600 13px "DejaVu Sans", sans-serif; } aside pre { white-space: pre-wrap; }
  aside b { padding: 1px 2px; border-radius: 3px; background: #2d6f66; color: #fff; } aside i { color: #4fcbb9; font-style: normal; }`;

const CODE = (limit) => `return {\n  { name = "high-water",\n    field = "level",\n    above = <b>${limit}</b>, unit = "%",\n    severity = "high",\n    message =\n      "The water stands high" },\n}`;

async function film(browser) {
  cpSync("examples/alerts", join(folder, "alerts"), { recursive: true });
  cpSync("examples/look", join(folder, "look"), { recursive: true });
  const file = join(folder, "alerts/rules.lua"), rules = readFileSync(file, "utf8");
  const url = await serve(join(folder, "alerts/app.lua"));
  const page = await open(browser, url, "light", FILM.width, FILM.height);
  await page.locator(".gate").nth(2).waitFor();
  await page.addStyleTag({ content: STYLE });
  await page.evaluate(() => {
    document.body.insertAdjacentHTML("beforeend", '<aside><h2>rules.lua <i id="saved"></i></h2><pre id="code"></pre></aside>');
  });
  const show = (limit, saved) => page.evaluate(([code, said]) => {
    document.getElementById("code").innerHTML = code;
    document.getElementById("saved").textContent = said;
  }, [CODE(limit), saved]);
  await show("90", "");
  await pause(1500);
  const texts = ["9", "", "5", "50", "50"], frames = [];
  for (let n = 0; n < FILM.frames; n += 1) {
    const due = Date.now() + FILM.every, step = FILM.typing.indexOf(n);
    if (step >= 0) await show(texts[step], step === 4 ? "saved" : "edited");
    if (step === 4) writeFileSync(file, rules.replace("above = 90", "above = 50"));
    if (n === FILM.back) {
      await show("90", "saved");
      writeFileSync(file, rules);
    }
    frames.push("-d", String(FILM.every), join(folder, `frame-${n}.png`));
    await page.screenshot({ path: frames.at(-1), timeout: 120000 });
    await pause(Math.max(0, due - Date.now()));
  }
  tell("doc/images/reload.webp", (to) => execFileSync("img2webp", ["-loop", "0", "-lossy", "-q", "62", "-m", "4", ...frames, "-o", to]));
}

const wanted = process.argv.slice(2);
mkdirSync("doc/images", { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
try {
  const names = PAGES.filter((name) => wanted.length === 0 || wanted.includes(name));
  const base = names.length > 0 && await serve("examples/showcase/app.lua", "--demo");
  for (const name of names) await picture(browser, base, name);
  if (wanted.length === 0 || wanted.includes("reload")) await film(browser);
} finally {
  await browser.close();
  for (const server of running) {
    server.removeAllListeners("exit");
    server.kill();
  }
  rmSync(folder, { recursive: true, force: true });
}
