--- app:newest in virtual time: the newest of each key and event name, of a state and of a keyed log, in memory
--- and on the disk, after a kill, and what is refused.
local kit = require("spec.support.kit")

local APP = [[
app:channel("box/:user", { history = 3, key = "id", rewind = "latest", durable = %s })
app:channel("state", { history = "latest", key = "id" })
app:channel("log", { history = 10 })
app:post("/publish/*channel", function(req)
  local body = req:json()
  return sluice.receipt(app:publish(req.params.channel, body.event, body, { remove = body.remove, ttl = body.ttl }))
end)
app:get("/newest/*channel", function(req)
  local q, limit = req.query, tonumber(req.query.limit) or 100
  local list, n, bytes = app:newest(req.params.channel, { limit = limit, after = q.after, event = q.event })
  if not list then return nil, n, bytes end
  return { list = list, n = n, bytes = bytes }
end)
app:get("/wrong", function() return app:newest("state", { limit = -1 }) end)]]

for _, durable in ipairs { "false", "true" } do
  describe("app:newest, durable = " .. durable, function()
    local t

    before_each(function() t = kit.start(APP:format(durable)) end)
    after_each(kit.stop_all)

    local function publish(channel, event, id, more)
      local body = { event = event, id = id }
      for name, value in pairs(more or {}) do body[name] = value end
      local answer = t:post("/publish/" .. channel, { json = body })
      assert.equal(202, answer.status, answer.body)
      return answer.json.id
    end

    local function newest(channel, query) return t:get("/newest/" .. channel .. (query or "")) end

    local function names(channel, query)
      local list = {}
      for _, row in ipairs(newest(channel, query).json.list) do list[#list + 1] = row.event .. row.data.id end
      return table.concat(list, " ")
    end

    it("has what newcomers get, though its history is shorter, in order", function()
      for i = 1, 6 do publish("box/ann", "a", "k" .. i) end
      publish("box/ann", "b", "k2")
      publish("box/ann", "a", "k1")
      publish("box/ann", "x", "k4", { remove = true })
      local function look()
        assert.equal("ak2 ak3 ak5 ak6 bk2 ak1", names("box/ann"))
        assert.equal("ak2 ak3", names("box/ann", "?event=a&limit=2"))
        local answer = newest("box/ann", "?event=a&limit=0").json
        assert.same({ 0, 5 }, { #answer.list, answer.n })
        assert.is_true(answer.bytes > 5 * 30 and answer.bytes < newest("box/ann").json.bytes)
      end
      look()
      local rows = newest("box/ann").json.list
      assert.same({ "k2", "k1" }, { rows[1].key, rows[6].key })
      assert.equal("ak6 bk2 ak1", names("box/ann", "?after=" .. rows[3].id))
      assert.equal("bk2", names("box/ann", "?event=b&after=" .. rows[1].id))
      assert.equal("a", newest("box/ann").json.list[6].event)
      if durable == "false" then return end
      t:kill()
      look()
    end)

    it("leaves out what is withdrawn or removed, of a state too", function()
      publish("state", "a", "k1")
      publish("state", "a", "k2", { ttl = 5 })
      publish("state", "a", "k3")
      publish("state", "x", "k3", { remove = true })
      assert.equal("ak1 ak2", names("state"))
      assert.is_nil(newest("state").json.list[1].id)
      t:advance(6)
      assert.same({ "ak1", 1 }, { names("state"), newest("state").json.n })
      publish("box/ann", "a", "k1", { ttl = 5 })
      t:advance(6)
      assert.same({ "", 0, 0 }, { names("box/ann"), newest("box/ann").json.n, newest("box/ann").json.bytes })
    end)

    it("is empty where nothing was published, and refuses what makes no sense", function()
      assert.same({ list = {}, n = 0, bytes = 0 }, newest("box/nobody").json)
      assert.truthy(newest("log").body:find("is a log", 1, true))
      assert.equal("EINVAL", newest("box/ann", "?after=none").json.error.code)
      assert.equal("ECHANNEL", newest("box/a%20b").json.error.code)
      assert.truthy(t:get("/wrong").error:find("app:newest(): limit is an integer from 0 to 10000", 1, true))
    end)
  end)
end
