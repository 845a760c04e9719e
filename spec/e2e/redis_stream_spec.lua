--- redis.stream on a real server beside a real redis-server: both are killed again and again, the stream is
--- trimmed, made anew, of another type; the app is reloaded. Entries carry numbers, and the judge wants each once.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local server = require("spec.support.server")
local sse = require("spec.support.sse")
local tls = require("spec.support.tls")

local APP = [[
local sluice = require("sluice")
local redis = require("sluice.redis")
local app = sluice.app()
app:channel("orders", { durable = true, history = 10000 })
local gaps = app:state("gaps", {})
local source = redis.stream(app, sluice.env("REDIS"), "orders", { OPTIONS
  gap = function(gap) table.insert(gaps(), gap) end,
  map = function(entry)
    if entry.fields.n == "poison" then error("a poisoned entry") end
    if entry.fields.n == "none" then return nil end
    return entry.fields.to or "orders", "order", { n = tonumber(entry.fields.n) }
  end })
app:stream("/orders", { channels = { { "orders", rewind = 10000 } } })
app:get("/all", function()
  local list = sluice.json.array()
  for i, e in ipairs(app:history("orders", { limit = 10000 })) do list[i] = e.data.n end
  return { all = list, gaps = sluice.json.array(gaps()), stats = source:stats() }
end)
return app
]]
local FULL = os.getenv("SLUICE_SPEC_FULL") ~= nil
local ROUNDS = FULL and 12 or 2

local folder, r, s, written, cluster

local function start(options, url)
  s = server.start { app = (APP:gsub("OPTIONS", options or 'start = "begin",')),
    args = { "--data", folder .. "/data", "--drain", "0.1" }, env = { REDIS = url or "unix://" .. r.path } }
  return s
end

local function add(n, ...)
  for _ = 1, n or 1 do
    written = written + 1
    assert(type(r:call("XADD", "orders", "*", "n", tostring(written), ...)) == "string")
  end
end

local function look() return json.decode(http.request(s.port, "GET", "/all", nil, nil, 30).body) end

-- Every number from `first` on is there once, in order; but those that are left out.
local function judge(all, first, last, out)
  local seen = {}
  for i, n in ipairs(all) do
    assert.falsy(seen[n], ("number %s came twice"):format(n))
    assert.is_true(i == 1 or n > all[i - 1], ("number %s came late"):format(n))
    seen[n] = true
  end
  for n = first, last do
    if not (out and out[n]) then assert.is_true(seen[n], ("number %d is missing"):format(n)) end
  end
end

local function await(first, last, out)
  local all
  deadline.eventually(function()
    all = look().all
    return all[#all] and all[#all] >= last
  end, 30, "number " .. last)
  judge(all, first, last, out)
  return all
end

--- All of them, from the disk: memory has the newest 1,024.
local function read_all(last)
  deadline.eventually(function()
    local newest = look().all
    return newest[#newest] == last
  end, 30, "number " .. last)
  local c, all = sse.connect(s.port, "/orders"), {}
  for i = 1, last do all[i] = json.decode(assert(c:wait_for("order", 20)).data).n end
  c:close()
  judge(all, 1, last)
end

describe("a stream of Redis as a source", function()
  if not redis.installed() then pending("no redis-server; .ci/setup test brings it") return end
  if not require("sluice.core").build().libraries.hiredis then pending("built without hiredis") return end

  before_each(function()
    folder, written = process.temp_dir(), 0
    r = redis.start { config = { appendonly = "yes", appendfsync = "always" }, tcp = true }
  end)
  after_each(function()
    if cluster then cluster:stop() end
    cluster = nil
    server.stop_all()
    r:stop()
    process.remove_dir(folder)
  end)

  it("publishes each entry once, though both are killed again and again", function()
    start()
    for round = 1, ROUNDS do
      add(200)
      deadline.eventually(function() return (look().all[1] or 0) > 0 end, 10)
      if round % 2 == 0 then r:kill() else s.kill() end
      if round % 2 == 0 then r:again() else start() end
      add(20)
    end
    read_all(written)
    assert.equal(0, s.stop())
    add(3)
    start()
    read_all(written)
    assert.same({}, look().gaps)
  end)

  it("begins at the end, and goes on over reloads without a loss", function()
    add(5)
    start("")
    deadline.eventually(function() return look().stats.connected end, 10)
    for _ = 1, 3 do
      add(10)
      s.signal("HUP")
      add(10)
    end
    await(6, written)
    assert.same({}, look().gaps)
  end)

  it("says how many entries were trimmed before they were read, and misses no other", function()
    start()
    add(3)
    await(1, 3)
    local third = r:call("XREVRANGE", "orders", "+", "-", "COUNT", "1")[1][1]
    deadline.eventually(function() return look().stats.cursor == third end, 10, "the cursor is stored")
    s.kill()
    add(10)
    r:call("XTRIM", "orders", "MAXLEN", "4")
    start()
    await(1, 13, { [4] = true, [5] = true, [6] = true, [7] = true, [8] = true, [9] = true })
    assert.equal(6, look().gaps[1].lost)
    s.wait_log("6 entries were lost")
    s.kill()
    r:call("XTRIM", "orders", "MAXLEN", "0") -- nothing that was not read
    add(2)
    start()
    judge(await(10, 15), 10, 15)
    r:call("XDEL", "orders", r:call("XREVRANGE", "orders", "+", "-", "COUNT", "1")[1][1])
    add(2)
    await(10, 17)
    assert.same({}, look().gaps) -- of this process
  end)

  it("tells of a stream that is gone, and reads the one that comes", function()
    start()
    add(3)
    await(1, 3)
    r:call("DEL", "orders")
    s.wait_log("the stream is gone")
    add(4)
    await(1, 7)
    if not FULL then return end
    s.kill()
    r:call("DEL", "orders")
    r:call("XADD", "orders", "1-1", "n", "8")
    r:call("XADD", "orders", "1-2", "n", "9")
    written = 9
    start()
    await(1, 9)
    r:call("DEL", "orders")
    s.wait_log("the stream is gone")
    r:call("XADD", "orders", "1-1", "n", "10")
    await(1, 10)
  end)

  it("reads the last hour again when Redis has lost what it had last", function()
    start()
    add(5)
    await(1, 5)
    local last = r:call("XREVRANGE", "orders", "+", "-", "COUNT", "1")[1][1]
    s.kill()
    r:call("XDEL", "orders", last)
    r:call("XSETID", "orders", r:call("XREVRANGE", "orders", "+", "-", "COUNT", "1")[1][1])
    local ms = math.tointeger(tonumber(last:match("^%d+")))
    r:kill()
    r:again()
    r:call("XSETID", "orders", "0-1") -- a copy that stands before what was read
    local all = r:call("XRANGE", "orders", "-", "+")
    assert.equal(4, #all)
    written = 5
    r:call("XADD", "orders", ("%d-9"):format(ms + 1), "n", "6")
    start()
    assert.same({ 1, 2, 3, 4, 5, 6 }, await(1, 6))
  end)

  it("waits for a key of another type, for a password, and for a server that is away", function()
    r:call("SET", "orders", "text")
    start()
    s.wait_log("cannot go on, tries again: WRONGTYPE", 10)
    r:call("DEL", "orders")
    add(2)
    await(1, 2)
    r:call("CONFIG", "SET", "requirepass", "s3cret")
    s.kill()
    start()
    s.wait_log("NOAUTH", 10)
    s.kill()
    start(nil, "redis://:wrong@127.0.0.1:" .. r.port)
    s.wait_log("WRONGPASS", 10)
    assert.falsy(s.log():find("wrong@", 1, true))
    s.kill()
    add(2)
    start('start = "begin", password = "s3cret",', "redis://127.0.0.1:" .. r.port)
    await(1, 4)
    r:kill()
    s.wait_log("cannot go on", 10)
    r.config.requirepass = "s3cret"
    r:again()
    s.wait_log("goes on", 20)
  end)

  if FULL then it("stops at an entry that can be no event, and goes on when the app is mended", function()
    start()
    add(2)
    r:call("XADD", "orders", "*", "n", "none")
    r:call("XADD", "orders", "*", "n", "poison")
    add(2)
    s.wait_log("a poisoned entry", 10)
    assert.same({ 1, 2 }, await(1, 2))
    process.write_file(s.folder .. "/app.lua", (APP:gsub("OPTIONS", 'start = "begin",')
      :gsub('error%("a poisoned entry"%)', "return nil")))
    s.signal("HUP")
    assert.same({ 1, 2, 3, 4 }, await(1, 4))
  end) end

  if FULL then it("leaves out what can be no event when it is told to", function()
    start('start = "begin", errors = "skip",')
    add(1)
    r:call("XADD", "orders", "*", "n", "poison")
    add(1, "to", "no//name")
    add(1)
    assert.same({ 1, 3 }, await(1, 3, { [2] = true }))
    assert.equal(2, look().stats.left_out)
  end) end

  it("does with XRANGE, XREVRANGE and XREAD alone", function()
    r:call("ACL", "SETUSER", "reader", "on", ">s3cret", "~orders", "+xrange", "+xrevrange", "+xread")
    start(nil, "redis://reader:s3cret@127.0.0.1:" .. r.port)
    add(3, "junk", "\xff\0\n")
    await(1, 3)
    r:call("XDEL", "orders", r:call("XREVRANGE", "orders", "+", "-", "COUNT", "1")[1][1])
    add(2)
    await(1, 5)
    assert.same({}, look().gaps)
    s.kill()
    add(5)
    r:call("XTRIM", "orders", "MAXLEN", "2")
    start(nil, "redis://reader:s3cret@127.0.0.1:" .. r.port)
    await(1, 10, { [6] = true, [7] = true, [8] = true })
    assert.is_nil(look().gaps[1].lost)
  end)

  it("speaks TLS, and says which file is of no use", function()
    local there = tls.files()
    r:kill()
    r:speak_tls(there)
    r:again()
    local url = "rediss://localhost:" .. r.tls_port
    start('start = "begin", tls = { ca = "/nowhere.pem" },', url)
    s.wait_log("cannot go on.-/nowhere.pem", 10)
    s.kill()
    start(('start = "begin", tls = { ca = %q },'):format(there.ca), url)
    add(2)
    await(1, 2)
  end)

  -- The lead is free again after five seconds.
  if FULL then it("goes on at another node of a cluster when the one that leads dies", function()
    local text = APP:gsub("OPTIONS", 'start = "begin",'):gsub("durable = true, ", "")
    process.write_file(folder .. "/app.lua", (text:gsub('sluice.env%("REDIS"%)', ("%q"):format("unix://" .. r.path))))
    cluster = nodes.start { n = 2, path = folder .. "/app.lua" }
    cluster:wait_live()
    s = cluster[1]
    add(50)
    await(1, 50)
    local leads = look().stats.connected and 1 or 2
    s = cluster[3 - leads]
    add(50)
    cluster[leads].kill()
    add(50)
    await(1, 150)
  end) end

  it("has one connection, whoever watches", function()
    start()
    local before
    deadline.eventually(function()
      before = select(2, r:call("CLIENT", "LIST"):gsub("name=sluice%-orders", ""))
      return before == 1
    end, 10)
    for _ = 1, 20 do look() end
    assert.equal(1, select(2, r:call("CLIENT", "LIST"):gsub("name=sluice%-orders", "")))
  end)
end)
