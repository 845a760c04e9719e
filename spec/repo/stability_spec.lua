--- doc/stability.md is the list of names that stay: each of its tables is what the code has, no
--- more and no less.
local codes = require("sluice.base.codes")
local config = require("sluice.live.config")
local core = require("sluice.core")
local http = require("spec.support.http")
local json = require("sluice.json")
local kit = require("spec.support.kit")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")
local tree = require("spec.support.tree")

local doc = markdown.read("doc/stability.md")
local meta = tree.meta()

local APP = [[
app:channel("log", { history = 5 })
app:channel("state", { history = "latest", max_rate = 2 })
app:stream("/s", function() return { channels = { "log", "state" } } end)
app:stream("/refused", function() sluice.sleep(3) return 403 end)
app:get("/stop", function() for c in app:clients() do c:stop() end end)
app:get("/stats", function()
  local client = {}
  for c in app:clients() do client = c:stats() end
  return { app = app:stats(), channel = app:stats("log"), client = client }
end)]]

local function sorted(list)
  table.sort(list)
  return list
end

local function keys_of(t)
  local list = {}
  for name in pairs(t) do list[#list + 1] = name end
  return sorted(list)
end

-- Rows of a table as { [first cell's code] = { names of the second } }.
local function listed(head)
  local rows = {}
  for _, row in ipairs(doc.table(head)) do
    local name = markdown.code(row[1])[1] or row[1]
    assert(not rows[name], name .. " is listed twice")
    rows[name] = sorted(markdown.code(row[2]))
  end
  return rows
end

local function words(text)
  local list = {}
  for word in text:gmatch("[%w_]+") do list[#list + 1] = word end
  return sorted(list)
end

describe("what is stable", function()
  after_each(function()
    kit.stop_all()
    process.stop_all()
  end)

  it("are the functions of meta/", function()
    local known = {}
    for owner, name in meta:gmatch("\nfunction ([%w.]+)[:.]([%w_]+)%(") do
      known[owner] = known[owner] or {}
      table.insert(known[owner], name)
    end
    for _, names in pairs(known) do table.sort(names) end
    assert.same(known, listed("owner"))
  end)

  it("are the options and fields of meta/", function()
    local known, class = {}, nil
    for line in meta:gmatch("[^\n]*") do
      class = line:match("^%-%-%-@class ([%w.]+)") or line:find("^%-%-%-@field") and class or nil
      local field = line:match("^%-%-%-@field ([%w_]+)")
      if field then
        known[class] = known[class] or {}
        table.insert(known[class], field)
      end
    end
    for _, names in pairs(known) do table.sort(names) end
    assert.same(known, listed("class"))
  end)

  it("are the hooks and the kinds", function()
    local rows = listed("kind")
    local generation = require("sluice.live.generation")
    local function known(line)
      local _, problem = generation.load(1, "app.lua", kit.source(line))
      return words(problem.message:match("%(known: (.-)%)") or problem.message)
    end
    assert.same(known('app:on("no", print)'), rows["app:on"])
    local channels = {}
    for name in meta:match('%-%-%-@field kind ("[^\n]+)'):gmatch('"(%l+)"') do channels[#channels + 1] = name end
    assert.same(sorted(channels), rows["app:stats"])
    local kinds = meta:match("kinds: ([%l ]+),")
    assert.same(words(kinds), rows["kinds of a shape"])
  end)

  it("are the error codes", function()
    local rows = listed("from")
    assert.same(keys_of(codes.STATUS), rows["the API"])
    assert.same({ "ECLOSED" }, rows["Lua only"])
    local own = {}
    for _, path in ipairs(tree.files("^csrc/[sn]e[^/]*/.*%.[ch]$")) do -- serve and net
      for code in tree.read(path):gmatch('"(E%u%u+)"') do own[code] = not codes.STATUS[code] or nil end
    end
    assert.same(keys_of(own), rows["the server, before the app is asked"])
  end)

  it("are the words of reset and bye", function()
    local rows, bye, silent = listed("reasons of"), {}, {}
    for word, row in pairs(core.reasons.bye) do table.insert(row.has_bye and bye or silent, word) end
    assert.same({ keys_of(core.reasons.reset), sorted(bye), sorted(silent) },
      { rows.reset, rows.bye, rows.disconnect })
  end)

  it("are the fields of control events, and the form of an id", function()
    local rows, t = listed("control event"), kit.start(APP)
    local function data_of(c, name) return c:wait_for(name).data end
    local lost = t:connect("/s", { last_event_id = "unknown" })
    assert.same(rows.reset, keys_of(data_of(lost, "reset")))
    local c = t:connect("/s")
    assert.same(rows.hello, keys_of(c.hello))
    t:publish("log", "e", {})
    assert.matches("^[%l%d]+%-%d+$", c:wait_for("e").id)
    local refused = data_of(t:connect("/refused"), "bye")
    assert.same(rows.bye, keys_of(refused))
    t:get("/stop")
    local bye = c:wait_for("bye")
    assert.same({ "stop", "stop" }, { bye.data.reason, bye.id })
    assert.equal(204, t:connect("/s", { last_event_id = "stop" }).status)
    assert.same({}, rows.sync)
    assert.same({ "bye", "hello", "reset", "sync" }, keys_of(rows))
  end)

  it("are the commands, their flags and exit codes", function()
    local command = process.quote(require("lfs").currentdir() .. "/build/bin/sluice")
    local function run(arguments)
      local code, output = process.run(command .. " " .. arguments)
      return output, code
    end
    local commands, rows = {}, listed("command")
    local function add(help, before)
      for name in (help:match("Commands:\n(.*)") .. "\n\n"):match("^(.-)\n\n"):gmatch("\n?   ([%l-]+) ") do
        commands[#commands + 1] = before .. name
      end
    end
    add(run("help"), "")
    add(run("store --help"), "store ")
    assert.same(sorted(commands), keys_of(rows))
    for name, flags in pairs(rows) do
      local known = {}
      if name ~= "help" then
        for flag in run(name .. " --help"):gmatch("\n   %-?h?,? ?(%-%-[%l%d-]+)") do known[#known + 1] = flag end
      end
      assert.same(sorted(known), flags, name)
    end
    assert.equal(#config.SETTINGS + 2, #rows.run)
    local folder = process.temp_dir()
    process.write_file(folder .. "/app.lua", kit.source('app:on("subscribe", "nothing/here", print)'))
    process.write_file(folder .. "/broken.lua", "a mistake")
    local output, code = run("check " .. folder .. "/app.lua")
    assert.same({ 0, true }, { code, output:find("warnings\n", 1, true) ~= nil }, output)
    assert.equal(1, (select(2, run("check " .. folder .. "/broken.lua"))))
    assert.equal(1, (select(2, run("run --port 0 " .. folder .. "/broken.lua"))))
    assert.equal(1, (select(2, run("store verify --data " .. folder))))
    assert.equal(1, (select(2, run("reload --socket " .. folder .. "/no.sock"))))
    assert.equal(2, (select(2, run("run --no-such-flag"))))
    process.remove_dir(folder)
  end)

  it("are the figures", function()
    local t = kit.start(APP)
    t:connect("/s")
    t:publish("log", "e", {})
    t:advance(1)
    local figures, rows = t:get("/stats").json, listed("figures of")
    -- not there yet, or no longer: what has not happened has no figure
    figures.client.channel = figures.client.channel or ""
    figures.app.reload_seconds = figures.app.reload_seconds or 0
    figures.app.reloads_total = figures.app.reloads_total or {}
    assert.same(rows["app:stats()"], keys_of(figures.app))
    assert.same(rows["app:stats(channel)"], keys_of(figures.channel))
    assert.same(rows["client:stats()"], keys_of(figures.client))
  end)

  it("is the schema of the store", function()
    local rows, tables = listed("store"), {}
    local header, scripts = tree.read("csrc/store/schema.h"), tree.read("csrc/store/schema.c")
    for name in scripts:gmatch("CREATE TABLE (%l+)") do tables[#tables + 1] = name end
    assert.same(sorted(tables), rows.tables)
    assert.same({ header:match("SCHEMA_APPLICATION (%w+)") }, rows["application id"])
    assert.same({ header:match("SCHEMA_VERSION (%d+)") }, rows["schema version"])
  end)

  it("are the fields of the log", function()
    local s = server.start { app = kit.source(APP) }
    local c = sse.connect(s.port, "/s")
    assert.equal(204, http.get(s.port, "/stop").status)
    assert(c:wait_for("bye"))
    c:close()
    s.wait_log('"stream ended"')
    local rows, seen = listed("log line"), 0
    for line in s.log():gmatch("[^\n]+") do
      local fields = json.decode(line)
      local row = rows[fields.message]
      if row then
        seen = seen + 1
        fields.message, fields.time, fields.level = nil, nil, nil
        assert.same(row, keys_of(fields), line)
      end
    end
    assert.is_true(seen >= 3, s.log())
  end)
end)
