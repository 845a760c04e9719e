--- Explain names the true cause: things are planted in a server by a world that knows nothing of how causes are
--- found (spec/support/causes.lua), in an order of their own each time, and asked about when all have happened.
local causes = require("spec.support.causes")
local kit = require("spec.support.kit")
local tree = require("spec.support.tree")
local worlds = require("spec.support.worlds")

local KEY = ("k"):rep(40)

local function flags(more)
  local all = { admin_key = KEY }
  for name, value in pairs(causes.FLAGS) do all[name] = value end
  for name, value in pairs(more or {}) do all[name] = value end
  return { flags = all }
end

local function ask(t, what)
  local kind, id = next(what)
  local answer = t:get(("/-/explain?%s=%s"):format(kind, (id:gsub("[^%w/]", function(c)
    return ("%%%02X"):format(c:byte())
  end))), { headers = { Authorization = "Bearer " .. KEY } })
  assert.equal(200, answer.status, answer.body)
  return answer.json
end

--- What is wrong with an answer, or nil.
local function fault(case, answer)
  local first = answer.because[1]
  if first.cause ~= case.cause then return ("%s: %s"):format(first.cause, first.text) end
  if case.pattern and (first.rule or {}).pattern ~= case.pattern then return "the rule is another: " .. first.text end
  if case.option and first.rule.option ~= case.option then return "the option is another: " .. first.text end
  local line = first.rule and first.rule.where
  if case.where and not (line and line:find("^app.lua:%d+$")) then return "no line: " .. first.text end
  if case.says and not first.text:find(case.says, 1, true) then return "does not say so: " .. first.text end
end

--- All cases in an order that the seed draws; nil, or what was wrong.
local function play(seed)
  local function random(n)
    seed = (seed * 6364136223846793005 + 1442695040888963407) & math.maxinteger
    return (seed >> 20) % n + 1
  end
  local list, wrong, later = {}, {}, {}
  for _, case in ipairs(causes.LIST) do table.insert(list, random(#list + 1), case) end
  local t = kit.whole(causes.APP, flags())
  local function judge(case, answer)
    local text = fault(case, answer)
    if text then wrong[#wrong + 1] = ("%s (%s): %s"):format(case.name, case.cause, text) end
  end
  for _, case in ipairs(list) do
    local what = case.plant(t)
    if case.now then judge(case, ask(t, what)) else later[#later + 1] = { case, what } end
  end
  assert(t:reload(causes.RELOADED))
  t:advance(1)
  for _, one in ipairs(later) do
    local case, what = one[1], one[2]
    judge(case, ask(t, case.late and what() or what))
  end
  kit.stop_all()
  return wrong[1] and table.concat(wrong, "\n") or nil
end

--- The causes that the page lists.
local function documented()
  local list, section = {}, tree.read("doc/console.md"):match("\n## The causes\n(.-)\n## ")
  for names in section:gmatch("\n| (`[^|]+) |") do
    for name in names:gmatch("`([%w_]+)`") do list[name] = true end
  end
  return list
end

describe("explain", function()
  after_each(kit.stop_all)

  it("has no cause that the page does not list", function()
    local list = documented()
    for _, case in ipairs(causes.LIST) do assert.is_true(list[case.cause], case.cause) end
    local seen = 0
    for _, part in ipairs({ "client", "channel", "ends", "resets", "waits" }) do
      local text = tree.read(("lua/sluice/explain/%s.lua"):format(part))
      local judges = part == "ends" and 'return "([%w_]+)", ["(]' or "\nfunction JUDGES%.([%w_]+)"
      for _, form in ipairs({ '%f[%w]cause = "([%w_]+)"', judges }) do
        for word in text:gmatch(form) do
          seen = seen + 1
          if word ~= "denied" then assert.is_true(list[word], part .. ": " .. word) end -- shown as read
        end
      end
    end
    assert.is_true(seen > 40)
  end)

  it("names the true cause of what was planted, in any order", function()
    assert.is_true(#causes.LIST >= 20)
    worlds.hold(play, 2, 50)
  end)

  local function first(t, what) return ask(t, what).because[1] end

  it("names --memory when that took the history", function()
    local t = kit.start([[
      app:channel("big", { history = 1000 })
      app:stream("/big", "big")]], flags { memory = 1024 * 1024 })
    local id = t:publish("big", "e", { text = ("x"):rep(60000) })
    for _ = 1, 40 do t:publish("big", "e", { text = ("x"):rep(60000) }) end
    local one = first(t, { reset = t:connect("/big", { last_event_id = id }).hello.client })
    assert.equal("memory", one.cause)
    assert.truthy(one.text:find("--memory (1.0 MiB)", 1, true))
  end)

  it("names the start of the server when a memory channel lost what it held", function()
    local t = kit.start([[
      app:channel("kept", { durable = true })
      app:channel("light", { history = 10 })
      app:stream("/light", "light")]], flags())
    t:publish("kept", "e", {})
    local id = t:publish("light", "e", {})
    t:kill()
    local one = first(t, { reset = t:connect("/light", { last_event_id = id }).hello.client })
    assert.equal("restart", one.cause)
  end)

  it("names what the store deleted, by the channel's limits", function()
    local t = kit.start([[
      app:channel("kept", { durable = true, history = 2 })
      app:stream("/kept", { channels = { "kept" }, rewind = 0 })]], flags())
    local id = t:publish("kept", "e", { n = 1 })
    for n = 2, 9 do t:publish("kept", "e", { n = n }) end
    t:advance(5)
    local one = first(t, { reset = t:connect("/kept", { last_event_id = id }).hello.client })
    assert.equal("stored", one.cause)
    assert.equal("history", one.rule.option)
  end)

  it("says what a request lacks, and lets nobody in without the key", function()
    local t = kit.start('app:stream("/s", "s")', flags())
    local key = { headers = { Authorization = "Bearer " .. KEY } }
    assert.equal(401, t:get("/-/explain?client=x").status)
    assert.equal(400, t:get("/-/explain", key).status)
    assert.equal(400, t:get("/-/explain?client=", key).status)
    local bad = t:get("/-/explain?channel=a%20b", key)
    assert.same({ 400, "ECHANNEL" }, { bad.status, bad.json.error.code })
    assert.equal("unknown", first(t, { client = "nobody" }).cause)
    assert.equal("unknown", first(t, { reset = "nothing" }).cause)
    assert.equal("several", (function()
      t:connect("/s")
      t:connect("/s")
      return first(t, { client = "/s" }).cause
    end)())
  end)

  it("tells what happened in one moment with the end last", function()
    local t = kit.start([[app:channel("log", { history = 10 }) app:stream("/log", "log")]], flags())
    local c = t:connect("/log", { last_event_id = "zzz-5" })
    c:close()
    local list = {}
    for i, row in ipairs(ask(t, { client = c.hello.client }).timeline) do list[i] = row.what end
    assert.same({ "opened", "reset", "ended" }, list)
  end)

  it("answers also when it fails, and the log has why", function()
    local t = kit.start('app:stream("/s", "s")', flags())
    t:connect("/s")
    local channel = require("sluice.explain.channel")
    local explain = channel.explain
    finally(function() channel.explain = explain end)
    channel.explain = function() error("no such luck", 0) end
    local answer = t:get("/-/explain?channel=s", { headers = { Authorization = "Bearer " .. KEY } })
    assert.same({ 500, "EINTERNAL" }, { answer.status, answer.json.error.code })
    assert.matches("explain: .*no such luck", t:log("error")[1])
  end)

  it("takes no text of a client for a field of its own", function()
    local t = kit.start([[app:stream("/*any", function(req) return "c" end)]], flags())
    local c = t:connect("/x%22,%22client%22:%22liar")
    assert.equal("unknown", first(t, { client = "liar" }).cause)
    assert.equal("publish", first(t, { client = c.hello.client }).cause)
  end)

  it("remembers the newest when many came, and says how far it reaches back", function()
    local t = kit.start('app:stream("/s", "s")', flags())
    local early = t:connect("/s").hello.client
    for _ = 1, 4000 do t:connect("/s"):close() end
    local late = t:connect("/s")
    late:close()
    local answer = ask(t, { client = late.hello.client })
    assert.equal("left", answer.because[1].cause)
    assert.is_number(answer.since)
    answer = ask(t, { client = early })
    assert.equal("open", answer.found)
    assert.same({}, answer.timeline)
  end)
end)
