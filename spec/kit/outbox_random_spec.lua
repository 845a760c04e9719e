--- Random letters, answers, reloads, kills and disks against what the receivers saw: every letter that was
--- taken is delivered at least once or is a dead letter, and the app is told which, each under one id and with its
--- own words, none is delivered again once that was noted, and what was refused or dropped is delivered at most
--- while it was there.
local kit = require("spec.support.kit")
local worlds = require("spec.support.worlds")

local APP = [[
local outbox = require("sluice.outbox").new(app, { durable = true, retries = 3, backoff = 2, concurrency = 3,
  on_end = function(letter, ok)
    sluice.sleep(2 * math.random())
    require("sluice.http").post("http://told/", { json = { id = letter.id, ok = ok } })
  end })
app:post("/hook", function(req)
  local id, message, code = outbox:webhook(req:json())
  if not id then return nil, message, code end
  return 202, { id = id }
end)
outbox:routes("/outbox", function() return true end)
]]
local ANSWERS = { 200, 200, 204, 500, 503, 410, 404 }

local function play(seed)
  math.randomseed(seed)
  local t = kit.start(APP, { seed = seed })
  local kept, seen, gone, told, n = {}, {}, {}, {}, 0
  local quiet, problem = false, nil
  local function receive(request)
    local id = request.headers["webhook-id"]
    if gone[id] then problem = "delivered again: " .. id end
    if request.json.word ~= "word of " .. id or request.url ~= "http://" .. request.json.host .. "/" then
      problem = "mixed up: " .. id
    end
    if not quiet and math.random(6) == 1 then return nil, "it broke off", "EUPSTREAM" end
    local status = quiet and 200 or ANSWERS[math.random(#ANSWERS)]
    if status < 300 then seen[id] = (seen[id] or 0) + 1 end
    return { status = status }
  end
  local function hear(request)
    local id, ok = request.json.id, request.json.ok
    told[id .. " " .. tostring(ok)] = true
    if ok and not seen[id] then problem = "told, not delivered: " .. id end
    return { status = 200 }
  end
  local function connect()
    t:http("http://told/", hear)
    for i = 1, 3 do t:http(("http://h%d/"):format(i), receive) end
  end
  -- noted: delivered, and no row of it in the store
  local function look()
    local died = t:get("/outbox/dead").json.letters
    t:advance(5) -- what is being told and deleted is
    for _, letter in ipairs(died) do
      if not told[letter.id .. " false"] then problem = "its death was never told: " .. letter.id end
    end
    local there = {}
    for key in t:store("outbox"):each("letter/") do there[key:match("/(.*)$")] = true end
    for id in pairs(kept) do
      if not there[id] then
        assert(seen[id] or kept[id] == "dropped", "lost: " .. id)
        assert(told[id .. " true"] or kept[id] == "dropped", "its delivery was never told: " .. id)
        gone[id] = true
      end
    end
    return there
  end
  connect()
  for _ = 1, 60 do
    assert(not problem, problem)
    local act = math.random(12)
    if act <= 6 then
      n = n + 1
      local id, host = "m" .. n, "h" .. math.random(3)
      local answer = t:post("/hook", { json = { url = "http://" .. host .. "/", id = id,
        json = { word = "word of " .. id, host = host } } })
      if answer.status == 202 then kept[id] = true end
    elseif act == 7 then
      t:advance(math.random() * 30)
    elseif act == 8 then
      assert(t:reload(kit.source(APP .. "-- " .. n)))
    elseif act == 9 then
      t:advance(math.random())
      t[({ "kill", "restart", "cut" })[math.random(3)]](t)
      connect()
    elseif act == 10 then
      t:disk { full = true }
      t:advance(math.random() * 20)
      t:disk { full = false }
      t:advance(3)
    elseif act == 11 then
      for _, letter in ipairs(t:get("/outbox/dead").json.letters) do
        if math.random(2) == 1 then
          t:post("/outbox/dead/" .. letter.id .. "/replay")
        elseif t:delete("/outbox/dead/" .. letter.id).status == 204 then
          kept[letter.id] = "dropped"
        end
      end
    else
      look()
    end
  end
  quiet = true
  t:advance(600)
  t:post("/outbox/dead/replay")
  t:advance(600)
  local there = look()
  assert.same({}, there)
  for id, state in pairs(kept) do assert(seen[id] or state == "dropped", "never delivered: " .. id) end
  assert(not problem, problem)
  local stats = t:get("/outbox").json
  assert.same({ 0, 0 }, { stats.pending, stats.dead })
  t:stop()
end

describe("a random outbox", function()
  after_each(kit.stop_all)

  it("delivers what it took", function() worlds.hold(play, 4, 200) end)
end)
