--- Decoders that others wrote read compressed streams: Python's zlib, curl, undici, Chromium, and Firefox where
--- it is installed. All get the events of the plain stream, over three channels, cuts, stalls and a reload.
--- $SLUICE_SPEC_FULL=1 sends ten thousand.
local browser = require("spec.support.browser")
local clients = require("spec.support.clients")
local deadline = require("spec.support.deadline")
local eventstream = require("sluice.eventstream")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local reloads = require("spec.support.reloads")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local EVENTS = FULL and 10000 or 600
local STEP = EVENTS // 20

local APP = [[
for _, name in ipairs { "a", "b" } do app:channel(name, { history = 20000, rewind = "all" }) end
app:channel("c", { history = 20000, rewind = "all", batch = 0.05 })
app:cors("/**", { origins = { "*" } })
app:stream("/plain", { channels = { "a", "b", "c" } })
app:stream("/packed", { channels = { "a", "b", "c" }, compress = "auto" })
app:get("/page", function() return 200, "<title>t</title>", { ["Content-Type"] = "text/html" } end)
app:post("/go", function(req)
  local o = req:json()
  for n = o.first, o.last do
    local channel = n % 5 == 0 and "c" or n % 3 == 0 and "b" or "a"
    assert(app:publish(channel, "e", { n = n, pad = ("pad "):rep(n % 60), word = "w" .. n * 7919 % 1000 }))
  end
  return 204
end)
app:get("/firefox", function() return 200, [==[<script type="module">
const seen = [], source = new EventSource("/packed");
source.addEventListener("e", (e) => {
  seen.push(JSON.parse(e.data).n);
  if (seen.length === LAST) fetch("/saw", { method: "POST", body: JSON.stringify(seen) });
});
</script>]==], { ["Content-Type"] = "text/html" } end)
local saw = app:state("saw", {})
app:post("/saw", function(req) saw().list = req.body return 204 end)
app:get("/saw", function() return saw().list or "[]" end)
app:get("/stats", function() return app:stats() end)
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)]]

local function numbers(first, last)
  local list = {}
  for n = first, last do list[#list + 1] = n end
  return list
end

-- What curl prints of it from an id on, until it is ended after so many bytes: events, the last id.
local function curl_some(s, coding, id, bytes)
  local pid = os.tmpname()
  local _, text = process.run(("{ curl -sN --compressed --max-time 60 -H 'Accept-Encoding: %s' "
    .. "-H 'Last-Event-ID: %s' %s/packed & echo $! >%s; wait; } | { head -c %d; kill $(cat %s); }"):format(coding,
    id, s.url, pid, bytes, pid))
  os.remove(pid)
  local parser, list = eventstream.new(), {}
  for _, e in ipairs((parser:feed(text))) do
    assert.not_equal("reset", e.event)
    if e.event == "e" then list[#list + 1] = json.decode(e.data).n end
  end
  return list, parser.last_id
end

local function has_firefox() return process.run("command -v firefox-esr") == 0 end

local function start()
  return live.start((APP:gsub("LAST", EVENTS)), { args = { "--admin-key", reloads.KEY, "--max-body", 1000000 } })
end

-- All events, with two cuts and a reload among them; where there is time, all are back for the second.
local function publish_all(s, clients_open)
  for n = 1, EVENTS, STEP do
    if FULL and n == STEP * 13 + 1 then s.wait_clients(clients_open, 60) end
    assert.equal(204, s.post("/go", json.encode { first = n, last = n + STEP - 1 }).status)
    if n == STEP * 6 + 1 or n == STEP * 13 + 1 then s.post("/cut") end
    if n == STEP * 9 + 1 then
      local outcome = reloads.outcome(reloads.ask(s.port))
      assert.is_true(outcome.ok, json.encode(outcome))
    end
  end
end

-- A page of Firefox, which posts what it saw when all has come.
local function open_firefox(s)
  local folder = process.temp_dir()
  process.spawn({ "firefox-esr", "--headless", "--no-remote", "--profile", folder, s.url .. "/firefox" },
    { kind = "client", env = { HOME = folder, MOZ_CRASHREPORTER_DISABLE = "1" } })
  return folder
end

describe("a compressed stream", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)
  after_each(function()
    process.stop_all("client")
    live.stop_all()
  end)

  it("is read by decoders of others as the plain one is, live, stalled, cut, resumed and over a reload", function()
    local s = start()
    local folder = has_firefox() and open_firefox(s)
    finally(function()
      process.stop_all("client")
      if folder then process.remove_dir(folder) end
    end)
    local python = process.spawn({ "python3", "spec/support/inflate.py", s.port, "/packed", 7, EVENTS },
      { kind = "client" })
    local page = b.open(s.url .. "/page")
    local all = { clients.npm("undici", { s.url .. "/packed" }), clients.npm("undici", { s.url .. "/plain" }),
      clients.page(page, { s.url .. "/packed" }) }
    for _, c in ipairs(all) do c.all("hello", 20, function() return c.count(1, "message", "hello") == 1 end) end
    s.wait_clients(folder and 5 or 4, 60)
    publish_all(s, folder and 5 or 4)
    local wanted = numbers(1, EVENTS)
    for _, c in ipairs(all) do
      c.all("last event", 60, function() return #c.numbers(1) == EVENTS end)
      assert.same(wanted, c.numbers(1), c.name)
      assert.is_true(c.count(1, "message", "hello") > 1)
    end
    local said = deadline.eventually(function() return python:log():match("^([%d\n]*)cuts %d+\n") or
      python:log():find("%a") and error(python:log(), 0) end, 60, "Python has read all")
    assert.equal(table.concat(wanted, "\n") .. "\n", said)
    local stats = json.decode(s.get("/stats").body)
    assert.is_true(stats.compressed_to < 0.6 * stats.compressed_from, json.encode(stats))
    if not folder then pending("Firefox is not installed; all others have read the same") return end
    assert.same(wanted, deadline.eventually(function()
      local list = json.decode(s.get("/saw").body)
      return #list > 0 and list
    end, 90, "Firefox has read all"))
  end)

  it("is read by curl from any byte on where it was cut", function()
    local s = start()
    s.post("/go", json.encode { first = 1, last = EVENTS })
    for _, coding in ipairs { "gzip", "zstd" } do
      local got, id, seed = {}, "", 0
      while #got < EVENTS * 0.9 do
        seed = seed + 1
        local list -- never more than is left: it would wait
        local cut = math.min(700 + seed * 7919 % (EVENTS * 50), (EVENTS - #got) * 60)
        list, id = curl_some(s, coding, id, cut)
        table.move(list, 1, #list, #got + 1, got)
      end
      assert.same(numbers(1, #got), got, coding)
      assert.is_true(seed > 2)
    end
  end)
end)
