--- What app:publish answers is an id for every caller that takes it, however it calls; a caller that drops it
--- does not pay for one.
local testing = require("sluice.testing")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()

local function tail(...) return app:publish(...) end
local function further(...) return tail(...) end

local WAYS = {
  function() local id = app:publish("a", "x", "one") return id end,
  function() local id, subscribers = app:publish("a", "x", "two") return id, subscribers end,
  function() return app:publish("a", "x", "tail") end,
  function() return further("a", "x", "far tail") end,
  function() return (app:publish("a", "x", "cut to one")) end,
  function() return table.unpack({ app:publish("a", "x", "list") }) end,
  function() return select(2, pcall(app.publish, app, "a", "x", "protected")) end,
  function() return coroutine.wrap(app.publish)(app, "a", "x", "coroutine") end,
  function() return ({ id = app:publish("a", "x", "field") }).id end,
  function() return (function(...) return ... end)(app:publish("a", "x", "argument")) end,
  function() return app:publish("a", nil, "no name") end,
  function() return app:publish("a", "x", { 1 }) end,
  function() return app:publish("a", "x") end,
  function() for id in app.publish, app, "a" do return id end end,
  function()
    local t = setmetatable({}, { __index = function() return app:publish("a", "x", "index") end })
    return t.x
  end,
}

app:get("/ways", function()
  local out = {}
  for i, way in ipairs(WAYS) do out[i] = { id = tostring((way())), newest = select(2, app:latest("a")) } end
  return out
end)

local function drop() app:publish("a", "x", "text") end
local function take() return (app:publish("a", "x", "text")) end
local function through() tail("a", "x", "text") end
app:get("/bytes", function()
  local function bytes(fn)
    fn()
    collectgarbage()
    collectgarbage("stop")
    local before = collectgarbage("count")
    for _ = 1, 1000 do fn() end
    local after = collectgarbage("count")
    collectgarbage("restart")
    return (after - before) * 1024 / 1000
  end
  return { drop = bytes(drop), through = bytes(through), take = bytes(take) }
end)

app:get("/refused", function()
  local all = {}
  for i, args in ipairs({ { "a b", "x", "y" }, { "a", "hello", "y" }, { "a", "x y", "z" }, { "a", "x", print } }) do
    all[i] = select(3, app:publish(table.unpack(args)))
  end
  app:publish("a b", "x", "y") -- dropped
  return all
end)
return app
]]

describe("what app:publish answers", function()
  it("is the id of the event, however it is taken", function()
    local t <close> = testing.start({ source = APP })
    local ways = t:get("/ways").json
    assert.equal(15, #ways)
    for i, way in ipairs(ways) do
      assert.matches("^%l%w+%-%d+$", way.id, ("way %d"):format(i))
      if i ~= 14 then assert.equal(way.newest, way.id, ("way %d"):format(i)) end
    end
  end)

  it("is no id where it is dropped: that makes nothing", function()
    local t <close> = testing.start({ source = APP })
    local bytes = t:get("/bytes").json
    assert.is_true(bytes.drop < 8, bytes.drop)
    assert.is_true(bytes.through < 8, bytes.through)
    assert.is_true(bytes.take > 30, bytes.take)
  end)

  it("is a code for what is refused", function()
    local t <close> = testing.start({ source = APP })
    assert.same({ "ECHANNEL", "EBADFIELD", "EBADFIELD", "EJSON" }, t:get("/refused").json)
  end)

  it("is a code where the fields of a declared type are wrong, also without a name", function()
    local t <close> = testing.start({ source = [[
local app = require("sluice").app()
app:event_type("message", { fields = { n = "number" } })
app:get("/", function()
  local wrong, right = select(3, app:publish("a", nil, { n = "one" })), app:publish("a", nil, { n = 1 })
  return { wrong = wrong, right = right }
end)
return app]] })
    local said = t:get("/").json
    assert.equal("EBADFIELD", said.wrong)
    assert.matches("%-1$", said.right)
  end)
end)
