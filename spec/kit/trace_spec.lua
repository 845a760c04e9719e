--- The trace of a request: taken over or made, in its line of the log and in what is asked of other servers for it,
--- then and later.
local kit = require("spec.support.kit")

local APP = [[
local http = require("sluice.http")
local outbox = require("sluice.outbox").new(app)
app:channel("log", { history = 10 })
local URL = "https://other.example/in"
app:get("/trace", function(req) return 200, tostring(sluice.traceparent()) end)
app:get("/ask", function() http.get(URL) return 204 end)
app:get("/own", function() http.get(URL, { headers = { Traceparent = "mine" } }) return 204 end)
app:get("/later", function() app:spawn(function() sluice.sleep(5); http.get(URL) end) return 204 end)
app:get("/send", function() outbox:webhook { url = URL, json = {} } return 204 end)
app:get("/fails", function() error("broken") end)
app:stream("/stream", function(req) http.get(URL); return "log" end)
app:every(60, function() http.get(URL) end)
]]

local GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
local ID = "4bf92f3577b34da6a3ce929d0e0e4736"

describe("the trace of a request", function()
  local t

  local function start(flags)
    t = kit.start(APP, { flags = flags })
    t:http("https://other.example/in", { status = 200 })
  end

  after_each(kit.stop_all)

  local function sent(path, traceparent, seconds)
    t:get(path, { headers = { traceparent = traceparent } })
    t:advance(seconds or 0)
    local list = t:requests()
    return list[#list].headers.traceparent
  end

  it("is taken over where it is one, with an id of our own as the parent of what follows", function()
    start()
    local seen = t:get("/trace", { headers = { traceparent = GOOD } }).body
    assert.truthy(seen:find("^00%-" .. ID .. "%-%x+%-01$"))
    assert.equal(55, #seen)
    assert.is_nil(seen:find("00f067aa0ba902b7", 1, true))
    for _, like in ipairs { (GOOD:gsub("01$", "00")), GOOD:gsub("^00", "cc") .. "-more", (GOOD:gsub("^00", "01")) } do
      assert.truthy(t:get("/trace", { headers = { traceparent = like } }).body:find(ID, 1, true), like)
    end
  end)

  it("is a new one where that is none", function()
    start()
    local seen = {}
    local function is_new(value)
      local text = t:get("/trace", { headers = { traceparent = value } }).body
      assert.truthy(text:find("^00%-" .. ("[0-9a-f]"):rep(32) .. "%-" .. ("[0-9a-f]"):rep(16) .. "%-01$"), text)
      assert.is_nil(seen[text])
      assert.is_nil(text:find(ID, 1, true), value)
      seen[text] = true
    end
    is_new(nil)
    for _, bad in ipairs { "x", GOOD .. "x", GOOD .. "-x", GOOD:upper(), GOOD:sub(1, -2), (GOOD:gsub("^00", "ff")),
      (GOOD:gsub("^00", "0g")), (GOOD:gsub(ID, ("0"):rep(32))), (GOOD:gsub("00f067aa0ba902b7", ("0"):rep(16))),
      (GOOD:gsub("%-", "_")), (GOOD:gsub("^00", "01")) .. "x", GOOD .. ", " .. GOOD, "" } do is_new(bad) end
  end)

  it("goes along with what is asked of other servers, then and later", function()
    start()
    for _, path in ipairs { "/ask", "/stream", "/send" } do
      local there = sent(path, GOOD, 1)
      assert.truthy(there and there:find("^00%-" .. ID .. "%-%x+%-01$"), path .. ": " .. tostring(there))
      assert.is_nil(there:find("00f067aa0ba902b7", 1, true))
    end
    assert.truthy(sent("/later", GOOD, 6):find(ID, 1, true))
    assert.equal("mine", sent("/own", GOOD) or t:requests()[#t:requests()].headers.Traceparent)
    t:advance(61)
    assert.is_nil(t:requests()[#t:requests()].headers.traceparent) -- a timer's own
  end)

  it("can be switched off", function()
    start({ trace = false })
    assert.equal("nil", t:get("/trace", { headers = { traceparent = GOOD } }).body)
    assert.is_nil(sent("/ask", GOOD))
  end)
end)
