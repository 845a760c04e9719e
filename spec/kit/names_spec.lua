--- Names of channels that clients write: what they put into them is taken as it is, and never
--- stands for something else. On the real core.
local kit = require("spec.support.kit")

local WHY = "no segment of a channel name starts with ':' or '*', only those of a pattern do"
local BAD = { [":scope"] = WHY, ["*"] = WHY, ["**"] = WHY, ["*x"] = WHY, [":"] = WHY, ["a/:scope"] = WHY, ["a/*"] = WHY,
  ["a*b"] = "letters, digits", ["a b"] = "letters, digits", [""] = "1 to 64 bytes", ["a//b"] = "1 to 64 bytes",
  ["\1"] = "letters, digits", [("x"):rep(65)] = "1 to 64 bytes", ["a/b/c/d/e/f/g/h"] = "8 segments" }
local GOOD = { "a:scope", "a", "=", "~:", "a/b" }

local function escaped(text)
  return (text:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end))
end

describe("a name that a client writes", function()
  local t
  after_each(kit.stop_all)

  local function ask(method, path, name) return t[method](t, path .. "?room=" .. escaped(name)) end

  it("is literal in what a plan function returns: 404 and the reason, no other channel", function()
    t = kit.start([[
      app:stream("/text/:scope", function(req) return "room/" .. req.query.room end)
      app:stream("/list/:scope", function(req) return { channels = { "news", "room/" .. req.query.room } } end)
      app:stream("/one/:scope", function(req) return { channels = "room/" .. req.query.room } end)
      app:stream("/entry/:scope", function(req)
        return { channels = { { "room/" .. req.query.room, keys = { "k" } } } }
      end)
      app:get("/channels", function()
        local n = 0
        for c in app:clients() do for _, name in ipairs({ "room/secret", "room/a" }) do
          for other in app:clients({ channel = name }) do if other == c then n = n + 1 end end
        end end
        return { n = n }
      end)]])
    for _, kind in ipairs({ "text", "list", "one", "entry" }) do
      local path = "/" .. kind .. "/secret"
      for name, why in pairs(BAD) do
        local answer = ask("get", path, name)
        assert.equal(404, answer.status, kind .. " " .. name)
        assert.truthy(answer.json.error.message:find(why, 1, true), name .. ": " .. answer.json.error.message)
      end
      for _, name in ipairs(GOOD) do
        local c = t:connect(path .. "?room=" .. escaped(name))
        assert.equal(200, c.status, kind .. " " .. name)
        c:drop()
      end
    end
    assert.equal(0, t:get("/channels").json.n)
    assert.same({}, t:log("error"))
  end)

  it("is a segment in a constant plan, with a guard or without: 404 and the reason", function()
    t = kit.start([[
      app:stream("/plain/:room", "room/:room")
      app:stream("/guarded/:room", function() return true end, "room/:room")]])
    for _, path in ipairs({ "/plain/", "/guarded/" }) do
      for name, why in pairs(BAD) do
        local answer = t:get(path .. escaped(name))
        assert.equal(404, answer.status, path .. name)
        if name ~= "" and not name:find("[/%c]") then
          local message = answer.json.error.message
          assert.truthy(message:find(why, 1, true), path .. name .. ": " .. message)
        end
      end
      local c = t:connect(path .. escaped("a:scope"))
      assert.equal(200, c.status)
    end
  end)

  it("is refused by client:subscribe with ECHANNEL", function()
    t = kit.start([[
      app:stream("/s/:scope", function(req, client)
        local ok, message, code = client:subscribe("room/" .. req.query.room)
        client:send("told", { ok = ok or false, message = message, code = code })
        sluice.sleep(1000)
      end)]])
    for name, why in pairs(BAD) do
      local c = t:connect("/s/secret?room=" .. escaped(name))
      local data = c:wait_for("told").data
      assert.same({ false, "ECHANNEL" }, { data.ok, data.code }, name)
      assert.truthy(data.message:find(why, 1, true), name .. ": " .. data.message)
      c:drop()
    end
    assert.same({}, t:log("error"))
  end)

  it("is answered with 400 ECHANNEL wherever a handler uses it", function()
    t = kit.start([[
      app:channel("room/:id", { history = "latest", key = "k" })
      local acts = {
        publish = function(name) return sluice.receipt(app:publish(name, "e", { k = 1 })) end,
        remove = function(name) return sluice.receipt(app:remove(name, "k")) end,
        idempotent = function(name) return sluice.receipt(app:publish(name, "e", {}, { idempotency = "i" })) end,
        latest = function(name) return app:latest(name) end,
        history = function(name) return app:history(name) end,
        stats = function(name) return app:stats(name) end,
        clients = function(name) for c in app:clients({ channel = name }) do error(c.id) end end,
        client = function(name) for c in app:clients() do return c:subscribe(name) end end,
      }
      app:stream("/s", "s")
      app:post("/:act", function(req) return acts[req.params.act]("room/" .. req.query.room) end)]])
    t:connect("/s")
    for _, act in ipairs({ "publish", "remove", "idempotent", "latest", "history", "stats", "clients", "client" }) do
      for name, why in pairs(BAD) do
        local answer = ask("post", "/" .. act, name)
        assert.same({ 400, "ECHANNEL" }, { answer.status, answer.json.error.code }, act .. " " .. name)
        assert.truthy(answer.json.error.message:find(why, 1, true), act .. " " .. answer.json.error.message)
      end
    end
    assert.same({}, t:log("error"))
  end)

  it("is no pattern and no id: EPATTERN, EINVAL", function()
    t = kit.start([[
      app:get("/channels", function(req) return app:channels(req.query.p) end)
      app:get("/replan", function(req) return { n = app:replan(req.query.p) } end)
      app:get("/replans", function(req) return app:replan(req.query.p) end)
      app:get("/history", function(req) return app:history("a", { after = req.query.after }) end)]])
    local function code(path)
      local answer = t:get(path)
      return answer.json.error and answer.status .. " " .. answer.json.error.code
    end
    for _, p in ipairs({ "a/:", "**/x", "a*", ("x"):rep(300) }) do
      assert.equal("400 EPATTERN", code("/channels?p=" .. escaped(p)))
      assert.equal("400 EPATTERN", code("/replans?p=" .. escaped(p)))
    end
    for _, id in ipairs({ "1", "stop", "x-1", ("a"):rep(9) .. "-01", "\xff" }) do
      assert.equal("400 EINVAL", code("/history?after=" .. escaped(id)), id)
    end
    assert.is_nil(code("/history?after="))
    assert.same({}, t:log("error"))
  end)

  it("is in the log where there is no answer", function()
    t = kit.start([[
      app:on("start", function()
        for c in app:clients({ channel = "room/*" }) do error(c.id) end
      end)]])
    t:settle()
    assert.matches("start hook %(app.lua:3%): app.lua:4: app:clients%(%): channel 'room/%*': no segment",
      t:log("error")[1])
  end)
end)
