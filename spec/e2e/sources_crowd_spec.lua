--- 10,000 viewers of what one source reads by one connection: the readers of `sluice bench`, in a process of its own,
--- count what each of them got, while Redis restarts; then Sluice restarts, and viewers that come back as browsers do
--- have each entry once.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

if not os.getenv("SLUICE_SPEC_FULL") then
  describe("many viewers of one source", function() pending("the full size alone: half a minute") end)
  return
end

local MARGIN = 200 -- descriptors that a process needs besides
local BACK = 100   -- viewers that come back
local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("orders", { durable = true, history = 10000 })
local source
if sluice.env("KIND") == "redis" then
  source = require("sluice.redis").stream(app, sluice.env("URL"), "orders", { start = "begin", map = function(entry)
    return "orders", "order", { n = math.tointeger(tonumber(entry.fields.n)) }
  end })
else
  source = require("sluice.postgres").listen(app, sluice.env("URL"), { start = "begin" })
end
app:stream("/orders", "orders")
app:get("/source", function() return source:stats() end)
return app
]]

local upstream, folder, written

-- How many of 10,000 both processes may have.
local function viewers()
  local _, text = process.run("ulimit -Hn")
  return math.min(10000, (math.tointeger(tonumber(text)) or 1024) - MARGIN)
end

local function start(kind, url, port)
  return server.start { app = APP, port = port, tls = false, seconds = 30, args = { "--data", folder .. "/data" },
    env = { KIND = kind, URL = url, LD_LIBRARY_PATH = upstream.libraries } }
end

local function published(s) return json.decode(http.get(s.port, "/source").body).published end

local function bench(s, n)
  local p = process.spawn({ "build/bin/sluice", "bench", s.url .. "/orders", "-c", tostring(n), "-d", "12",
    "--json" }, {})
  deadline.eventually(function()
    return p:log():find("readers are there; measuring for", 1, true)
  end, 60, n .. " readers are there")
  return p
end

-- One that reads until it has the last entry, and comes back with its last id when it is cut.
local function follow(s, viewer)
  while not viewer.seen[written] do
    viewer.c = viewer.c or sse.connect(s.port, "/orders", { last_event_id = viewer.last })
    local e, why = viewer.c:next_event(10)
    viewer.last = viewer.c.last_id
    if e and e.event == "order" then
      local n = json.decode(e.data).n
      assert.falsy(viewer.seen[n], ("number %d came twice"):format(n))
      viewer.seen[n] = true
    elseif e then
      assert.not_equal("reset", e.event)
    else
      assert.not_equal("timeout", why)
      viewer.c = nil
    end
  end
end

local function play(kind, url, add, again, connections)
  local n = viewers()
  local s = start(kind, url)
  add(10)
  deadline.eventually(function() return published(s) == written end, 20)
  local list, first = {}, written + 1
  for i = 1, BACK do
    list[i] = { seen = {}, c = sse.connect(s.port, "/orders") }
    assert.equal("hello", list[i].c:next_event(10).event)
  end
  local p = bench(s, n - BACK)
  assert.equal(1, connections())
  for _ = 1, 5 do add(5) end
  again()
  for _ = 1, 5 do add(5) end
  assert.equal(0, p:wait(90), p:log())
  local found = json.decode(p:log():match("{.*"))
  assert.equal(n - BACK, found.open)
  assert.same({ 0, 0, 0 }, { found.lost, found.repeated, found.outOfOrder })
  assert.equal((n - BACK) * 50, found.events)
  assert.equal(1, connections())
  for _, viewer in ipairs(list) do follow(s, viewer) end
  s.kill()
  add(20)
  s = start(kind, url, s.port)
  add(20)
  for _, viewer in ipairs(list) do
    follow(s, viewer)
    for i = first, written do assert.is_true(viewer.seen[i], ("number %d is missing"):format(i)) end
  end
  assert.equal(1, connections())
end

describe("many viewers of one source", function()
  before_each(function() folder, written = process.temp_dir(), 0 end)
  after_each(function()
    server.stop_all()
    process.stop_all()
    if upstream then upstream:stop() end
    process.remove_dir(folder)
  end)

  if redis.installed() and require("sluice.core").build().libraries.hiredis then
    it("have each entry of Redis once, by one connection", function()
      upstream = redis.start { config = { appendonly = "yes", appendfsync = "always" } }
      play("redis", "unix://" .. upstream.path, function(n)
        for _ = 1, n do
          written = written + 1
          upstream:call("XADD", "orders", "*", "n", tostring(written))
        end
      end, function()
        upstream:kill()
        upstream:again()
      end, function()
        return select(2, upstream:call("CLIENT", "LIST"):gsub("name=sluice%-orders", ""))
      end)
    end)
  end

  if postgres.installed() then it("have each row of PostgreSQL once, by one connection", function()
    upstream = postgres.start()
    upstream:run(require("sluice.postgres").outbox_sql())
    play("postgres", upstream.url, function(n)
      local rows = {}
      for i = 1, n do
        written = written + 1
        rows[i] = ("('orders', 'order', '{\"n\": %d}')"):format(written)
      end
      upstream:run("INSERT INTO sluice_outbox (channel, event, data) VALUES " .. table.concat(rows, ","))
    end, function()
      upstream:kill()
      upstream:again()
    end, function()
      local text = upstream:run("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sluice-%'")
      return math.tointeger(tonumber(text))
    end)
  end) end
end)
