--- Explain has a sentence for whatever can be noted, and each names the rule, its place and what to do.
local core = require("sluice.core")
local ends = require("sluice.explain.ends")
local kit = require("spec.support.kit")
local resets = require("sluice.explain.resets")
local tree = require("spec.support.tree")

local KEY = ("k"):rep(40)

describe("explain, whatever the cause:", function()
  after_each(kit.stop_all)

  local function start(text, flags)
    flags = flags or {}
    flags.admin_key = KEY
    return kit.start(text, { flags = flags })
  end

  local function ask(t, what)
    local kind, id = next(what)
    local answer = t:get(("/-/explain?%s=%s"):format(kind, (id:gsub("[^%w/]", function(c)
      return ("%%%02X"):format(c:byte())
    end))), { headers = { Authorization = "Bearer " .. KEY } })
    assert.equal(200, answer.status, answer.body)
    return answer.json
  end

  local function first(t, what) return ask(t, what).because[1] end

  --- What is wrong with a finding, or nil.
  local function fault(one, listed)
    if not listed[one.cause] then return "the page does not list it" end
    if not one.advice or #one.advice < 10 then return "it does not say what to do" end
    if #one.text < 20 or not one.text:find("[.:]$") then return "no sentence: " .. one.text end
    for _, gap in ipairs({ "nil", "%f[%?]%?", "%%[sd]", "table: 0x", "  " }) do
      if one.text:find(gap) then return "a gap in: " .. one.text end
    end
  end

  local function documented()
    local list, section = {}, tree.read("doc/console.md"):match("\n## The causes\n(.-)\n## ")
    for names in section:gmatch("\n| (`[^|]+) |") do
      for name in names:gmatch("`([%w_]+)`") do list[name] = true end
    end
    return list
  end

  it("each end that can be noted has its words", function()
    local t = start('app:stream("/s", "s")')
    local runtime, listed, wrong, seen = t.place.runtime, documented(), {}, 0
    for _, cause in ipairs(core.reasons.causes) do
      for word in pairs(core.reasons.bye) do
        for _, message in ipairs({ "ended", "refused" }) do
          local line = { message = message, cause = cause, reason = word, time = 0, path = "/s", ip = "192.0.2.1",
            client = message == "ended" and "c" or nil, seconds = 3, limit = cause == "limit"
              and "max_streams_per_address" or nil }
          local text = fault(ends.judge(runtime, line, {}), listed)
          wrong[#wrong + 1] = text and ("%s, %s: %s"):format(cause, word, text)
          seen = seen + 1
        end
      end
    end
    assert.same({}, wrong)
    assert.is_true(seen > 400)
    for cause in pairs(ends.causes()) do -- and none for what nobody notes
      local is_noted = cause == "connections" or cause == "status"
      for _, one in ipairs(core.reasons.causes) do is_noted = is_noted or one == cause end
      assert.is_true(is_noted, cause)
    end
  end)

  it("each reset that can be noted has its words", function()
    local t = start('app:channel("s", { history = 3, ttl = 60 }) app:stream("/s", "s")')
    local runtime, listed, wrong, seen = t.place.runtime, documented(), {}, 0
    local causes = { false, table.unpack(core.reasons.lost) }
    for word in pairs(core.reasons.reset) do
      for _, by in ipairs(causes) do
        local line = { message = "reset", channel = "s", client = "c", reason = word, by = by or nil, time = 0,
          from = "uz7qk3mw5bt2x-1", oldest = "uz7qk3mw5bt2x-5", history = 3, ttl = 60 }
        -- that of a history always says which
        if by or word ~= "trimmed" then
          local text = fault(resets.judge(runtime, line), listed)
          wrong[#wrong + 1] = text and ("%s by %s: %s"):format(word, tostring(by), text)
          seen = seen + 1
        end
      end
    end
    assert.same({}, wrong)
    assert.is_true(seen > 70)
  end)

  it("a limit is named with who set it, what it allows and whom it was about", function()
    local t = start([[
app:limits({ max_streams_per_address = 1, max_streams_per_user = 1, max_requests_per_user = 3 })
app:channel("c", { history = 1 })
app:stream("/constant", "c")
local function sign_in(req) req.user = { id = "ann" } return true end
app:stream("/mine", sign_in, function(req) return "c" end)
]], { trust_proxy = true, max_requests_per_address = 5 })
    local function from(ip) return { headers = { ["X-Forwarded-For"] = ip } } end
    local function refused(path, ip, id)
      t:connect(path, from(ip))
      local list = ask(t, { client = id or ip }).because
      local one = list[#list]
      assert.equal("limit", one.cause, one.text)
      one.text = one.text:gsub("^One was refused at %d%d:%d%d:%d%d: ", "")
      return one
    end
    t:connect("/constant", from("192.0.2.1"))
    local one = refused("/constant", "192.0.2.1")
    assert.equal("Its address 192.0.2.1 had 1 stream open, which is all that max_streams_per_address allows "
      .. "(app.lua:3).", one.text)
    assert.same({ "max_streams_per_address", "1", "app.lua:3" }, { one.rule.option, one.rule.value, one.rule.where })
    assert.truthy(one.advice:find("exempt"))
    t:connect("/mine", from("192.0.2.2"))
    one = refused("/mine", "192.0.2.3", "ann")
    assert.truthy(one.text:find("^Its user 'ann' had 1 stream open, .*max_streams_per_user .*%(app.lua:3%)%.$"))
    refused("/mine", "192.0.2.4", "ann")
    one = refused("/mine", "192.0.2.5", "ann")
    assert.truthy(one.text:find("^Its user 'ann' sent more than the 3 requests a minute that max_requests_per_user"))
    for _ = 1, 5 do t:connect("/constant", from("192.0.2.6")):close() end
    one = refused("/constant", "192.0.2.6")
    assert.truthy(one.text:find("^Its address 192.0.2.6 sent more than the 5 requests a minute"), one.text)
    assert.equal("--max-requests-per-address or SLUICE_MAX_REQUESTS_PER_ADDRESS", one.rule.where)
    for _, row in ipairs(ask(t, { client = "192.0.2.5" }).timeline) do
      assert.truthy(row.text:find("max_requests_per_user", 1, true), row.text)
    end
  end)

  it("a channel over its budget says so, with the rule", function()
    local t = start([[
app:channel("big", { history = 5, budget = 1000 })
app:stream("/big", "big")
app:post("/big", function() app:publish("big", "e", { pad = ("x"):rep(5000) }) end)]])
    t:connect("/big")
    t:post("/big")
    t:advance(6)
    local answer = ask(t, { channel = "big" })
    assert.equal("budget", answer.because[1].cause, answer.because[1].text)
    assert.truthy(answer.because[1].text:find("budget = 1000 of 'big' %(app.lua:3%)"))
    for _, one in ipairs(answer.because) do assert.not_equal("nothing", one.cause) end
  end)

  it("a policy is shown as the script says it", function()
    local t = start([[
app:channel("state", { history = "latest", key = "k" })
app:channel("log", { history = { count = 7, bytes = 5000 }, ttl = false, slow = "close", rewind = "all" })
app:stream("/s", "state")]])
    local function policy(name)
      local out = {}
      for _, row in ipairs(ask(t, { channel = name }).policy) do out[row.option] = row.value end
      return out
    end
    local state, log = policy("state"), policy("log")
    assert.same({ "latest", "k" }, { state.history, state.key })
    assert.same({ "{ count = 7, bytes = 5000 }", "none", "close", "all", "none", "false" }, { log.history, log.ttl,
      log.slow, log.rewind, log.budget, log.durable })
  end)

  it("a key that a reload removes is named with the module's line", function()
    local source = [[
local auth = require("sluice.auth").new(app, { keys = { %s
  { id = "ann", hash = "%s" } } })
app:stream("/s", auth:user(), "s")]]
    local function digest(text) return require("sluice.crypto").hex(require("sluice.crypto").sha256(text)) end
    local function app(who) return kit.source(source:format("", digest(who))) end
    local t = kit.whole(app("secret"), { flags = { admin_key = KEY } })
    local c = t:connect("/s", { headers = { Authorization = "Bearer secret" } })
    assert.equal("ann", c.hello and "ann")
    assert(t:reload(app("other")))
    t:advance(1)
    assert.equal("revoked", c:wait_for("bye").data.reason)
    local one = first(t, { client = c.hello.client })
    assert.equal("revoked", one.cause, one.text)
    assert.equal("What it was opened with was revoked by the reload hook (app.lua:3).", one.text)
    assert.equal("app.lua:3", one.rule.where)
    assert.equal(one.text, first(t, { client = "ann" }).text) -- what was noted of its end names no user
    for _, row in ipairs(ask(t, { client = "ann" }).timeline) do
      assert.is_nil(row.text:find("no longer known", 1, true), row.text)
    end
  end)

  it("a path that no stream has is told with what serves it", function()
    local t = start([[
app:post("/api/tickets/:id", function() return 204 end)
app:stream("/s", "s")]])
    local one = first(t, { client = "/api/tickets/7" })
    assert.equal("handler", one.cause)
    assert.matches("POST /api/tickets/:id %(app.lua:3%) serves it", one.text)
    assert.equal("route", first(t, { client = "/other" }).cause)
  end)

  it("a plan that took too long was not ended by a reload, and refusals that are the same come once", function()
    local t = start([[
app:stream("/slow", function() sluice.sleep(60) end)
app:stream("/no", function() return 403 end)]], { request_timeout = 2 })
    pcall(t.connect, t, "/slow") -- fails, as it should
    local told = {}
    for i, row in ipairs(ask(t, { client = "/slow" }).timeline) do told[i] = row.cause end
    assert.same({ "slow_plan", "abandoned" }, told)
    for _ = 1, 26 do t:connect("/no") end
    local timeline = ask(t, { client = "/no" }).timeline
    assert.is_true(#timeline <= 2)
    for _, row in ipairs(timeline) do
      assert.equal(26, row.times)
      assert.matches("%(26 times, the first at %d%d:%d%d:%d%d%)$", row.text)
    end
  end)

  it("what is unknown is told with when the notes began, and a numbering with all that begins one", function()
    local t = start('app:channel("s", { history = 3 }) app:stream("/s", "s")')
    for _, what in ipairs({ { client = "nobody" }, { reset = "uz7qk3mw5bt2x-1" } }) do
      local text = first(t, what).text
      assert.matches("begin with the start of the process, which was at %d+%-%d%d%-%d%d %d%d:%d%d:%d%d", text)
    end
    local c = t:connect("/s", { last_event_id = "uz7qk3mw5bt2x-1" })
    assert.truthy(first(t, { reset = c.hello.client }).text:find("--new-epoch or a restore", 1, true))
  end)
end)
