--- ?named=0 and ?padding=true: the same stream for clients that get only events without a name, and for those
--- that read nothing before 2 KiB.
local json = require("sluice.json")
local kit = require("spec.support.kit")
local wire = require("sluice.core.testing").wire

local APP = [[
app:channel("log", { history = 100 })
app:channel("prices", { history = "latest", key = "symbol" })
app:stream("/all", { compress = "auto" }, { channels = { "log", "prices" } })
app:stream("/late", function() sluice.sleep(3); return "log" end)
]]

-- What a chunk of a form holds.
local function unnamed(events)
  local chunk = wire("unnamed", events)
  local size, text = chunk:match("^(%x+)\r\n(.*)\r\n$")
  assert.equal(tonumber(size, 16), #text)
  return text
end

describe("a stream without names", function()
  local t

  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  it("tells the name, the id and the data in the data of a message", function()
    local c = t:connect("/all?named=0", { compress = "auto" })
    assert.is_nil(c.headers["content-encoding"])
    local id = t:publish("log", "goal", { minute = 23 })
    t:publish("prices", "price", { symbol = "A" })
    t:publish("log", "note", "plain text")
    t:settle()
    local list = {}
    for _, e in ipairs(c:events()) do
      assert.equal("message", e.event)
      list[#list + 1] = e.data
    end
    assert.equal("hello", list[1].type)
    assert.truthy(list[1].data.client)
    local by_type = {}
    for _, e in ipairs(list) do by_type[e.type] = e end
    assert.same({ type = "goal", id = id, data = { minute = 23 } }, by_type.goal)
    assert.same({ type = "price", id = json.null, data = { symbol = "A" } }, by_type.price)
    assert.equal("plain text", by_type.note.data)
    assert.truthy(by_type.sync)
  end)

  it("resumes, and is no other stream than one with names", function()
    local c = t:connect("/all?named=0")
    local first = t:publish("log", "a", { n = 1 })
    t:publish("log", "b", { n = 2 })
    t:settle()
    assert.equal(t:publish("log", "c", {}), (function() t:settle() return c:last_id() end)())
    local again = t:connect("/all?named=0", { last_event_id = first })
    local names = {}
    for _, e in ipairs(again:events()) do names[#names + 1] = e.data.type end
    assert.equal("hello b c sync", table.concat(names, " "))
    assert.is_true(again:events()[1].data.data.resumed)
    local named = t:connect("/all?named=1", { last_event_id = first })
    assert.equal("b", named:events()[2].event)
  end)

  it("is not what another value than 0 asks for, which is refused", function()
    for _, value in ipairs { "false", "", "00", "2", "no", ("0"):rep(9), "%30%30" } do
      local x = t:connect("/all?named=" .. value)
      assert.same({ 422, "named" }, { x.status, json.decode(x.body).error.field }, value)
      x:close()
    end
    assert.equal(200, t:connect("/all?named=%30&mode=live").status)
  end)

  it("opens late, and polls, in the same way", function()
    local c = t:connect("/late?named=0")
    t:advance(4)
    assert.equal("hello", c:events()[1].data.type)
    local id = t:publish("log", "a", { n = 1 })
    t:publish("log", "b", { n = 2 })
    local poll = t:connect("/all?named=0", { mode = "poll", last_event_id = id })
    assert.equal("hello", poll:events()[1].data.type)
    assert.equal("b", poll:events()[2].data.type)
    assert.truthy(poll.token)
  end)

  it("embeds what is JSON, and nothing that only looks like it", function()
    local good = { "1", "-0.5e+3", "0", "true", "null", '"x"', '"\\u00e9\\n"', "[]", "{}", ' [1, {"a":[2,"b"]}] ',
      '{"a":1}',
      ("["):rep(40) .. ("]"):rep(40), "1E5", '"' .. ("x"):rep(5000) .. '"', "[1,\n2]", '{\n"a":\n1}' }
    local bad = { "", "01", "+1", ".5", "1.", "1e", "tru", "truex", "'x'", '"x', '"\\x"', '"\\u12g4"', "[1,]", "[,1]",
      "{a:1}", '{"a"}', '{"a":1,}', "[1 2]", "1 2", "NaN", "-", ("["):rep(500), "\t\x01", '"a\nb"', "{", '{"a":1',
      "nul", "[1]]" }
    for _, data in ipairs(good) do
      local lines = "data: " .. data:gsub("\n", "\ndata: ")
      local text = unnamed("event: e\n" .. lines .. "\nid: x-1\n\n")
      local got = assert(text:match("^data: ([^\n]*)\nid: x%-1\n\n$"), text)
      assert.same({ type = "e", id = "x-1", data = json.decode(data) }, json.decode(got), data)
    end
    for _, data in ipairs(bad) do
      local lines = "data: " .. data:gsub("\n", "\ndata: ")
      local got = unnamed(lines .. "\n\n"):match("^data: ([^\n]*)\n\n$")
      assert.same({ type = "message", id = json.null, data = data }, json.decode(got), data)
    end
  end)

  it("leaves comments and retry times where they are", function()
    assert.equal(":ok\nretry: 2\ndata: {\"type\":\"bye\",\"id\":\"stop\",\"data\":{}}\nid: stop\n\n",
      unnamed("event: bye\n:ok\nretry: 2\ndata: {}\nid: stop\n\n"))
    assert.equal(":\n", unnamed(":\n"))
    assert.equal(":ok\nretry: 5\n\n", unnamed(":ok\nretry: 5\n\n"))
  end)

  it("begins with 2 KiB of a comment where that is asked for", function()
    local function first(path)
      local x = t:connect(path)
      local text = x.first
      x:close()
      return text
    end
    for _, path in ipairs { "/all?padding=true", "/all?padding=true&named=0", "/late?padding=true" } do
      local text = first(path)
      t:advance(4)
      assert.equal(2048, #text:match("^(: +\n):ok\nretry: %d+\n"), path)
    end
    assert.equal(":ok\n", first("/all?padding=false"):sub(1, 4))
    assert.equal(":ok\n", first("/all"):sub(1, 4))
  end)
end)
