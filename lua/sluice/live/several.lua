--- What of an app would be otherwise on several nodes: each with its line, and what to do about it.
--- Found in what it registers and, for what is only called, in its text. Keeps nothing in memory.
local sources = require("sluice.live.sources")
local store = require("sluice.app.store")

local several = {}

local STATE = "each node has a table of its own: what all nodes must have belongs into a state "
  .. "channel (app:latest), a change of it into app:tell, a figure of this machine into a channel "
  .. "with shared = false"
local OWN = "each node has its own, and clients get that of theirs: a timer or service that "
  .. 'publishes to it needs per = "node"'
local START = "runs on every node: what is to be done once belongs into a timer, a service or a "
  .. "task"
local NODE = 'per = "node": runs on every node; without it, on the one that leads'
local LIMITS = "each node counts by itself: together they let n times as much through"
local BY_NODE = LIMITS .. '; counted = "cluster" counts over all'
local KEPT = "does not start without --cluster-durable, which says when Redis has kept an event: "
  .. "aof or wait:N"

-- Modules of Sluice that do the same on several nodes, whatever they register.
local SAME = { rooms = true, alerts = true, changes = true, jobs = true, inbox = true,
  outbox = true, auth = true, system = true }

-- What is only called. Others than these do the same everywhere.
local CALLS = {
  { "%f[%w_]app%s*:%s*clients%s*%(", "app:clients", "lists the clients of this node" },
  { "%f[%w_]app%s*:%s*client%s*%(", "app:client", "finds a client of this node; app:send reaches "
    .. "those of all" },
  { "%f[%w_]app%s*:%s*channels%s*%(", "app:channels", "lists what this node holds" },
}

local function sorted_names(rows)
  local names = {}
  for name in pairs(rows) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- A channel that the app, and no module of Sluice's, has declared durable names itself.
local function kept(generation, add)
  for _, policy in ipairs(generation.policies) do
    if policy.durable then
      add(policy.where, ("durable channel '%s'"):format(policy.pattern), KEPT, true)
    end
  end
end

-- Those that are meant to be.
local function unshared(generation, add)
  for _, policy in ipairs(generation.policies) do
    if policy.shared == false then
      add(policy.where, ("channel '%s'"):format(policy.pattern), OWN)
    end
  end
end

-- Those that do not count over all nodes.
local function limits(generation, add)
  for _, path in ipairs(generation.files) do
    local text = sources.without_comments(generation.sources[path] or "")
    for at, given in text:gmatch("()%f[%w_]auth%s*:%s*limit%s*(%b())") do
      local _, lines = text:sub(1, at):gsub("\n", "")
      if not given:find("counted%s*=%s*[\"']cluster") then
        add(("%s:%d"):format(path, lines + 1), "auth:limit", BY_NODE)
      end
    end
  end
end

--- What would be otherwise.
-- @tparam sluice.Generation generation
-- @treturn {table,...} { where, what, why, refused }, by line; refused: it would not start
function several.of(generation)
  local list = {}
  local function add(where, what, why, refused)
    list[#list + 1] = { where = where, what = what, why = why, refused = refused or false }
  end
  kept(generation, add)
  unshared(generation, add)
  for _, name in ipairs(sorted_names(generation.states)) do
    local state = generation.states[name]
    if not SAME[state.module] then add(state.where, ("state '%s'"):format(name), STATE) end
  end
  local function note_per_node(kind, row)
    if row.per ~= "node" or SAME[row.module] then return end
    add(row.where, ("%s '%s'"):format(kind, row.name), NODE)
  end
  for _, timer in ipairs(generation.timers) do note_per_node("timer", timer) end
  for _, name in ipairs(sorted_names(generation.services)) do
    note_per_node("service", generation.services[name])
  end
  if generation.limits then add(generation.limits.where, "app:limits", LIMITS) end
  for _, hook in ipairs(generation.hooks.start or {}) do
    if not SAME[hook.module] then add(hook.where, "hook 'start'", START) end
  end
  limits(generation, add)
  sources.find(generation, CALLS, function(where, row) add(where, row[2], row[3]) end)
  return list
end

--- Whether it would start with --cluster and nothing more.
-- @tparam sluice.Generation generation
-- @treturn boolean
function several.can_start(generation) return not store.has_durable(generation) end

return several
