// One client of event streams that runs in node: node sse_client.mjs <modules> <client> <url>...
// Writes a line of JSON for all that a page would see, see follow.mjs; `stream` is the URL's place. A URL with
// "post=1" in it is asked for by POST. It ends when the client has given up or is done with all of them.
// A client is a function of (url, say, post): the name of a package that has an EventSource needs none.
import { spawn } from "node:child_process";
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

const BODY = JSON.stringify({ messages: [] });
const JSON_TYPE = { "Content-Type": "application/json" };
const sayEvent = (say, e) => say("message", { event: e.event || "message", id: e.id ?? null, data: e.data });

const CLIENTS = {
  async "@microsoft/fetch-event-source"(url, say, post) {
    globalThis.window = globalThis;
    globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
    const { fetchEventSource } = require(library);
    class Stop extends Error {}
    await fetchEventSource(url, {
      ...(post && { method: "POST", headers: JSON_TYPE, body: BODY }),
      openWhenHidden: true,
      async onopen(response) {
        if (response.status === 204 || response.status >= 400 && response.status < 500) throw new Stop();
        if (response.status !== 200) throw new Error(`status ${response.status}`); // it asks again
        say("open");
      },
      onmessage(m) {
        sayEvent(say, m);
        if (m.event === "done") throw new Stop();
      },
      onerror(e) {
        if (e instanceof Stop) throw e;
        say("error");
      },
    }).catch((e) => {
      if (!(e instanceof Stop)) throw e;
    });
    say("closed");
  },

  "eventsource-client"(url, say, post) {
    const source = require(library).createEventSource({
      url,
      ...(post && { method: "POST", headers: JSON_TYPE, body: BODY }),
      onConnect: () => say("open"),
      onMessage(e) {
        sayEvent(say, e);
        if (e.event === "done") source.close();
      },
      onDisconnect: () => setTimeout(() => say(source.readyState === "closed" ? "closed" : "error")),
    });
  },

  "launchdarkly-eventsource"(url, say, post) {
    const { EventSource } = require(library);
    follow(new EventSource(url, post ? { method: "POST", headers: JSON_TYPE, body: BODY } : {}), say);
  },

  // What useChat is made of: an answer, not a subscription.
  async ai(url, say) {
    const { DefaultChatTransport } = require("ai");
    const transport = new DefaultChatTransport({ api: url });
    const messages = [{ id: "m", role: "user", parts: [{ type: "text", text: "Tell me" }] }];
    const stream = await transport.sendMessages({ trigger: "submit-message", chatId: "c", messages });
    say("open");
    try {
      for await (const chunk of stream) {
        say("message", { event: chunk.type.replace("data-", ""), id: null, data: chunk.data ?? chunk.errorText });
      }
    } catch {}
    say("closed");
  },

  // What a script has to do: 0 is an end for good, what else curl returns is none.
  curl(url, say, post) {
    const { createParser } = require("eventsource-parser");
    let id, wait = 3000;
    const ask = () => {
      const parser = createParser({
        onEvent(e) {
          id = e.id ?? id;
          sayEvent(say, e);
        },
        onRetry: (ms) => (wait = ms),
      });
      const program = spawn("curl", ["-sSNfk", "--compressed", ...(id ? ["-H", `Last-Event-ID: ${id}`] : []),
        ...(post ? ["-H", "Content-Type: application/json", "-d", BODY] : []), url]);
      say("open");
      program.stdout.setEncoding("utf8").on("data", (text) => parser.feed(text));
      program.on("close", (code) => {
        say(code === 0 ? "closed" : "error");
        if (code !== 0) setTimeout(ask, wait);
      });
    };
    ask();
  },
};

setInterval(() => {}, 1000); // a page stays open; undici's own timer would let the process end
const open = CLIENTS[library] ?? ((url, say) => {
  const found = require(library);
  follow(new (found.EventSource ?? found)(url, { rejectUnauthorized: false }), say); // what eventsource 2 asks
});
urls.forEach((url, i) => open(url, sayFor(i + 1), url.includes("post=1")));
