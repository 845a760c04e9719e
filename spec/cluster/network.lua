--- A node of a cluster behind a network that is cut again and again, at bytes that a seed draws, while it publishes.
---   network.run(server, seed[, ca]) -> list of what is wrong: each event that was answered has to be in the feed once,
---   each that was refused not at all, none twice, and all in the order in which they were published.
local deadline = require("spec.support.deadline")
local feed = require("spec.support.feed")
local middle = require("spec.support.middle")
local node = require("sluice.core.testing_node")

local network = {}

local FEED = "sluice:{test}:f"
local FAULTS, EVENTS = 12, 200

-- What the feed holds: how often which event, and the order of all.
local function stored(server)
  local times, order = {}, {}
  local reply = server:call("XREAD", "COUNT", 100000, "STREAMS", FEED, "0-0")
  for _, e in ipairs(feed.read(reply)) do
    times[e.data] = (times[e.data] or 0) + 1
    order[#order + 1] = tonumber(e.data)
  end
  return times, order
end

-- The next cut: in what comes behind the bytes that a connection begins with, so that something is under way.
local function cut(proxy, begins)
  local way = math.random(2) == 1 and "up" or "down"
  proxy.cut = { [way] = begins[way] + math.random(6000) }
end

-- Publish `most` events through a proxy that cuts `faults` connections.
local function play(server, seed, ca, faults, most)
  math.randomseed(seed)
  server:call("FLUSHALL")
  local proxy = middle.proxy(ca and server.tls_port or server.port)
  local one = assert(node.open { host = "127.0.0.1", port = proxy.port, name = "test", seed = seed, history = 1000,
    tls = ca ~= nil, ca = ca })
  local sent, answered, answers, before, begins = 0, 0, {}, nil, nil
  local function turn()
    for _, action in ipairs(one:step(1)) do
      if action.what == "answer" then
        assert(not answers[action.data], "answered twice")
        answers[action.data], answered = action.code or "OK", answered + 1
      end
    end
    proxy:step()
    local state = one:look()
    if before == "live" and state ~= before then -- it was cut
      faults, proxy.moved, proxy.cut = faults - 1, { up = 0, down = 0 }, nil
    elseif state == "live" and before ~= state then
      begins = begins or { up = proxy.moved.up, down = proxy.moved.down }
      if faults > 0 then cut(proxy, begins) end
    end
    before = state
    if state == "live" and (sent < most or faults > 0) and math.random(2) == 1 then
      sent = sent + 1
      one:publish("a", tostring(sent))
    end
    return faults == 0 and sent >= most and answered == sent
  end
  deadline.eventually(function()
    for _ = 1, 200 do
      if turn() then return true end
    end
  end, 60, "all is sent and answered")
  one:close()
  proxy:shut()
  return answers
end

local function judge(server, answers)
  local times, order = stored(server)
  local wrong = {}
  for data, n in pairs(times) do
    if n > 1 then wrong[#wrong + 1] = data .. " is stored " .. n .. " times" end
  end
  for data, code in pairs(answers) do
    local n = times[data] or 0
    if code == "OK" and n ~= 1 or code ~= "OK" and code ~= "ETIMEOUT" and n ~= 0 then
      wrong[#wrong + 1] = ("%s was answered %s and is stored %d times"):format(data, code, n)
    end
  end
  for i = 2, #order do
    if order[i] < order[i - 1] then wrong[#wrong + 1] = order[i] .. " is behind " .. order[i - 1] end
  end
  return wrong
end

--- Over TLS with `ca`, the file of whom to trust.
function network.run(server, seed, ca)
  return judge(server, play(server, seed, ca, FAULTS, EVENTS))
end

return network
