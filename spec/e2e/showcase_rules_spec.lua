--- A rule of the showcase that is changed while a page follows it: in a copy of the examples, saved as an editor does,
--- noticed by the watcher. Nothing reconnects, the new rule judges, and what is said of the code is true again.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local PATH = "/api/showcase?match=7&device=boiler&document=welcome"

describe("a rule of the showcase", function()
  local folder, s

  before_each(function()
    folder = process.temp_dir()
    assert.equal(0, (process.run({ "sh", "-c", "mkdir \"$0/examples\"; for d in examples/*; do case $d in *react) ;; "
      .. "*) cp -a \"$d\" \"$0/examples\" ;; esac; done", folder })))
    s = server.start { path = folder .. "/examples/showcase/app.lua", args = { "--demo" }, watch = true }
  end)
  after_each(function()
    process.stop_all()
    process.remove_dir(folder)
  end)

  -- Changes a file of the showcase's folder; raises when there is nothing to change.
  local function change(name, old, new)
    local path = folder .. "/examples/showcase/" .. name
    local text, n = process.read_file(path):gsub(old, new, 1)
    assert.equal(1, n, name)
    process.write_file(path, text)
  end

  local function rule_of(name)
    for _, info in ipairs(json.decode(http.get(s.port, "/api/event-types").body)) do
      if info.name == name then return info.rule end
    end
  end

  -- Data of the next event of a name that a function accepts.
  local function next_of(c, name, accepts)
    local from = deadline.now()
    while deadline.since(from) < 20 * deadline.scale do
      local data = json.decode(assert(c:wait_for(name, 20)).data)
      if accepts(data) then return data end
    end
    deadline.give_up("no such " .. name)
  end

  it("is changed under a page that stays connected", function()
    local c = sse.connect(s.port, PATH)
    assert(c:wait_for("hello"))
    local before = tonumber(rule_of("match-event"):match("^examples/showcase/games%.lua:(%d+)$"))
    next_of(c, "alert", function(alert) return alert.rule == "warm" end)
    change("rules.lua", '"boiler", 72%).-70%)', '"boiler", 200), clear = of("boiler", 190)')
    change("games.lua", "^", "-- one more line\n")
    next_of(c, "reload", function(report)
      assert.is_true(report.ok, report.message)
      assert.equal(1, report.connections)
      return true
    end)
    deadline.eventually(function()
      return rule_of("match-event") == ("examples/showcase/games.lua:%d"):format(before + 1)
    end, 10, "the rule's place is one line further")
    next_of(c, "alert-cleared", function(alert) return alert.rule == "warm" end)
    change("rules.lua", '"boiler", 200%).-190%)', '"boiler", 10), clear = of("boiler", 5)')
    change("rules.lua", "The boiler is warm", "The kettle sings")
    next_of(c, "alert", function(alert) return alert.message:find("^The kettle sings: %d+%.%d °C$") end)

    change("rules.lua", "return {", "return {{")
    local broken = next_of(c, "reload", function(report) return not report.ok end)
    assert.matches("rules.lua:%d+: ", broken.message)
    assert(c:wait_for("telemetry"))
    assert.equal(1, select(2, s.log():gsub('"path":"/api/showcase"', "")))
    assert.is_nil(s.log():find("stream ended", 1, true))
    c:close()
  end)
end)
