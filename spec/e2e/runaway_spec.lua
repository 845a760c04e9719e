--- Code that runs away: each ends with an error for the handler that did it, and for nobody
--- else; a thousand streams keep their heartbeats and events meanwhile.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local server = require("spec.support.server")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local closed = app:state("closed", { n = 0 })

local function closing(fn)
  return setmetatable({}, { __close = function() closed().n = closed().n + 1 if fn then fn() end end })
end
local function forever() while true do end end

app:channel("events", { history = 1000 })
app:stream("/s", "events")
app:post("/publish/:n", function(req) app:publish("events", "e", { n = tonumber(req.params.n) }) return 202 end)
app:get("/ok", function() return { closed = closed().n } end)

app:get("/loop", function() local _ <close> = closing() forever() end)
app:get("/swallow", function() local _ <close> = closing() while true do pcall(forever) end end)
app:get("/nested", function()
  coroutine.wrap(function()
    local _ <close> = closing()
    coroutine.wrap(function() local _ <close> = closing() forever() end)()
  end)()
end)
app:get("/resumed", function()
  while true do
    local co = coroutine.create(function() local _ <close> = closing() forever() end)
    coroutine.resume(co)
  end
end)
app:get("/left", function()
  local co = coroutine.wrap(function() local _ <close> = closing() coroutine.yield() end)
  co()
  forever()
end)
app:get("/close", function() local _ <close> = closing(forever) error("x") end)
app:get("/sort", function() table.sort({ 3, 2, 1 }, function() forever() end) end)
app:get("/gsub", function() return (("x"):gsub("x", function() forever() end)) end)
app:get("/both", function() while true do pcall(function() while true do end end) end end)
app:get("/handler", function() while true do xpcall(error, forever) end end)
app:get("/again", function() while true do xpcall(forever, function() forever() end) end end)
app:get("/tostring", function() error(setmetatable({}, { __tostring = forever })) end)
app:get("/died", function() coroutine.wrap(function() local _ <close> = closing(forever) forever() end)() end)
app:get("/resume", function()
  while true do
    local co = coroutine.create(function() local _ <close> = closing(forever) coroutine.yield() end)
    coroutine.resume(co)
    coroutine.close(co)
  end
end)
app:get("/iterator", function() for _ in coroutine.wrap(forever) do end end)
app:get("/sorted", function() coroutine.wrap(function() table.sort({ 3, 2, 1 }, forever) end)() end)
app:get("/concat", function()
  table.concat(setmetatable({}, { __len = function() return 3 end, __index = function() forever() end }))
end)
app:get("/ipairs", function() for _ in ipairs(setmetatable({}, { __index = tostring })) do end end)
app:get("/ours", function() while true do pcall(app.publish, app, "events", "hello", { 1 }) end end)
app:get("/calls", function() -- of C functions by a C function
  while true do ("x"):rep(1e5):gsub(".", string.upper) end
end)
app:get("/module", function() require("endless") end)
app:get("/text", function() load("while true do end", "=text")() end)
app:get("/bomb", function() local t = {} while true do t[#t + 1] = { #t } end end)
app:get("/rep", function() return #("x"):rep(1e9) end)
app:get("/double", function() local s = "x" while true do s = s .. s end end)
app:channel("big", { history = 20, rewind = "all" })
app:on("start", function() for _ = 1, 20 do app:publish("big", "e", ("x"):rep(60000)) end end)
app:get("/hoard/latest", function() local t = {} while true do t[#t + 1] = app:latest("big") end end)
app:get("/hoard/history", function() local t = {} while true do t[#t + 1] = app:history("big") end end)
app:get("/alive", function() collectgarbage() collectgarbage() return require("sluice.core").alive() end)
app:get("/spawn", function() app:spawn(forever) return 202 end)
app:get("/slow", function() local stop = sluice.now() + 0.2 while sluice.now() < stop do end return "slow" end)
return app
]]

describe("code that runs away", function()
  local s, all, published

  setup(function()
    s = server.start { app = APP, files = { ["endless.lua"] = "while true do end" },
      args = { "--handler-budget", "0.3", "--lua-memory", "24m", "--heartbeat", "1", "--drain", "0.2" } }
    all = crowd.connect(s.port, "/s", 900)
    published = 0
  end)
  teardown(function()
    all:close()
    assert.equal(0, s.stop())
    server.stop_all()
  end)

  local function publish()
    published = published + 1
    assert.equal(202, http.post(s.port, "/publish/" .. published, "").status)
  end

  -- Ask for a path while the streams are watched: the answer.
  local function ask(path)
    local c = http.connect(s.port)
    publish()
    all:restart()
    c:send(http.request_text("GET", path, {}, nil, "127.0.0.1"))
    local response
    all:read(10, function()
      response = response or c:response(0.001)
      return response
    end)
    c:close()
    for _, m in ipairs(all) do
      assert.is_nil(m.ended)
      assert.is_true(m.gap < 1.6, m.gap)
    end
    return assert(response, "no answer to " .. path)
  end

  local MEMORY = "not enough memory"
  local CASES = {
    { "loop", "app.lua:%d+%): [^\n]*app.lua:8: computed for 0.3 s without a pause: a loop needs sluice.sleep%(%)" },
    { "swallow", "computed for 0.3 s" }, { "nested", "app.lua:8: computed for" }, { "resumed", "computed for" },
    { "left", "app.lua:8: computed for" }, { "close", "computed for" }, { "sort", "app.lua:8: computed for" },
    { "gsub", "app.lua:8: computed for" }, { "bomb", MEMORY }, { "rep", MEMORY }, { "double", MEMORY },
  }
  -- (an error that was swallowed has used up the time that <close> variables are given)
  local CLOSED = { loop = 1, nested = 2, left = 1, close = 1 }
  for _, case in ipairs(CASES) do
    local name, message = table.unpack(case)
    it("ends alone: " .. name, function()
      local before = tonumber(http.get(s.port, "/ok").body:match("%d+"))
      assert.equal(500, ask("/" .. name).status)
      deadline.eventually(function()
        local log, start = s.log(), "GET /" .. name .. "[ :][^\n]*"
        -- a slow machine may have used up the time before the memory
        return log:find(start .. message) or message == MEMORY and log:find(start .. "computed for")
      end, 5, "the log says " .. message)
      local after = http.get(s.port, "/ok")
      assert.equal(200, after.status)
      if CLOSED[name] then assert.equal(CLOSED[name], tonumber(after.body:match("%d+")) - before) end
    end)
  end

  -- Once, and none of Sluice's own; the route's place is there when it is another one.
  local function names_line(name, file)
    local what = '[^ ]*' .. file .. ':%d+: computed for 0.3 s without a pause: a loop needs sluice.sleep%(%)"'
    return s.log():find('"GET /' .. name .. ": " .. what)
      or s.log():find('"GET /' .. name .. " %([^ ]*app.lua:%d+%): " .. what)
  end

  for name, file in pairs { both = "app.lua", handler = "app.lua", again = "app.lua", tostring = "app.lua",
    died = "app.lua", resume = "app.lua", iterator = "app.lua", sorted = "app.lua", concat = "app.lua",
    ipairs = "app.lua", ours = "app.lua", calls = "app.lua", module = "endless.lua", text = "text" } do
    it("is told by the line that computed, wherever it hides: " .. name, function()
      assert.equal(500, ask("/" .. name).status)
      deadline.eventually(function() return names_line(name, file) end, 5, "the log names the line")
      assert.equal(200, http.get(s.port, "/ok").status)
    end)
  end

  it("leaves nothing behind of what it was given until its memory was full", function()
    local function alive() return tonumber(http.get(s.port, "/alive").body:match('"memory":(%d+)')) end
    local function hoard()
      for _, what in ipairs({ "latest", "history" }) do
        assert.equal(500, http.get(s.port, "/hoard/" .. what).status)
      end
    end
    hoard()
    local before = alive()
    for _ = 1, 10 do hoard() end
    deadline.eventually(function() return alive() <= before + 10 end, 5, "as many blocks as before")
  end)

  it("ends in a spawned coroutine too", function()
    assert.equal(202, ask("/spawn").status)
    s.wait_log("spawned at [^\n]*: [^\n]*app.lua:8: computed for 0.3 s")
    assert.equal(200, http.get(s.port, "/ok").status)
  end)

  it("that stays within the budget is told of, with its name and place", function()
    assert.equal("slow", ask("/slow").body)
    s.wait_log("GET /slow blocked the app for [%d.]+ s %([^ ]*app.lua:%d+%); streams continued")
  end)

  it("has lost no event on any stream", function()
    publish()
    all:wait_for(('"n":%d}'):format(published), 10)
    for _, m in ipairs(all) do
      local numbers = crowd.numbers(m)
      assert.equal(published, #numbers)
      for i, n in ipairs(numbers) do assert.equal(i, n) end
    end
  end)
end)
