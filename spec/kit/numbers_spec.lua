--- Numbers wherever an app meets them: each is written with all its digits, by one function.
local kit = require("spec.support.kit")

local TIMES = { 1764344973.335123, 1764344973.335124 } -- equal in fourteen digits

local function start(source) return kit.start(source) end

describe("a number of the app", function()
  it("goes through a request, a publish and an answer without a change", function()
    local t <close> = start([[
      app:channel("sums", { history = "latest" })
      app:stream("/sums", "sums")
      app:post("/sums", function(req)
        local body = req:json({ sum = "number", t = "number" })
        app:publish("sums", "sum", body)
        return body
      end)
      app:get("/latest", function() return (app:latest("sums")) end)
      app:get("/history", function() return app:history("sums") end)
    ]])
    local c = t:connect("/sums")
    for _, text in ipairs({ '{"sum":1234567890123.45,"t":1764344973.335123}',
      '{"sum":1.8446744073709552e+19,"t":9007199254740993}' }) do
      local r = t:post("/sums", { headers = { ["Content-Type"] = "application/json" }, body = text })
      assert.equal(#text, #r.body)
      local data = c:wait_for("sum", 0).data
      assert.same(r.json, data)
      local sum, time = text:match("([%d.e+]+),.-([%d.]+)}")
      assert.same({ tonumber(sum), tonumber(time) }, { data.sum, data.t })
      assert.same(data, t:get("/latest").json)
    end
  end)

  it("is a key of its own, wherever it is named", function()
    local t <close> = start([[
      app:channel("at", { history = "latest", key = "t" })
      app:stream("/all", "at")
      app:stream("/one", { channels = { "at" }, keys = { 1764344973.335124, 2.0 } })
      app:stream("/set", function(req, client) return { channels = { "at" } } end)
      app:post("/set/:id", function(req)
        return 200, { app:client(req.params.id):set({ keys = { 1764344973.335123, 3.0 } }) }
      end)
      app:get("/latest", function(req)
        return { app:latest("at", req:number("t")), app:latest("at", 2.0) }
      end)
      app:delete("/at", function(req) app:remove("at", req:number("t")) end)
    ]])
    for _, time in ipairs({ TIMES[1], TIMES[2], 2, 3.0 }) do t:publish("at", "value", { t = time }) end
    t:publish("at", "value", { n = 1 }, { key = 4.5 })
    local function times(path)
      local list = {}
      for i, event in ipairs(t:connect(path):events("value")) do list[i] = event.data.t or "4.5" end
      table.sort(list, function(a, b) return tonumber(a) < tonumber(b) end)
      return list
    end
    assert.same({ 2, 3, "4.5", TIMES[1], TIMES[2] }, times("/all"))
    assert.same({ 2, TIMES[2] }, times("/one"))
    assert.same({ "4.5", TIMES[1] }, times("/all?keys=4.5,1764344973.335123"))
    local c = t:connect("/set")
    assert.equal(200, t:post("/set/" .. c:events("hello")[1].data.client).status)
    for _, time in ipairs({ TIMES[1], TIMES[2], 2, 3 }) do t:publish("at", "new", { t = time }) end
    t:settle()
    assert.equal(2, c:count("new"))
    for i, time in ipairs(TIMES) do
      local got = t:get("/latest?t=" .. ("%.17g"):format(time)).json
      assert.same({ t = time }, got[1], i)
    end
    t:delete("/at?t=1764344973.335124")
    assert.same({ 2, 3, "4.5", TIMES[1] }, times("/all"))
  end)

  it("is whole in hello, in header fields and in messages", function()
    local t <close> = start([[
      app:channel("a", { history = "latest", key = "k", max_rate = 1/60 })
      app:stream("/a", { channels = { "a" }, heartbeat = 1234.567 })
      app:get("/header", function() return 200, "x", { Age = 3.0, ["X-T"] = 1764344973.335123 } end)
      app:get("/bounds", function(req) return { req:number("n", 0.1234567, 123456789) } end)
    ]])
    local hello = t:connect("/a"):events("hello")[1].data
    assert.equal(1234.567, hello.heartbeat)
    assert.equal(1 / 60, hello.max_rate)
    local headers = t:get("/header").headers
    assert.equal("3", headers.age)
    assert.equal("1764344973.335123", headers["x-t"])
    assert.equal("n is not a number from 0.1234567 to 123456789", t:get("/bounds?n=0").json.error.message)
  end)

  it("is whole as a line of the log", function()
    local t <close> = start('app:get("/", function() sluice.log.info(1764344973.335123) end)')
    t:get("/")
    assert.equal("1764344973.335123", t:log("info")[#t:log("info")])
  end)

  it("is a period of its own", function()
    local t <close> = start([[
      local n = app:state("n", { 0, 0 })
      app:every(3600.001, function() n()[1] = n()[1] + 1 end)
      app:every(3600.002, function() n()[2] = n()[2] + 1 end)
      app:get("/", function() return n() end)
    ]])
    t:advance(3600.0015)
    assert.same({ 1, 0 }, t:get("/").json)
    t:advance(0.001)
    assert.same({ 1, 1 }, t:get("/").json)
  end)

  it("keeps its milliseconds in a timestamp", function()
    local t <close> = start([[
      app:get("/", function() return { sluice.timestamp(1795338000.123), sluice.timestamp(1e-5),
        sluice.timestamp(1795338000), sluice.timestamp(1795338000.9999), sluice.timestamp(1795338000.05) } end)
    ]])
    assert.same({ "2026-11-22T09:00:00.123Z", "1970-01-01T00:00:00.000Z", "2026-11-22T09:00:00.000Z",
      "2026-11-22T09:00:00.999Z", "2026-11-22T09:00:00.050Z" }, t:get("/").json)
  end)

  it("is taken for a size when it is whole", function()
    local t <close> = require("sluice.testing").start({ source = [[
      local app = require("sluice").app()
      app:post("/", function(req) return #req.body end)
      return app
    ]] }, { flags = { max_body = 2.0 ^ 20 } })
    assert.equal(413, t:post("/", { body = ("x"):rep(2 ^ 20 + 1) }).status)
  end)
end)
