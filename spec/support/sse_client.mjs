// One library from npm that reads event streams: node sse_client.mjs <modules> <library> <url>...
// Writes a line of JSON for all that a page would see, see follow.mjs; `stream` is the URL's place.
// It ends when the library has given up or is done with all of them.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { follow } from "./follow.mjs";

const [modules, library, ...urls] = process.argv.slice(2);
const require = createRequire(pathToFileURL(modules + "/"));
let left = urls.length;

const sayFor = (stream) => (what, fields) => {
  process.stdout.write(JSON.stringify({ stream, what, ...fields }) + "\n");
  if (what === "closed" && --left === 0) process.exit(0);
};

async function fetched(url, say) {
  const { fetchEventSource } = require("@microsoft/fetch-event-source");
  class Stop extends Error {}
  await fetchEventSource(url, {
    openWhenHidden: true,
    async onopen(response) {
      if (response.status === 204 || response.status >= 400 && response.status < 500) throw new Stop();
      if (response.status !== 200) throw new Error(`status ${response.status}`); // it asks again
      say("open");
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
}

setInterval(() => {}, 1000); // a page stays open; undici's own timer would let the process end
if (library === "@microsoft/fetch-event-source") {
  globalThis.window = globalThis;
  globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
  urls.forEach((url, i) => fetched(url, sayFor(i + 1)));
} else {
  const found = require(library);
  const EventSource = found.EventSource ?? found;
  urls.forEach((url, i) => follow(new EventSource(url), sayFor(i + 1)));
}
