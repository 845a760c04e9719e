--- Rooms at random over three nodes: as rooms_random_spec, with nodes that die, are stopped or cut off, and a Redis
--- that loses its last events. The judge (spec/support/presence.lua) knows nothing of nodes. The pages that watch are
--- on node 1, which dies never, leads or not. SEED=n repeats what fails; with planted bugs.
local kit = require("spec.support.kit")
local presence = require("spec.support.presence")
local testing = require("sluice.testing")
local worlds = require("spec.support.worlds")

if not require("sluice.core").build().libraries.hiredis then
  describe("rooms at random over nodes", function() pending("built without hiredis") end)
  return
end

local FULL = os.getenv("SLUICE_SPEC_FULL")
local STEPS = FULL and 2000 or 50

local APP = [[
local rooms = require("my_rooms").new(app, { name = "doc", grace = 3, max_members = 100 })
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

-- A cluster as the world sees one process: each request goes to any node that is up.
local Many = {}
Many.__index = Many

local function many(seed, bug)
  local t = testing.start({ source = kit.source(APP), files = presence.files(bug) }, { nodes = 3, seed = seed })
  t:advance(12)
  return setmetatable({ t = t, place = t.place, down = {}, dice = nil }, Many)
end

function Many:any()
  local n = self.dice and self.dice(3) or 1
  return self.down[n] and 1 or n
end

function Many:connect(path, o)
  local n = o.user == "watcher" and 1 or self:any()
  local c = self.t:node(n):connect(path, o)
  return c, n
end

function Many:get(...) return self.t:node(self:any()):get(...) end
function Many:post(...) return self.t:node(self:any()):post(...) end
function Many:advance(seconds) self.t:advance(seconds) end
function Many:reload() return self.t:node(self:any()):reload() end
function Many:log(level) return self.t:log(level) end

-- What happens to node n, of which a page on node 1 is told in 15 s and a little.
local FAULTS = {
  function(self, world, n)
    world:lose(n)
    self.t:node(n):crash()
    self.down[n] = true
    self.t:advance(20)
    world:look()
    self.t:node(n):restart()
    self.down[n] = nil
    self.t:advance(2)
  end,
  function(self, world, n)
    self.t:node(n):freeze(25)
    self.down[n] = true
    self.t:advance(20)
    world:look()
    self.t:advance(12)
    self.down[n] = nil
  end,
  function(self, world, n)
    self.t:partition(n)
    self.down[n] = true
    self.t:advance(20)
    world:look()
    self.t:heal()
    self.t:advance(10)
    self.down[n] = nil
  end,
}

local function run(seed, steps, bug)
  local t = many(seed, bug)
  local world = presence.new(t, seed, { rooms = { "a", "b" }, users = { "u1", "u2", "u3", "u4", "u5" }, grace = 3,
    slow = 1 })
  t.dice = function(n) return world:random(n) end
  function world:kill()
    self:look()
    FAULTS[self:random(#FAULTS)](t, self, self:random(2) + 1)
  end
  local ok, problem = pcall(function()
    for i = 1, steps do
      world:step()
      if i % 25 == 0 then
        world:kill()
        world:settle()
      end
    end
    world:settle()
  end)
  t.t:stop()
  if not ok then error(problem, 0) end
end

describe("rooms at random over nodes", function()
  it("tell exactly who is there, in numbers that fit", function()
    worlds.hold(function(seed) run(seed, STEPS) end, 1, 4)
  end)

  local BUGS = {
    ["rows stay when their node dies"] = { "{ lease = true, wait = false }", "{ wait = false }" },
    ["a tab that closes on one node is a leave"] = { "if next(member.rows) == nil then", "if true then" },
    ["who leads next does not know what was told"] = { "for _, row in ipairs(rows) do told.keys[row.key] = "
      .. "row.data.userId end", "" },
    ["a leave stays in what newcomers get"] = { "data, { remove = true })", "data, {})" },
    ["nobody is told of members of other nodes"] = { "  s.touched[value.room] = true\nend", "end" },
    ["a page that comes back leaves all the same"] = { "own.streams[client.id], own.leave_at = true, nil",
      "own.streams[client.id] = true" },
    ["what was missed is not looked up"] = { "if event.missed then self:look_through()",
      "if event.missed then self.state().is_unsure = false" },
  }

  it("are found out when they are wrong", function()
    if not FULL then return pending("takes half a minute: full size only") end
    for name, bug in pairs(BUGS) do
      local ok, problem = true, nil
      for seed = 1, 10 do
        ok, problem = pcall(run, seed, 100, bug)
        if not ok then break end
      end
      assert.is_false(ok, name .. " is not found")
      assert.truthy(tostring(problem):find("seed ", 1, true), name .. ": " .. tostring(problem))
    end
  end)
end)
