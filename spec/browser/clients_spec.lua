--- Clients that others wrote: libraries from npm, and Chromium's own EventSource. All of them at once,
--- since each waits some seconds before it comes back.
local browser = require("spec.support.browser")
local clients = require("spec.support.clients")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")

local APP = [[
app:channel("log", { history = 100 })
app:cors("/**", { origins = { "*" } })
app:get("/page", function() return 200, "<title>t</title>", { ["Content-Type"] = "text/html" } end)
app:stream("/log", "log")
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
app:post("/stop", function() for c in app:clients() do c:stop() end end)]]

local function start(port) return live.start(APP, { port = port }) end

describe("clients of others", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)
  after_each(function()
    process.stop_all("client")
    live.stop_all()
  end)

  it("receive, come back with their id, learn of a restart, and stay away when told", function()
    local s, all = start(0), {}
    for i, name in ipairs(clients.NPM) do all[i] = clients.npm(name, { s.url .. "/log" }) end
    for _, c in ipairs(all) do c.all("hello", 10, function() return c.count(1, "message", "hello") == 1 end) end
    local ids = s.publish("log", { n = 3 })
    for _, c in ipairs(all) do
      c.all("events", 3, function() return #c.numbers(1) == 3 end)
      assert.equal(ids[3], c.last(1, "e").id, c.name)
    end

    -- the connection is cut: what was published meanwhile comes, once
    s.post("/cut")
    s.wait_clients(0)
    s.publish("log", { first = 4, n = 2 })
    for _, c in ipairs(all) do
      c.all("resumed events", 8, function() return #c.numbers(1) == 5 end)
      assert.same({ 1, 2, 3, 4, 5 }, c.numbers(1), c.name)
      assert.is_true(json.decode(c.last(1, "hello").data).resumed, c.name)
    end

    -- the server is killed and starts anew: the loss is told, and it goes on
    local port = s.port
    s.kill()
    s = start(port)
    s.publish("log", { first = 11 })
    for _, c in ipairs(all) do
      c.all("event of the new server", 10, function() return c.numbers(1)[6] == 11 end)
      assert.equal("epoch", json.decode(c.last(1, "reset").data).reason, c.name)
      assert.equal(0, c.count(1, "message", "message"), c.name .. " got empty messages")
    end

    s.post("/stop")
    for _, c in ipairs(all) do
      c.all("end", 10, function() return c.count(1, "closed") == 1 end)
      assert.equal("stop", json.decode(c.last(1, "bye").data).reason)
    end
    s.wait_clients(0)
  end)

  -- Some libraries remember an id as they read its line, not with the event that it belongs to.
  it("cut behind any byte of an event, lose it at one place or none", function()
    local s = start(0)
    local first = s.publish("log")[1]
    local event = ('event: e\ndata: {"n":2}\nid: %s2\n\n'):format(first:match("^.*%-"))
    local cutter = process.spawn({ "node", "spec/support/cutter.mjs", s.port, event:match('^[^}]*') },
      { kind = "client" })
    local port = deadline.eventually(function() return cutter:log():match("^(%d+)\n") end, 5)
    local paths, all = {}, {}
    for n = 0, #event do paths[n + 1] = "/log?lastEventId=" .. first .. "&cut=" .. n end
    for i, name in ipairs(clients.NPM) do
      local own = {}
      for j, path in ipairs(paths) do own[j] = path .. "&by=" .. i end
      all[i] = clients.npm(name, clients.urls(port, own))
    end
    local page = b.open(s.url .. "/page")
    all[#all + 1] = clients.page(page, clients.urls_over_hosts(port, paths))
    for _, c in ipairs(all) do
      c.all("hello", 15, function(i) return c.count(i, "message", "hello") == 1 end)
    end
    s.publish("log", { first = 2 })
    s.publish("log", { first = 3 })
    local lost = {}
    for _, c in ipairs(all) do
      c.all("event behind the cut", 15, function(i)
        local numbers = c.numbers(i)
        return numbers[#numbers] == 3
      end)
      lost[c.name] = {}
      for i = 1, c.streams do
        local numbers = c.numbers(i)
        local hello = c.last(i, "hello").data:match("[^\n]*$") -- eventsource 2 puts what it has in front
        assert.is_true(json.decode(hello).resumed, c.name)
        if #numbers == 1 then table.insert(lost[c.name], i - 1) else assert.same({ 2, 3 }, numbers, c.name) end
      end
    end
    page.close()
    local behind_id = { #event - 1 } -- of its LF, and before the blank line
    assert.same({ undici = {}, eventsource = {}, Chromium = {}, eventsource2 = behind_id,
      ["@microsoft/fetch-event-source"] = behind_id }, lost)
  end)
end)
