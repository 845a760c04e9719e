// npm's client reads one stream until an item says "end", or as it is told; prints what it got.
//   node spec/browser/durable_streams/client.mjs URL OFFSET LIVE [items]
// LIVE is false, long-poll, sse or true; the output is { items: [{ n }], offset, upToDate, error } as JSON.
import { createRequire } from "node:module";

const { stream } = createRequire(`${process.cwd()}/build/node/`)("@durable-streams/client");
const [url, offset, live, wanted] = process.argv.slice(2);
const out = { items: [], offset: null, upToDate: null, error: null };

try {
  const modes = { true: true };
  const ask = (from) => stream({ url, offset: from, live: live === "false" ? false : modes[live] ?? live,
    backoffOptions: { maxRetries: 2 } });
  let answer = await ask(offset);
  if (live === "false") {
    out.items = await answer.json();
    while (!answer.upToDate) { // the client reads one page at a time
      answer = await ask(answer.offset);
      out.items.push(...await answer.json());
    }
  } else {
    await new Promise((resolve, reject) => {
      answer.closed.catch(reject);
      answer.subscribeJson(({ items, streamClosed }) => {
        out.items.push(...items);
        if (streamClosed || out.items.length >= Number(wanted)) resolve();
      });
    });
  }
  out.offset = answer.offset;
  out.upToDate = answer.upToDate;
} catch (problem) {
  out.error = { status: problem.status ?? null, code: problem.code ?? null, message: String(problem.message) };
}
out.items = out.items.map(({ n }) => ({ n }));
console.log(JSON.stringify(out));
process.exit(0);
