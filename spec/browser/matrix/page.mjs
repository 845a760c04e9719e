// Clients of event streams that run in a page: page.html#<JSON>, where the JSON is
//   { client, streams: [[n, url], …] }   follows these, and tells the page around it what it sees, or
//   { frames: [address, …] }             has such pages in it; streams[n] is what all of them saw (follow.mjs)
// A client is a function of (url, say, n, post).
import { NAMES, follow } from "/lib/follow.mjs";

const asked = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const BODY = JSON.stringify({ messages: [] });
const JSON_TYPE = { "Content-Type": "application/json" };

const scripts = {}; // each once: a library that is loaded again forgets its elements
const script = (src) => (scripts[src] ??= new Promise((done) => {
  document.head.append(Object.assign(document.createElement("script"), { src, onload: done }));
}));

const element = (name, attributes) => {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  document.body.append(e);
  return e;
};

const sayEvent = (say, { type, lastEventId, data }) => say("message", { event: type, id: lastEventId, data });

const CLIENTS = {
  EventSource: (url, say) => follow(new EventSource(url), say),

  async "event-source-polyfill"(url, say) {
    await script("/lib/event-source-polyfill.js");
    follow(new EventSourcePolyfill(url), say);
  },

  async "reconnecting-eventsource"(url, say) {
    await script("/lib/reconnecting-eventsource.js");
    follow(new ReconnectingEventSource(url), say);
  },

  async "sse.js"(url, say, n, post) {
    const { SSE } = await import("/lib/sse.js");
    const source = new SSE(url, { autoReconnect: true, ...(post && { method: "POST", headers: JSON_TYPE, payload: BODY }) });
    follow(source, say);
    source.stream();
  },

  async htmx2(url, say) {
    await script("/lib/htmx2.js");
    await script("/lib/htmx2-sse.js");
    const e = element("div", { "hx-ext": "sse", "sse-connect": url, "sse-swap": NAMES.join(), "sse-close": "done" });
    e.addEventListener("htmx:sseBeforeMessage", (event) => sayEvent(say, event.detail));
    e.addEventListener("htmx:sseOpen", () => say("open"));
    e.addEventListener("htmx:sseError", () => say("error"));
    e.addEventListener("htmx:sseClose", () => say("closed"));
    htmx.process(e);
  },

  async htmx4(url, say, n, post) {
    await script("/lib/htmx4.js");
    await script("/lib/htmx4-sse.js");
    const e = element("div", post
      ? { "hx-post": url, "hx-trigger": "load", "hx-config": '{"sse":{"reconnect":true}}', "hx-sse:close": "done" }
      : { "hx-sse:connect": url, "hx-sse:close": "done" });
    e.addEventListener("htmx:sse:after:connection", () => say("open"));
    e.addEventListener("htmx:sse:before:message", ({ detail: { message: m } }) =>
      say("message", { event: m.event || "message", id: m.id, data: m.data }));
    e.addEventListener("htmx:sse:error", () => say("error"));
    e.addEventListener("htmx:sse:close", () => say("closed"));
    htmx.process(e);
  },

  async turbo(url, say) {
    const { StreamActions } = await import("/lib/turbo.js");
    const e = element("turbo-stream-source", { src: url });
    StreamActions.say = function () {
      const name = this.getAttribute("name");
      say("message", { event: name, id: null, data: this.templateContent.textContent });
      if (name === "done") e.remove(); // it lives as long as its element
    };
    e.streamSource.addEventListener("open", () => say("open"));
    e.streamSource.addEventListener("error", () => say(e.streamSource.readyState === 2 ? "closed" : "error"));
  },

  async datastar(url, say, n, post) {
    document.addEventListener("datastar-sse", ({ detail: { type, elId, argsRaw } }) => {
      if (elId !== `stream${n}`) return;
      if (type === "started") say("open");
      else if (type === "finished") say("closed");
      else if (type === "retrying" || type === "error") say("error");
      else {
        const [, name, text] = argsRaw.elements?.match(/^<i id="(\w+)">([^]*)<\/i>$/) ?? [];
        const data = Object.assign(document.createElement("textarea"), { innerHTML: text }).value;
        say("message", { event: name ?? type, id: null, data });
      }
    });
    element("div", { id: `stream${n}`, "data-on-load": `@${post ? "post" : "get"}('${url}', { openWhenHidden: true })` });
    await import("/lib/datastar.js");
  },
};

if (asked.frames) {
  globalThis.streams = {};
  addEventListener("message", ({ data }) => {
    (streams[data.stream] ??= []).push(data);
    globalThis.webkit?.messageHandlers?.said.postMessage(JSON.stringify(data));
  });
  const add = () => setTimeout(() => asked.frames.forEach((src) => element("iframe", { src })));
  if (document.readyState === "complete") add();
  else addEventListener("load", add); // who opens this page waits for it, and not for them
} else {
  for (const [stream, url] of asked.streams) {
    const say = (what, fields) => parent.postMessage({ stream, what, ...fields }, "*");
    CLIENTS[asked.client](url, say, stream, url.includes("post=1"));
  }
}
