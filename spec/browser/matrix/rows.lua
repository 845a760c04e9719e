--- The clients of the matrix, and what each of them is known for. A new one is a row here and, when it is no
--- package with an EventSource, a function in page.mjs (it runs in a page) or in spec/support/sse_client.mjs (node).
---   name     as the documents call it
---   runs     chromium, firefox, webkit: in a page of it; node; java
---   client   its function there, or its package; the name unless told
---   files    what a page of it loads: { name below /lib/ = file of a package }
---   form     how it wants the app's events: cases.lua, FORMS
---   alone    a page for each stream, since it does not say which stream an event is from
---   post     it can ask by POST
---   base     a browser's EventSource reads for it: it is not cut at every byte
---   quick    runs in `make test` too
---   but      where it is not as others: { case = "what it does" }; `proxied`: the same, behind nginx. The table in
---            doc/protocol.md says so too, and why
local ENDS = "ends"
-- A request without no-cache gets an end that is broken off: that takes what was said last away, in Chromium and
-- behind HTTP/2.
local MISSES = "may miss the end"
local BROKEN_OFF = { ["last word"] = MISSES, drain = MISSES }

local rows = {
  { name = "Chromium", runs = "chromium", client = "EventSource", quick = true },
  { name = "Firefox", runs = "firefox", client = "EventSource", quick = true },
  { name = "WebKitGTK", runs = "webkit", client = "EventSource", base = true,
    proxied = { kill = "gets nothing more", drain = "gets nothing more" } },
  { name = "undici", runs = "node" },
  { name = "eventsource 2", runs = "node", client = "eventsource2",
    but = { gzip = "asks for none", cut = "loses one" } },
  { name = "eventsource 3", runs = "node", client = "eventsource" },
  { name = "eventsource 4", runs = "node", client = "eventsource4" },
  { name = "eventsource-client", runs = "node", post = true },
  { name = "launchdarkly-eventsource", runs = "node", post = true, but = { gzip = "asks for none" } },
  { name = "@microsoft/fetch-event-source", runs = "node", post = true, proxied = BROKEN_OFF,
    but = { cut = "loses one" } },
  { name = "event-source-polyfill", runs = "chromium",
    files = { ["event-source-polyfill.js"] = "event-source-polyfill/src/eventsource.js" } },
  { name = "sse.js", runs = "chromium", post = true, files = { ["sse.js"] = "sse.js/lib/sse.js" },
    but = { stop = "asks again", ["last word"] = MISSES, drain = MISSES } },
  { name = "reconnecting-eventsource", runs = "chromium", base = true, but = { stop = "asks again" },
    files = { ["reconnecting-eventsource.js"] =
      "reconnecting-eventsource/dist/ReconnectingEventSource.min.js" } },
  { name = "htmx 2", runs = "chromium", client = "htmx2", base = true, but = { stop = "asks again" },
    files = { ["htmx2.js"] = "htmx2/dist/htmx.min.js", ["htmx2-sse.js"] = "htmx-ext-sse/dist/sse.js" } },
  { name = "htmx 4", runs = "chromium", client = "htmx4", post = true,
    but = { stop = "asks again", ["last word"] = MISSES, drain = MISSES },
    files = { ["htmx4.js"] = "htmx.org/dist/htmx.min.js", ["htmx4-sse.js"] = "htmx.org/dist/ext/hx-sse.js" } },
  { name = "Turbo", runs = "chromium", client = "turbo", form = "turbo", alone = true, base = true,
    files = { ["turbo.js"] = "@hotwired/turbo/dist/turbo.es2017-esm.js" },
    but = { named = "ignores them", reset = "is not told", kill = "is not told" } },
  { name = "Datastar", runs = "chromium", client = "datastar", form = "datastar", post = true,
    files = { ["datastar.js"] = "@starfederation/datastar/dist/datastar.js" },
    but = { named = "ignores them", reset = "is not told", kill = "is not told", cut = "loses one",
      ["last word"] = MISSES, drain = MISSES } },
  { name = "AI SDK", runs = "node", client = "ai", form = "ai", post = true,
    but = { ["post, resume"] = ENDS, resume = ENDS, reset = ENDS, kill = ENDS, drain = ENDS } },
  { name = "curl", runs = "node", post = true, proxied = BROKEN_OFF },
  { name = "Java's HttpClient", runs = "java", post = true, but = { gzip = "asks for none" } },
}

return rows
