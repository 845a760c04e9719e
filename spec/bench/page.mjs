// What following a stream costs a page of Chromium, by each client:  { url, modules, rounds, firsts, events } ->
// { size: { client: bytes, minified, gzip -9 }, samples: { client: [{ first (ms), cpu (us an event), seen }] } }.
// cpu is what the page's main thread did until the last event of a burst of 10,000 a second was there.
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";

const CLIENTS = {
  EventSource: ["", `const s = new EventSource(url);
    s.addEventListener("e", (e) => on(JSON.parse(e.data)));
    return () => s.close();`],
  "sluice.js": [`import { connect } from "../../lua/sluice/browser/sluice.js";`,
    `const c = connect(url, { eventTypes: ["e"], onMessage: (e) => on(e.data) });
    return () => c.close();`],
  "fetch-event-source": [`import { fetchEventSource } from "@microsoft/fetch-event-source";`,
    `const stop = new AbortController();
    fetchEventSource(url, { signal: stop.signal, openWhenHidden: true,
      onmessage: (m) => { if (m.event === "e") on(JSON.parse(m.data)); } });
    return () => stop.abort();`],
  "eventsource-client": [`import { createEventSource } from "eventsource-client";`,
    `const s = createEventSource({ url: new URL(url, location).href,
      onMessage: (m) => { if (m.event === "e") on(JSON.parse(m.data)); } });
    return () => s.close();`],
};
const shuffled = (list) => list.map((it) => [Math.random(), it]).sort((a, b) => a[0] - b[0]).map(([, it]) => it);

/** In the page: milliseconds from the call to the first event. */
const first = () => new Promise((done) => {
  const began = performance.now();
  const close = follow("/first", () => { close(); done(performance.now() - began); });
});

export default async ({ context, args, open }) => {
  const { url, modules, rounds, firsts, events } = args;
  const { build } = createRequire(`${modules}/`)("esbuild");
  const bundle = async (text, more) => (await build({ stdin: { contents: text, resolveDir: modules }, bundle: true,
    external: ["*/sluice.share.js"], write: false, ...more })).outputFiles[0].text;
  const post = (path) => fetch(url + path, { method: "POST" });
  const streams = async (n) => { while (Number(await (await fetch(url + "/count")).text()) !== n); };
  const size = {}, samples = {}, code = {};
  for (const [name, [head, body]] of Object.entries(CLIENTS)) {
    code[name] = await bundle(`${head}\nwindow.follow = (url, on) => { ${body} };`, { format: "iife" });
    const alone = head.replace(/import (\{.*\}) from/, "export $1 from");
    if (alone) size[name] = gzipSync(await bundle(alone, { format: "esm", minify: true }), { level: 9 }).length;
    samples[name] = [];
  }
  await post("/first");
  for (let i = 0; i < rounds; i++) {
    for (const name of shuffled(Object.keys(CLIENTS))) {
      const page = await open(url + "/page"), session = await context.newCDPSession(page);
      const spent = async () => (await session.send("Performance.getMetrics")).metrics
        .find((it) => it.name === "TaskDuration").value;
      await page.addScriptTag({ content: code[name] });
      const times = [];
      for (let k = 0; k < firsts; k++) {
        times.push(await page.evaluate(first));
        await streams(0);
      }
      await session.send("Performance.enable");
      await page.evaluate(() => { window.seen = 0; window.sum = 0; follow("/burst", (data) => { seen++; sum += data.price; }); });
      await streams(1);
      const before = await spent();
      await post(`/burst/${events}`);
      await page.waitForFunction((n) => seen >= n, events, { polling: 50, timeout: 60000 }).catch(() => {});
      samples[name].push({ first: times.sort((a, b) => a - b)[times.length >> 1], seen: await page.evaluate("seen"),
        cpu: (await spent() - before) / events * 1e6 });
      await page.close();
      await streams(0);
    }
  }
  return { size, samples };
};
