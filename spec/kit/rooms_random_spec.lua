--- Rooms at random: joins, leaves, second tabs, refreshes, kicks, reloads, kills and slow hooks, judged by
--- spec/support/presence.lua, which knows nothing of how rooms are made. The seed of what fails is printed;
--- SEED=n repeats it. With planted bugs, of which each must be found.
local kit = require("spec.support.kit")
local presence = require("spec.support.presence")
local worlds = require("spec.support.worlds")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local STEPS = FULL and 10000 or 250

local APP = [[
local rooms = require("my_rooms").new(app, { name = "doc", grace = GRACE, max_members = 100 })
rooms:stream("/room/:id")
app:post("/kick/:id/:user", function(req)
  local ok, message, code = rooms:kick(req.params.id, req.params.user)
  if ok then return 204 end
  return nil, message, code
end)
app:get("/who/:id", function(req)
  return { count = rooms:count(req.params.id), members = rooms:members(req.params.id) }
end)
]]
local SLOW = [[
app:on("connect", function() sluice.sleep(math.random(0, 10) / 10) end)
app:on("subscribe", "doc/:id", function() sluice.sleep(math.random(0, 10) / 10) end)
app:on("unsubscribe", "doc/:id", function() sluice.sleep(math.random(0, 10) / 10) end)
]]

local function run(seed, steps, options)
  local grace = options.grace or 5
  local source = (options.slow and SLOW or "") .. APP:gsub("GRACE", grace)
  local t = kit.start(source, { files = presence.files(options.bug), seed = seed })
  local world = presence.new(t, seed, { rooms = { "a", "b" }, users = { "u1", "u2", "u3", "u4", "u5" }, grace = grace,
    slow = options.slow and 1 or 0 })
  for i = 1, steps do
    world:step()
    if i % 50 == 0 then world:settle() end
  end
  world:settle()
  kit.stop_all()
end

describe("rooms at random", function()
  after_each(kit.stop_all)

  it("tell exactly who is there, when it is due, in numbers that fit", function()
    worlds.hold(function(seed) run(seed, STEPS, {}) end, 2, 4)
  end)

  it("do so without a grace", function()
    worlds.hold(function(seed) run(seed, STEPS, { grace = 0 }) end, 2, 4)
  end)

  it("do so when hooks of the app are slow", function()
    worlds.hold(function(seed) run(seed, STEPS, { slow = true }) end, 2, 4)
  end)

  local BUGS = {
    ["a tab that closes is a leave"] = { "if next(member.streams) then return end", "" },
    ["a second tab is not noted"] = { "  member.streams[client.id] = true\n", "" },
    ["who comes back leaves all the same"] = { "if member.leaving then", "if false then" },
    ["a leave does not lower the number"] = { "= nil, room.n - 1", "= nil, room.n" },
    ["the number is the one before"] = { "data.activeUsers, data.reason = count,",
      "data.activeUsers, data.reason = count - 1," },
    ["a leave stays in what newcomers get"] = { "{ wait = false, remove = remove }", "{ wait = false }" },
    ["half the grace"] = { "self.app:after(grace,", "self.app:after(grace / 2," },
    ["no grace"] = { "local timer = grace > 0", "local timer = false" },
    ["a kick forgets the member only"] = { 'leave(text, key, "kicked")', 'find(text, key)' },
    ["a leave is told twice"] = { "room.owed[key], room.told = nil, room.told - 1",
      'tell(self, id, room, "user-left", data, true) room.owed[key] = nil' },
    ["state does not survive a reload"] = { "state = app:state(o.name, {",
      "state = (function(_, s) return function() return s end end)(o.name, {" },
    ["a newcomer with a tab hears no number"] = { "if room and room.n <= self.who.counts_above then", "if false then" },
  }

  it("are found out when they are wrong", function()
    for name, bug in pairs(BUGS) do
      local ok, problem = true, nil
      for seed = 1, 8 do
        ok, problem = pcall(run, seed, 250, { bug = bug })
        kit.stop_all()
        if not ok then break end
      end
      assert.is_false(ok, name .. " is not found")
      assert.truthy(tostring(problem):find("seed ", 1, true), name .. ": " .. tostring(problem))
    end
  end)
end)
