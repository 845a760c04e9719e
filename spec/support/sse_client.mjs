// One client of an event stream from npm: node sse_client.mjs <modules> <library> <url>
// Writes a line of JSON for all that its page would see: {"what":"open" | "message" | "error" |
// "closed", ...}. It ends when the library has given up or is done.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, library, url] = process.argv.slice(2);
const require = createRequire(pathToFileURL(modules + "/"));
const NAMES = ["message", "hello", "reset", "sync", "bye", "e"];

function say(what, fields) {
  process.stdout.write(JSON.stringify({ what, ...fields }) + "\n");
}

function standard(EventSource) {
  const source = new EventSource(url);
  source.addEventListener("open", () => say("open"));
  for (const name of NAMES) {
    source.addEventListener(name, (e) => say("message", { event: name, id: e.lastEventId, data: e.data }));
  }
  source.addEventListener("error", () => {
    say("error", { state: source.readyState });
    if (source.readyState !== 2) return;
    say("closed");
    process.exit(0);
  });
}

async function fetched() {
  globalThis.window = globalThis;
  globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
  const { fetchEventSource } = require("@microsoft/fetch-event-source");
  class Stop extends Error {}
  await fetchEventSource(url, {
    openWhenHidden: true,
    async onopen(response) {
      say("open");
      if (response.status === 204) throw new Stop();
    },
    onmessage: (m) => say("message", { event: m.event || "message", id: m.id, data: m.data }),
    onerror(e) {
      if (e instanceof Stop) throw e;
      say("error");
    },
  }).catch((e) => {
    if (!(e instanceof Stop)) throw e;
  });
  say("closed");
  process.exit(0);
}

setInterval(() => {}, 1000); // a page stays open; undici's own timer would let the process end
if (library === "@microsoft/fetch-event-source") fetched();
else standard(require(library).EventSource);
