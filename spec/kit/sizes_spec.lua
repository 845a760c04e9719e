--- The size of an event is that of its data: the largest goes every way that events go, and what
--- is larger is refused with what was counted. In virtual time, and on a server of its own.
local testing = require("sluice.testing")

local APP = [[
local app = require("sluice").app()
app:channel("log", { history = 20, rewind = "all" })
app:channel("state", { history = "latest" })
app:stream("/log", "log")
app:stream("/state", "state")
app:stream("/late", function(_, client)
  client:subscribe("log", { rewind = 1 })
  for _ = 1, 3 do assert(client:send("mine", ("\n"):rep(65000))) end
  assert(client:send("mine", "short"))
  client:stop("last", ("\n"):rep(65000))
end)
app:post("/publish/:channel", function(req)
  local id, message, code = app:publish(req.params.channel, "big", req.body, { key = req.query.key })
  if not id then return nil, message, code end
  return { same = app:latest(req.params.channel) == req.body }
end)
app:post("/send/:id", function(req)
  local ok, message, code = app:client(req.params.id):send("big", req.body)
  if not ok then return nil, message, code end
end)
app:post("/stop/:id", function(req)
  local ok, message, code = app:client(req.params.id):stop("big", req.body)
  if not ok then return nil, message, code end
end)
return app
]]

local LARGEST = { ("\n"):rep(65000), ("x"):rep(65000), ("x\n"):rep(32500), ("x"):rep(64992), ("\n"):rep(9285) }

local TOO_LARGE = {
  { ("x"):rep(65001), "the data has 65001 bytes, the limit is 65000" },
  { ("\n"):rep(65001), "the data has 65001 bytes, the limit is 65000" },
  { ("\0"):rep(21667), "the data has 65001 bytes, with U+FFFD for each that is no UTF-8; the limit is 65000" },
}

local function refused(message, r)
  assert.same({ 413, { error = { code = "ETOOBIG", message = message } } }, { r.status, r.json })
end

for place, sockets in pairs { ["in virtual time"] = false, ["on a server of its own"] = true } do
  describe("the size of an event, " .. place .. ",", function()
    local t

    before_each(function() t = testing.start({ source = APP }, { sockets = sockets, flags = { drain = 0.1 } }) end)
    after_each(function() t:stop() end)

    it("may be 65,000 bytes of data, whatever its line ends", function()
      local log, state = t:connect("/log"), t:connect("/state")
      for _, data in ipairs(LARGEST) do
        assert.same({ same = true }, t:post("/publish/log", { body = data }).json)
        assert.same({ same = true }, t:post("/publish/state", { body = data }).json)
        assert.is_true(data == log:wait_for("big").data)
        assert.is_true(data == state:wait_for("big").data)
        assert.equal(204, t:post("/send/" .. log.id, { body = data }).status)
        assert.is_true(data == log:wait_for("big").data)
      end
      log:drop()
      t:post("/publish/log", { body = LARGEST[1] })
      log = log:reconnect()
      assert.is_true(log.hello.resumed and log:wait_for("big").data == LARGEST[1])
      assert.equal(6, t:connect("/log").hello.replay)
    end)

    it("is the same for what one client is sent, and none of it is lost", function()
      t:post("/publish/log", { body = LARGEST[1] })
      local late = t:connect("/late")
      for _ = 1, 3 do assert.is_true(late:wait_for("mine").data == LARGEST[1]) end
      assert.equal("short", late:wait_for("mine").data)
      assert.is_true(late:wait_for("last").data == LARGEST[1])
      assert.equal(0, late:count("reset"))
      assert.is_true(late:events("big")[1].data == LARGEST[1]) -- of the history that it asked for
    end)

    it("is refused beyond, with what was counted, and then nothing happened", function()
      local c = t:connect("/log")
      for _, case in ipairs(TOO_LARGE) do
        local data, message = table.unpack(case)
        refused(message, t:post("/publish/log", { body = data }))
        refused(message, t:post("/send/" .. c.id, { body = data }))
        refused(message, t:post("/stop/" .. c.id, { body = data }))
      end
      refused("the key has 257 bytes, the limit is 256", t:post("/publish/log?key=" .. ("k"):rep(257), { body = "x" }))
      t:post("/publish/log", { body = "good" })
      assert.equal("good", c:wait_for("big").data)
    end)
  end)
end
