--- Streams that are compressed: who gets which, and that nothing else differs.
local kit = require("spec.support.kit")

local APP = [[
app:channel("log", { history = 1000, rewind = "all" })
app:channel("prices", { history = "latest", key = "symbol" })
app:channel("ticks", { history = 100, batch = 0.1 })
local all = { channels = { "log", "prices", "ticks" }, compress = "auto" }
app:stream("/auto", all)
app:stream("/gzip", { compress = "gzip" }, function() return all.channels[1] end)
app:stream("/zstd", { compress = "zstd" }, "log")
app:stream("/ticks", { compress = "auto" }, "ticks")
app:stream("/off", { compress = false }, { channels = { "log", "prices", "ticks" } })
app:stream("/never", { channels = { "log" } })
app:stream("/both", { compress = false }, { channels = { "log" }, compress = "auto" })
app:stream("/post", { method = "POST", compress = "auto" }, "log")
app:stream("/wrong", function() return { channels = { "log" }, compress = "gzip" } end)
app:stream("/late", { compress = "auto" }, function() sluice.sleep(3); return "log" end)
app:stream("/own", { compress = "auto" }, function(req, client)
  for i = 1, 3 do client:send("own", { n = i }) end
  return "log"
end)
app:stream("/over", { compress = "auto" }, function(req, client) client:stop("done", { ok = true }) end)
app:stream("/plain", { channels = { "log" }, control = false, compress = "auto" })
app:cors("/auto", { origins = { "https://a.example" } })
]]

local function coding(t, path, accept, options)
  options = options or {}
  options.headers = { ["Accept-Encoding"] = accept }
  local c = t:connect(path, options)
  local coded, vary = c.headers["content-encoding"], c.headers["vary"]
  c:close()
  return coded or "identity", vary
end

local function seen(c)
  local list = {}
  for _, e in ipairs(c:events()) do
    if e.event ~= "hello" then list[#list + 1] = { e.event, e.text, e.id } end
  end
  return list
end

describe("a compressed stream", function()
  local t

  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  it("is for routes that say so and clients that accept it", function()
    for _, row in ipairs {
      { "/auto", nil, "identity" }, { "/auto", "", "identity" }, { "/auto", "br, deflate", "identity" },
      { "/auto", "gzip, deflate, br, zstd", "zstd" }, { "/auto", "gzip, deflate", "gzip" },
      { "/auto", "gzip, zstd;q=0.9", "gzip" }, { "/auto", "gzip;q=0.5, zstd;q=0.9", "zstd" },
      { "/auto", "gzip;q=0, *;q=0", "identity" }, { "/auto", "zstd;q=0, gzip;q=0.001", "gzip" },
      { "/auto", "*", "zstd" }, { "/auto", "x-gzip", "gzip" }, { "/auto", "identity", "identity" },
      { "/gzip", "gzip, zstd", "gzip" }, { "/gzip", "zstd", "identity" },
      { "/zstd", "gzip, zstd", "zstd" }, { "/zstd", "gzip", "identity" },
    } do
      local got, vary = coding(t, row[1], row[2])
      assert.equal(row[3], got, row[1] .. " " .. tostring(row[2]))
      assert.equal("Accept-Encoding", vary:match("[%w-]+$"))
    end
    for _, path in ipairs { "/off", "/never", "/both" } do
      assert.same({ "identity" }, { coding(t, path, "gzip, zstd") })
    end
    assert.equal("zstd", (coding(t, "/post", "gzip, zstd", { method = "POST" })))
    assert.same({ "zstd", "Origin, Accept-Encoding" }, { t:connect("/auto", { compress = "auto",
      headers = { Origin = "https://a.example" } }).headers["content-encoding"],
      t:connect("/auto", { headers = { Origin = "https://a.example" } }).headers.vary })
  end)

  it("has the same events as a plain one: replayed, live, held back, large, its own", function()
    for i = 1, 300 do t:publish("log", "e", { n = i, text = ("abc"):rep(i % 50) }) end
    for i = 1, 9 do t:publish("prices", "price", { symbol = "S" .. i, price = i }) end
    local streams = { t:connect("/off"), t:connect("/auto", { compress = "gzip" }),
      t:connect("/auto", { compress = "zstd" }) }
    assert.same({ nil, "gzip", "zstd" }, { streams[1].headers["content-encoding"],
      streams[2].headers["content-encoding"], streams[3].headers["content-encoding"] })
    for i = 1, 50 do
      t:publish("log", "e", { n = 300 + i })
      t:publish("ticks", "tick", { n = i })
      if i % 10 == 0 then t:advance(0.1) end
    end
    t:publish("log", "large", ("0123456789"):rep(6000))
    t:publish("prices", "price", { symbol = "S1", price = 77 })
    t:advance(40) -- heartbeats too
    t:publish("log", "e", { n = "last" })
    local plain = seen(streams[1])
    assert.equal(300 + 9 + 100 + 1 + 1 + 1, #plain)
    for i = 2, 3 do assert.same(plain, seen(streams[i])) end
    local own = t:connect("/own", { compress = "gzip" })
    own:wait_for("own", 1, { n = 3 })
    own:wait_for("e", 1, { n = "last" })
    local plain_one = t:connect("/plain", { compress = "zstd" })
    assert.equal("zstd", plain_one.headers["content-encoding"])
    plain_one:wait_for("e", 1, { n = "last" })
    local over = t:connect("/over", { compress = "auto" })
    over:wait_for("done", 1, { ok = true })
    over:wait_for("bye", 1, { reason = "stop" })
  end)

  it("goes on where it was cut, stalls and survives a reload", function()
    local plain, streams = {}, { gzip = t:connect("/auto", { compress = "gzip" }),
      zstd = t:connect("/auto", { compress = "zstd" }) }
    local got = { gzip = {}, zstd = {} }
    local function collect(name)
      for _, e in ipairs(streams[name]:events("e")) do table.insert(got[name], e.data.n) end
    end
    for i = 1, 200 do
      plain[i] = i
      t:publish("log", "e", { n = i, text = ("x"):rep(300) })
      for name, c in pairs(streams) do
        if i % 31 == 0 then
          collect(name)
          streams[name] = c:reconnect()
          assert.is_true(streams[name].hello.resumed)
        elseif i % 23 == 0 then c:stall(0.5) end
      end
      if i == 100 then assert.is_true(t:reload(kit.source(APP .. "-- again"))) end
      if i % 7 == 0 then t:advance(1) end
    end
    t:advance(2)
    for name in pairs(streams) do
      collect(name)
      assert.same(plain, got[name], name)
    end
  end)

  local function stats()
    return t:wait(1, t.place:run("stats", function() return t.place.runtime.generation.app:stats() end))[2]
  end

  it("is compressed once for all who stand at the same place", function()
    local list = {}
    for i = 1, 40 do list[i] = t:connect("/auto", { compress = i % 2 == 0 and "gzip" or "zstd" }) end
    local before = stats()
    for i = 1, 20 do
      t:publish("log", "e", { n = i, text = ("abc "):rep(50) })
      t:settle()
    end
    local after = stats()
    for _, c in ipairs(list) do assert.equal(20, c:count("e")) end
    assert.equal(2 * 20, after.compressions - before.compressions)
    local from, to = after.compressed_from - before.compressed_from, after.compressed_to - before.compressed_to
    assert.equal(after.delivered_bytes - before.delivered_bytes, from)
    assert.is_true(from > 40 * 20 * 200 and to > 40 * 20 * 40 and to < 0.7 * from, ("%d to %d"):format(from, to))
  end)

  it("is compressed once a batch, whenever those who follow it came", function()
    local list = {}
    for i = 1, 20 do
      list[i] = t:connect("/ticks", { compress = i % 2 == 0 and "gzip" or "zstd" })
      t:advance(0.013)
    end
    local before = stats().compressions
    for _ = 1, 10 do
      t:publish("ticks", "tick", { text = ("abc "):rep(50) })
      t:advance(0.1)
    end
    for _, c in ipairs(list) do assert.equal(10, c:count("tick")) end
    assert.equal(2 * 10, stats().compressions - before)
  end)

  it("that opens before its plan is there is plain, and says that it varies", function()
    local c = t:connect("/late", { compress = "auto" })
    assert.is_nil(c.headers["content-encoding"])
    assert.equal("Accept-Encoding", c.headers.vary)
    t:publish("log", "e", {})
    c:wait_for("e", 3)
  end)

  it("cannot be had from a function, which comes too late", function()
    local ok, problem = pcall(t.connect, t, "/wrong", { compress = "gzip" })
    assert.is_false(ok)
    local wanted = 'compress is said before a request comes: app:stream("/wrong", { compress = "gzip" }, fn)'
    assert.truthy(problem:find(wanted, 1, true), problem)
  end)

  it("is named by the line of a reload", function()
    local changed = APP:gsub('"/zstd", { compress = "zstd" }', '"/zstd", { compress = "auto" }')
    assert.is_true(t:reload(kit.source(changed)))
    assert.equal("zstd", (coding(t, "/zstd", "zstd")))
    assert.equal("gzip", (coding(t, "/zstd", "gzip")))
    local line = table.concat(t:log("info"), "\n")
    assert.truthy(line:find("~stream:/zstd", 1, true), line)
  end)

  it("is asked for by a word that there is", function()
    assert.error_matches(function() t:connect("/auto", { compress = "gzp" }) end, "did you mean 'gzip'")
  end)
end)
