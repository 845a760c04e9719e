--- HEAD of streams: the head that GET would be answered with, and nothing behind it: no byte of
--- the stream, no client, no hook.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local server = require("spec.support.server")

local FROM = "Origin: https://app.example"
local s

describe("HEAD of a stream", function()
  local HOOKED = [[
  local sluice = require("sluice")
  local app = sluice.app()
  app:cors("/**", { origins = { "https://app.example" } })
  app:channel("news", { history = 10 })
  app:channel("watched", {})
  app:every(60, { while_subscribed = "watched" }, function() end)
  app:stream("/constant", "news")
  app:stream("/asked", function() return "news" end)
  app:stream("/watched", function() return "watched" end)
  app:stream("/written", function(req, client)
    client:send("a", { text = ("x"):rep(100) })
    sluice.sleep(0.01)
  end)
  app:stream("/subscribed", function(req, client)
    client:subscribe("news")
    return "news"
  end)
  app:stream("/slow", function() sluice.sleep(60) return "news" end)
  app:stream("/status", function(req) return tonumber(req.query.s), "no" end)
  app:stream("/guarded", function(req) if req.query.in_ then return true end return 401, "no" end, "news")
  app:stream("/raises", function() error("broken") end)
  app:get("/clients", function() local n = 0 for _ in app:clients() do n = n + 1 end return 200, tostring(n) end)
  return app
  ]]

  setup(function() s = server.start({ app = HOOKED }) end)
  teardown(server.stop_all)

  --- The head of an answer without its date, and the connection.
  local function ask(method, target, version, ...)
    local c = assert(http.connect(s.port))
    c:send(("%s %s HTTP/1.%d\r\nHost: localhost\r\n%s"):format(method, target, version,
      table.concat({ FROM, ... }, "\r\n") .. "\r\n\r\n"))
    local r = assert(c:response(10, { no_body = true }))
    return (r.head:gsub("Date: [^\r]*", "Date: ")), c
  end

  local function is_the_head(target, ...)
    local want, open = ask("GET", target, 1, ...)
    open:close()
    deadline.eventually(function() return http.get(s.port, "/clients").body == "0" end, 5, "the reader has left")
    local got, c = ask("HEAD", target, 1, ...)
    assert.equal(want, got, target)
    -- nothing of the stream is behind the head: the next answer is whole
    assert.equal("0", c:request("GET", "/clients").body, target)
    c:close()
  end

  it("has the fields of GET, registers nothing and leaks nothing", function()
    for _, target in ipairs({ "/constant", "/asked", "/written", "/subscribed", "/watched", "/slow", "/status?s=503",
      "/status?s=500", "/status?s=429", "/status?s=404", "/status?s=401", "/status?s=204", "/guarded", "/guarded?in_=1",
      "/raises", "/constant?max_rate=x", "/asked?max_rate=x" }) do
      is_the_head(target)
    end
    is_the_head("/constant", "Last-Event-ID: stop")
    is_the_head("/constant", "Accept: text/html")
    is_the_head("/nowhere")
  end)

  it("closes over HTTP/1.0 behind the head", function()
    for _, target in ipairs({ "/constant", "/written" }) do
      local got, c = ask("HEAD", target, 0)
      assert.matches("\r\nConnection: close\r\n", got)
      assert.same({ "", "closed" }, { c:drain(5) })
      c:close()
    end
  end)
end)

describe("HEAD of a stream, seen by the app,", function()
  local COUNTED = [[
  local sluice = require("sluice")
  local app = sluice.app()
  local steps = app:state("steps", {})
  local function step(text) table.insert(steps(), text) end
  for _, name in ipairs({ "connect", "disconnect" }) do app:on(name, function() step(name) end) end
  for _, name in ipairs({ "subscribe", "unsubscribe" }) do app:on(name, "**", function() step(name) end) end
  app:every(60, { while_subscribed = "news" }, function() step("warm") end)
  app:stream("/asked", function() step("asked") return "news" end)
  app:stream("/written", function(req, client)
    step("plan")
    step(select(3, client:send("a", {})))
    step(select(3, client:subscribe("news")))
    sluice.sleep(0.01)
    step("late")
  end)
  app:get("/steps", function() return 200, table.concat(steps(), " ") end)
  return app
  ]]

  setup(function() s = server.start({ app = COUNTED }) end)
  teardown(server.stop_all)

  it("runs the plan until it waits, and no hook", function()
    assert.equal(200, http.request(s.port, "HEAD", "/asked").status)
    assert.equal(200, http.request(s.port, "HEAD", "/written").status)
    local c = assert(http.connect(s.port))
    for _ = 1, 20 do -- time enough for what must not happen
      assert.equal("asked plan ECLOSED ECLOSED", c:request("GET", "/steps").body)
      c.wire:listen(0.02)
    end
    c:close()
  end)
end)
