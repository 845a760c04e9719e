// What the page of a stream sees, told by say(what, fields): "open", "message" (event, id, data),
// "error", and "closed" when the source will not come back. For node (sse_client.mjs) and for pages.
export const NAMES = ["message", "hello", "reset", "sync", "bye", "e", "word", "plain", "done"];

/** Follow an EventSource, or what is like one. At an event "done" the page closes it. */
export function follow(source, say) {
  source.addEventListener("open", () => say("open"));
  for (const name of NAMES) {
    source.addEventListener(name, (e) => {
      say("message", { event: name, id: e.lastEventId, data: e.data });
      if (name === "done") source.close();
    });
  }
  // some are closed only after they have told the error
  source.addEventListener("error", () => setTimeout(() => say(source.readyState === 2 ? "closed" : "error")));
}

/** Follow these URLs; globalThis.streams[i] is a list of what was seen of each. */
export function followAll(urls, make) {
  globalThis.streams = urls.map((url) => {
    const rows = [];
    follow(make(url), (what, fields) => rows.push({ what, ...fields }));
    return rows;
  });
}
