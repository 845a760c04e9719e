--- Clients of event streams that others wrote, each with many streams, and what their pages saw: the
--- libraries of .ci/package.json in node (sse_client.mjs), and what a page of Chromium has.
---   local c = clients.npm("eventsource", { url, … })
---   local c = clients.page(page, { url, … })           EventSource; or "sse.js" as third argument
---   c.rows(i), c.count(i, "message", "bye"), c.last(i, "hello").data, c.numbers(i)
--- Rows are { what = "open" | "message" | "error" | "closed", event, id, data }; see follow.mjs.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")

local clients = {}

clients.NPM = { "undici", "eventsource", "eventsource2", "@microsoft/fetch-event-source" }

local modules = lfs.currentdir() .. "/build/node"

--- Whether node and the libraries are there.
function clients.installed()
  for _, name in ipairs { "sse.js", table.unpack(clients.NPM) } do
    if not lfs.attributes(modules .. "/node_modules/" .. name) then return false end
  end
  return os.execute("node --version >/dev/null 2>&1") == true
end

--- The URLs of these paths.
function clients.urls(port, paths)
  local urls = {}
  for i, path in ipairs(paths) do urls[i] = ("http://127.0.0.1:%d%s"):format(port, path) end
  return urls
end

--- The same, over as many hosts as a browser needs: it opens six HTTP/1.1 connections to each.
function clients.urls_over_hosts(port, paths)
  local urls = {}
  for i, path in ipairs(paths) do urls[i] = ("http://h%d.localhost:%d%s"):format((i - 1) // 6, port, path) end
  return urls
end

--- `seen()` gives the list of rows of each stream; all() looks anew.
function clients.watch(name, urls, seen)
  local self, streams = { name = name, streams = #urls }, {}
  function self.look() streams = seen() end
  function self.rows(i) return streams[i] or {} end

  function self.count(i, what, event)
    local n = 0
    for _, row in ipairs(self.rows(i)) do
      if row.what == what and (not event or row.event == event) then n = n + 1 end
    end
    return n
  end

  function self.last(i, event)
    local found
    for _, row in ipairs(self.rows(i)) do
      if row.event == event then found = row end
    end
    return found
  end

  --- The numbers of all events that a stream was given, in order.
  function self.numbers(i)
    local list = {}
    for _, row in ipairs(self.rows(i)) do
      if row.event == "e" then list[#list + 1] = json.decode(row.data).n end
    end
    return list
  end

  --- Wait until that is so of each stream.
  function self.all(what, seconds, fn)
    local ok, err = pcall(deadline.eventually, function()
      self.look()
      for i = 1, #urls do
        if not fn(i) then
          error(("%s: no %s at %s: %s"):format(name, what, urls[i], json.encode(self.rows(i))), 0)
        end
      end
      return true
    end, seconds)
    if not ok then error(err, 0) end
  end
  return self
end

--- A process that writes a row as a line of JSON, with the stream's place as `stream`.
function clients.of_process(name, p, urls)
  local streams, at = {}, 1
  return clients.watch(name, urls, function()
    for line, next_at in p:log():gmatch("([^\n]*)\n()", at) do
      local row = line:find("^{") and json.decode(line) -- else a warning
      if row then
        streams[row.stream] = streams[row.stream] or {}
        table.insert(streams[row.stream], row)
      end
      at = next_at
    end
    return streams
  end)
end

--- Follow URLs by a library from npm, in a process of its own (kind "client").
function clients.npm(library, urls)
  return clients.of_process(library, process.spawn({ "node", "spec/support/sse_client.mjs", modules, library,
    table.unpack(urls) }, { kind = "client", env = { NODE_TLS_REJECT_UNAUTHORIZED = "0" } }), urls)
end

--- Follow URLs by the HTTP client that is part of Java.
function clients.java(urls)
  return clients.of_process("Java", process.spawn({ "java", "-XX:TieredStopAtLevel=1",
    "-Djdk.internal.httpclient.disableHostnameVerification=true", "spec/support/SseClient.java",
    table.unpack(urls) }, { kind = "client" }), urls)
end

local MAKE = { ["sse.js"] = [[async ({ follow, library, urls }) => {
  const load = (text) => import("data:text/javascript," + encodeURIComponent(text));
  const { SSE } = await load(library);
  (await load(follow)).followAll(urls, (url) => {
    const source = new SSE(url, { autoReconnect: true });
    source.stream();
    return source;
  });
}]], EventSource = [[async ({ follow, urls }) => {
  const { followAll } = await import("data:text/javascript," + encodeURIComponent(follow));
  followAll(urls, (url) => new EventSource(url));
}]] }

--- Follow URLs from a page of spec.support.browser.
function clients.page(page, urls, library)
  local path = modules .. "/node_modules/sse.js/lib/sse.js"
  page.eval(MAKE[library or "EventSource"], { urls = urls, follow = process.read_file("spec/support/follow.mjs"),
    library = process.read_file(path) })
  return clients.watch(library or "Chromium", urls, function() return page.eval("streams") end)
end

return clients
