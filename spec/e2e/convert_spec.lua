--- What is durable changes on a real server, while many publish and read: nothing is lost, doubled
--- or reordered by it, and a kill -9 at any time around it loses nothing that was answered.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local reloads = require("spec.support.reloads")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local rules = require("rules")
app:channel("log", rules.log)
app:channel("kept", rules.kept)
app:channel("memory", { history = 100000 })
app:stream("/log", "log")
app:stream("/kept", "kept")
app:stream("/memory", "memory")
-- Some wait, some do not; and an event in memory beside each.
app:post("/burst/:first", function(req)
  local done = {}
  for i = 0, 31 do
    local n = tonumber(req.params.first) + i
    app:spawn(function()
      local id, message = app:publish("log", "e", { n = n, k = "k" .. n % 5 })
      local kept = app:publish("kept", "e", { n = n, k = "k" .. n % 5 })
      done[#done + 1] = { n = n, id = id, kept = kept, message = message }
    end)
    app:publish("memory", "e", { n = n })
  end
  while #done < 32 do sluice.sleep(0.001) end
  return done
end)
return app
]]

local LOG = 'history = 100000, key = "k"'
local KEPT = { "return { kept = { " .. LOG .. ", durable = true }, log = { " .. LOG .. "%s } }",
  "return { kept = { " .. LOG .. ', durable = true, rewind = "latest" }, log = { ' .. LOG .. "%s } }" }
local MEMORY, DURABLE, KEYED = "", ", durable = true", ', durable = true, rewind = "latest"'

local function rules(of_log, of_kept) return KEPT[of_kept or 1]:format(of_log) end

local JSON = { ["Content-Type"] = "application/json" }

describe("what is durable", function()
  local folder
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    server.stop_all()
    process.remove_dir(folder)
  end)

  local function start(text)
    return server.start { app = APP, files = { ["rules.lua"] = text },
      args = { "--data", folder .. "/data", "--drain", "0.1", "--admin-key", reloads.KEY } }
  end
  local function burst(s, n) return json.decode(http.post(s.port, "/burst/" .. n, "{}", JSON).body) end
  local function reload(s, text)
    reloads.write(s.folder, { ["rules.lua"] = text })
    return (reloads.now(s.port))
  end

  --- All events of a stream up to the last of a list of numbers: each once, in the order of ids.
  local function read(c, rows, field)
    local got, last, missing, left = {}, 0, {}, deadline.after(20)
    for _, row in ipairs(rows) do missing[row.n] = row[field] end
    while next(missing) do
      local event = assert(c:next_event(left()))
      assert.are_not.equal("reset", event.event, event.data)
      if event.event == "e" then
        local seq, n = math.tointeger(tonumber(event.id:match("%-(%d+)$"))), json.decode(event.data).n
        assert.is_true(seq > last, "numbers rise")
        assert.is_nil(got[n])
        if missing[n] then assert.equal(missing[n], event.id) end
        got[n], last, missing[n] = true, seq, nil
      end
    end
  end

  it("changes under open streams and publishers, and loses nothing", function()
    local s = start(rules(MEMORY))
    local log, memory = sse.connect(s.port, "/log"), sse.connect(s.port, "/memory")
    log:wait_for("hello")
    memory:wait_for("hello")
    local known, n = {}, 0
    local function publish()
      for _, row in ipairs(burst(s, n)) do
        assert.is_string(row.id, row.message)
        known[#known + 1] = row
      end
      n = n + 32
    end
    for _, text in ipairs { DURABLE, MEMORY, DURABLE, KEYED, DURABLE, MEMORY, KEYED } do
      reloads.write(s.folder, { ["rules.lua"] = rules(text) })
      local asked = reloads.ask(s.port) -- answered while others publish
      for _ = 1, 3 do publish() end
      assert.is_true(reloads.outcome(asked).ok)
    end
    read(log, known, "id")
    local first = known[1].id:match("^%w+%-") .. "0"
    publish()
    s.kill()
    s = start(rules(KEYED))
    local back = sse.connect(s.port, "/log", { last_event_id = known[#known - 32].id })
    read(back, table.move(known, #known - 31, #known, 1, {}), "id")
    local kept = sse.connect(s.port, "/kept", { last_event_id = first })
    read(kept, known, "kept")
  end)

  it("is whole when the process is killed while it changes", function()
    local known, n, kind, first = {}, 0, 1, nil
    for round = 1, 6 do
      local s = start(rules(round % 2 == 0 and DURABLE or MEMORY, kind))
      for _, row in ipairs(burst(s, n)) do known[#known + 1] = row end
      n = n + 32
      first = first or known[1].id:match("^%w+%-") .. "0"
      kind = 3 - kind
      reloads.write(s.folder, { ["rules.lua"] = rules(round % 3 == 0 and MEMORY or KEYED, kind) })
      local asked = reloads.ask(s.port)
      if round % 2 == 0 then reloads.outcome(asked) end
      s.kill()
    end
    local s = start(rules(MEMORY, kind))
    read(sse.connect(s.port, "/kept", { last_event_id = first }), known, "kept")
  end)

  it("is compared with another app by what is stored", function()
    local s = start(rules(DURABLE))
    burst(s, 0)
    local path = "/-/reload"
    local key = { Authorization = "Bearer " .. reloads.KEY }
    assert.is_nil(json.decode(http.get(s.port, path, key).body).stored)
    local stored = json.decode(http.get(s.port, path .. "?stored=1", key).body).stored
    table.sort(stored, function(a, b) return a.channel < b.channel end)
    assert.same({ { channel = "kept", kind = "log", events = 32, values = 0, more = false },
      { channel = "log", kind = "log", events = 32, values = 0, more = false } }, stored)
  end)

  it("is refused by a folder that another process has, and the server goes on", function()
    local s = start(rules(MEMORY):gsub(", durable = true", ""))
    local other = start(rules(MEMORY))
    local outcome = reload(s, rules(DURABLE))
    assert.is_false(outcome.ok)
    assert.matches("another process", outcome.message)
    assert.equal(32, #burst(s, 0))
    assert.equal(0, other.stop())
    assert.matches("holds another store", reload(s, rules(DURABLE)).message)
  end)
end)
