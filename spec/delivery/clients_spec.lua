--- Clients that others wrote: three libraries from npm receive, resume, are told and stop.
--- One test for all three at once, since each waits some seconds before it comes back.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local lfs = require("lfs")
local live = require("spec.support.live")
local process = require("spec.support.process")

local LIBRARIES = { "undici", "eventsource", "@microsoft/fetch-event-source" }

local APP = [[
app:channel("log", { history = 100 })
app:stream("/log", "log")
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
app:post("/stop", function() for c in app:clients() do c:stop() end end)]]

local modules = lfs.currentdir() .. "/build/node"

local function installed()
  for _, name in ipairs(LIBRARIES) do
    if not lfs.attributes(modules .. "/node_modules/" .. name) then return false end
  end
  return os.execute("node --version >/dev/null 2>&1") == true
end

--- What a client has seen so far.
local function seen(p)
  local list = {}
  for line in p:log():gmatch("({[^\n]*})\n") do list[#list + 1] = json.decode(line) end
  return list
end

local function count(p, what, event)
  local n = 0
  for _, row in ipairs(seen(p)) do
    if row.what == what and (not event or row.event == event) then n = n + 1 end
  end
  return n
end

local function last(p, event)
  local found
  for _, row in ipairs(seen(p)) do
    if row.event == event then found = row end
  end
  return found
end

--- The numbers of all events that a client was given, in order.
local function numbers(p)
  local list = {}
  for _, row in ipairs(seen(p)) do
    if row.event == "e" then list[#list + 1] = json.decode(row.data).n end
  end
  return list
end

describe("clients from npm", function()
  local s, clients

  local function start(port) return live.start(APP, { port = port, args = { "--heartbeat", "1" } }) end

  local function all_have(what, seconds, fn)
    for name, p in pairs(clients) do
      local ok, message = pcall(deadline.eventually, function() return fn(p) end, seconds)
      assert(ok, name .. ": no " .. what .. ": " .. tostring(message) .. "\n" .. p:log())
    end
  end

  after_each(function()
    process.stop_all("client")
    live.stop_all()
  end)

  it("receive, come back with their id, learn of a restart, and stay away when told", function()
    if not installed() then pending("node or the libraries are not installed") return end
    s, clients = start(0), {}
    for _, name in ipairs(LIBRARIES) do
      local words = { "node", "spec/support/sse_client.mjs", modules, name, s.url .. "/log" }
      clients[name] = process.spawn(words, { kind = "client" })
    end
    all_have("hello", 10, function(p) return count(p, "message", "hello") == 1 end)
    local ids = s.publish("log", { n = 3 })
    all_have("events", 3, function(p) return #numbers(p) == 3 end)
    for name, p in pairs(clients) do assert.equal(ids[3], last(p, "e").id, name) end

    -- the connection is cut: what was published meanwhile comes, once
    s.post("/cut")
    s.wait_clients(0)
    s.publish("log", { first = 4, n = 2 })
    all_have("resumed events", 8, function(p) return #numbers(p) == 5 end)
    for name, p in pairs(clients) do
      assert.same({ 1, 2, 3, 4, 5 }, numbers(p), name)
      assert.is_true(json.decode(last(p, "hello").data).resumed, name)
    end

    -- the server is killed and starts anew: the loss is told, and it goes on
    local port = s.port
    s.kill()
    s = start(port)
    s.publish("log", { first = 11 })
    all_have("event of the new server", 10, function(p) return numbers(p)[6] == 11 end)
    for name, p in pairs(clients) do
      assert.equal("epoch", json.decode(last(p, "reset").data).reason, name)
      assert.equal(0, count(p, "message", "message"), name .. " got empty messages")
    end

    s.post("/stop")
    all_have("end", 10, function(p) return count(p, "closed") == 1 end)
    for _, p in pairs(clients) do assert.equal("stop", json.decode(last(p, "bye").data).reason) end
    s.wait_clients(0)
  end)
end)
