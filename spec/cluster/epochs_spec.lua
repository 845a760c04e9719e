--- What a stream says of an epoch that has ended, by hand: no id of the next one before it has told all of its logs.
local core = require("sluice.core.testing")

local OLD, NEW, LAST = ("a"):rep(13), ("b"):rep(13), ("c"):rep(13)

--- A stream of two logs and a state, and its sim: all of them have an event behind number 10.
local function opened(id)
  local sim = core.sim(1, 7)
  sim:policies { { pattern = "*", history = 6, rewind = 0 }, { pattern = "s", history = "latest", key = "k" } }
  sim:adopt(OLD, "", -1, 10, 0)
  for i, channel in ipairs { "a", "b", "s" } do
    assert(sim:give(channel, "message", tostring(i), channel == "s" and "k" or "", false, channel == "s", 10 + i))
  end
  sim:drain(1)
  return sim, assert(sim:connect(1, { channels = { "a", "b", "s" } }, id))
end

--- Its blocks until both logs are told: the names of those that bring an id of the new epoch.
local function first_new(bytes)
  local told, list = 0, {}
  for block in bytes:gmatch("(.-)\n\n") do
    local name, data = block:match("event: (%w+)"), block:match("data: ([^\n]*)") or ""
    if block:find("\nid: " .. NEW, 1, true) then list[#list + 1] = told .. " " .. (name or "message") end
    if name == "reset" and data:match('"channel":"[ab]"') then told = told + 1 end
    if told == 2 then return list end
  end
  return list, "not all were told"
end

describe("a stream whose epoch ends", function()
  it("says no id of the next one with a state that has gone back, before all its logs are told", function()
    local sim, stream = opened()
    sim:flush(1)
    stream:take()
    sim:adopt(NEW, OLD .. ":10", 10, 10, 0)
    sim:fills { { channel = "s", floor = 0, upto = 10, last = 0, marked = 0, state = true, rows = {}, values = {} } }
    sim:drain(1)
    sim:flush(1)
    local bytes = stream:take()
    assert.truthy(bytes:find('"channel":"s"', 1, true))
    assert.same({ { "1 reset" } }, { first_new(bytes) })
    stream:close()
    sim:close()
  end)

  it("says it neither with the sync that ends its opening", function()
    local sim, stream = opened(OLD .. "-10")
    sim:adopt(NEW, OLD .. ":10", 10, 10, 0)
    sim:drain(1)
    sim:flush(1)
    assert.same({ { "1 reset" } }, { first_new(stream:take()) })
    stream:close()
    sim:close()
  end)

  -- What it reads when the numbers begin at 1 again: of the end of the epoch, and of two events behind it.
  local function read_anew(sim, stream, ended)
    sim:adopt(LAST, ended .. ":0", 0, 0, 0)
    sim:drain(1)
    sim:flush(1)
    local of_end = stream:take()
    for seq = 1, 2 do assert(sim:give("a", "message", "n" .. seq, "", false, false, seq)) end
    sim:drain(1)
    sim:flush(1)
    return of_end, stream:take()
  end

  for what, wait in pairs {
    ["a message that waits for higher ones"] = function(_, stream)
      stream:send("word", "w")
      return OLD
    end,
    ["resets of another end, which it has not got yet"] = function(sim)
      sim:adopt(NEW, OLD .. ":12", 12, 12, 0)
      return NEW
    end,
  } do
    it("gets what has the old numbers again, also behind " .. what, function()
      local sim, stream = opened()
      sim:flush(1)
      stream:take()
      local of_end, behind = read_anew(sim, stream, wait(sim, stream))
      assert.truthy(of_end:find('event: reset\n[^\n]*"channel":"a"[^\n]*\nid: ' .. LAST .. "%-0\n"), of_end)
      assert.equal(("data: n1\nid: %s-1\n\ndata: n2\nid: %s-2\n\n"):format(LAST, LAST), behind)
      stream:close()
      sim:close()
    end)
  end

  it("ends before what has the old numbers again: its bye has an id of the epoch that has ended", function()
    local sim, stream = opened()
    sim:flush(1)
    stream:take()
    stream:bye("moved")
    sim:adopt(NEW, OLD .. ":0", 0, 0, 0)
    for seq = 1, 2 do assert(sim:give("a", "message", "n" .. seq, "", false, false, seq)) end
    sim:drain(1)
    sim:flush(1)
    local bytes = stream:take()
    assert.truthy(bytes:find("event: bye\n.*\nid: " .. OLD .. "%-13\n"), bytes)
    assert.falsy(bytes:find("data: n1", 1, true), bytes)
    stream:close()
    sim:close()
  end)

  it("gets what has the old numbers again when it followed nothing meanwhile", function()
    local sim, stream = opened()
    for _, channel in ipairs { "a", "b", "s" } do stream:unsubscribe(channel) end
    sim:flush(1)
    sim:adopt(LAST, OLD .. ":0", 0, 0, 0)
    sim:drain(1)
    stream:subscribe { "a" }
    sim:flush(1)
    stream:take()
    assert(sim:give("a", "message", "n1", "", false, false, 1))
    sim:drain(1)
    sim:flush(1)
    assert.equal(("data: n1\nid: %s-1\n\n"):format(LAST), stream:take())
    stream:close()
    sim:close()
  end)

  -- The values of a keyed log, of which the last one goes with the epoch, and what comes to `who` when the others are
  -- loaded again: the first one has been removed meanwhile, which `away` stands for.
  local function reloaded(n, size, connects)
    local sim, rows, values = core.sim(1, 7), {}, {}
    sim:policies { { pattern = "*", history = 200, rewind = "latest", key = "k" } }
    sim:adopt(OLD, "", -1, 0, 0)
    for i = 1, n do
      local data = i .. ("x"):rep(size)
      assert(sim:give("a", "message", data, "k" .. i, false, false, i))
      if i < n then rows[i] = { seq = i, key = "k" .. i, data = data } end
      if i > 1 and i < n then values[i - 1] = rows[i] end
    end
    sim:drain(1)
    local stream
    local function taken()
      local all = {}
      for _ = 1, 10 do
        sim:flush(1)
        all[#all + 1] = stream:take()
      end
      return table.concat(all)
    end
    local function connect()
      stream = assert(sim:connect(1, { channels = { "a" } }))
      taken()
    end
    if connects == "before" then connect() end
    sim:adopt(NEW, OLD .. ":" .. n - 1, n - 1, n - 1, 0)
    sim:drain(1)
    if connects == "behind" then connect() else taken() end
    rows[n] = { seq = n + 9, key = "k1", data = "away" }
    sim:fills { { channel = "a", floor = 0, upto = n + 9, last = n + 9, marked = 0, rows = rows, values = values } }
    sim:drain(1)
    local list = {}
    for name in taken():gmatch("data: (%w-)x*\n") do list[#list + 1] = name end
    stream:close()
    sim:close()
    return list
  end

  for _, connects in ipairs { "before", "behind" } do
    it("gets what came behind the end of an epoch, when it was opened " .. connects .. " that", function()
      assert.same({ "2", "3", "away" }, reloaded(4, 3, connects))
    end)

    it("gets all values again, however many, when it was opened " .. connects .. " the end of an epoch", function()
      local list = reloaded(30, 1000, connects)
      assert.same({ 29, "2", "away" }, { #list, list[1], list[#list] })
    end)
  end
end)
