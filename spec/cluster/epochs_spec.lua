--- What a stream says of an epoch that has ended, by hand: no id of the next one before it has told all of its logs.
local core = require("sluice.core.testing")

local OLD, NEW = ("a"):rep(13), ("b"):rep(13)

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
end)
