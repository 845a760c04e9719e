// All pages side by side, each judged by axe-core in the light and the dark, wide and on a phone. Arguments:
// { pages: [{ url, ready }], widths, schemes }; `ready` is an expression. Returns what is wrong, as texts.
import { readFileSync } from "node:fs";

const AXE = readFileSync(new URL("../../build/node/node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

async function until(page, ready, url) {
  for (const end = Date.now() + 60000; ;) {
    if (await page.evaluate(`Boolean(${ready})`).catch(() => false)) return;
    if (Date.now() > end) throw new Error(`${url} is not ready: ${ready}: ${await page.innerText("body")}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

const told = (where, found) => found.flatMap(({ id, help, nodes }) => nodes.map((node) =>
  `${where}: ${id}: ${help}: ${node.target.join(" ")}: ${node.any.concat(node.all, node.none).map((one) => one.message).join("; ")}`));

async function judge(context, { url, ready }, { widths, schemes }) {
  const page = await context.newPage(), wrong = [];
  await page.emulateMedia({ reducedMotion: "reduce" }); // what moves has other colours on its way
  await page.goto(url);
  await until(page, ready, url);
  await page.evaluate(AXE);
  const look = async (where) => {
    const { violations, passes } = await page.evaluate("axe.run({ resultTypes: ['violations'] })");
    if (passes.length < 10) throw new Error(`${url}: axe has judged ${passes.length} rules only`);
    wrong.push(...told(`${url} ${where}`, violations));
  };
  for (const colorScheme of schemes) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const width of widths) {
      await page.setViewportSize({ width, height: 844 });
      await look(`${width} ${colorScheme}`);
    }
    await page.evaluate("document.body.dataset.state = 'waiting'"); // as after a cut
    await look(`waiting ${colorScheme}`);
  }
  await page.close();
  return wrong;
}

export default async ({ context, args }) => (await Promise.all(args.pages.map((page) => judge(context, page, args)))).flat();
