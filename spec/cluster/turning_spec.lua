--- Reloads that make a channel one of this node, and one of all again, on a real server of a cluster, while both nodes
--- publish: nothing that was published behind a reload is lost or comes twice, and what is of one node stays there.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local process = require("spec.support.process")
local sse = require("spec.support.sse")

local TURNS = os.getenv("SLUICE_SPEC_FULL") and 60 or 6
local READERS = 6

local APP = [[
local app = require("sluice").app()
app:channel("x", { history = 5000 })
app:channel("y", { history = 5000 })
app:stream("/s", { channels = { "x", "y" } })
app:post("/p/:channel", function(req)
  local ok, message, code = app:publish(req.params.channel, "message", req.query.n)
  if not ok then return nil, message, code end
  return { shared = app:stats("x").shared }
end)
return app
]]
local OWN = APP:gsub("{ history = 5000 }", "{ history = 0, shared = false }", 1)

describe("a channel that turns from one of all to one of a node, and back,", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  local cluster, n

  setup(function()
    cluster, n = nodes.start { app = APP, io_threads = 2 }, 0
    cluster:wait_live()
  end)
  teardown(function() cluster:stop() end)

  local function publish(i, channel)
    n = n + 1
    local r = http.post(cluster[i].port, ("/p/%s?n=%d"):format(channel, n), "")
    assert.equal(200, r.status, r.body)
    return n, json.decode(r.body).shared
  end

  local function reload(text)
    process.write_file(cluster[1].folder .. "/app.lua", text)
    local r = http.post(cluster[1].port, "/-/reload", "", { ["X-Admin-Key"] = nodes.KEY })
    assert.equal(200, r.status, r.body)
  end

  local function follow(i)
    local client = sse.connect(cluster[i].port, "/s")
    assert.equal("hello", client:next_event(5).event)
    return client
  end

  --- The numbers that a client has got until the last one.
  local function read_upto(client, last)
    local got, ids, left = {}, {}, deadline.after(30)
    local number
    repeat
      local event = assert(client:next_event(left()))
      number = tonumber(event.data)
      assert.is_nil(number and got[number], "again")
      if number then got[number], ids[number] = true, event.id or false end
    until number == last
    return got, ids
  end

  it("loses nothing that is published behind a reload", function()
    local here, there = {}, follow(2)
    for i = 1, READERS do here[i] = follow(1) end
    local of_all, of_one = {}, {} -- who has to get them: all; the readers of the first node alone
    for turn = 1, TURNS do
      reload(turn % 2 == 1 and OWN or APP)
      for _ = 1, 3 do
        local number, is_shared = publish(1, "x")
        assert.equal(turn % 2 == 0, is_shared)
        if is_shared then of_all[number] = true else of_one[number] = true end
        number = publish(2, "x")
        if is_shared then of_all[number] = true end
        of_all[publish(turn % 3 == 0 and 1 or 2, "y")] = true
      end
      if turn % 5 == 0 then reload(turn % 2 == 1 and APP or OWN) end -- and another one at once
    end
    reload(APP)
    local last = publish(2, "x")
    of_all[last] = true
    for i = 1, READERS do
      local got, ids = read_upto(here[i], last)
      for number in pairs(of_all) do assert.is_true(got[number], ("reader %d has not got %d"):format(i, number)) end
      for number in pairs(of_one) do
        assert.is_true(got[number], ("reader %d has not got %d"):format(i, number))
        assert.is_false(ids[number], "an id")
      end
    end
    local got = read_upto(there, last)
    for number in pairs(of_all) do assert.is_true(got[number], ("%d has not reached the other node"):format(number)) end
    for number in pairs(of_one) do assert.is_nil(got[number], ("%d has left its node"):format(number)) end
    for i = 1, READERS do here[i]:close() end
    there:close()
  end)
end)
