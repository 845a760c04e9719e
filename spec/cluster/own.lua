--- Channels of one node (shared = false) in the worlds of fans.lua: a state and a log without history, which each
--- node has for itself, also while it is away from the server. And their judge, which knows what nodes have published
--- and what clients read, and nothing of fans: what is a node's own reaches those who follow it there, all of it once
--- and in order, and nobody else; it has no id, and no reset but where a reload changed what it is.
local own = {}

local STATE, LOG = "m", "n"
local KEYS = 3

own.CHANNELS, own.IS = { STATE, LOG }, { [STATE] = true, [LOG] = true }

local function bad(world, what) world.own_bad[what] = (world.own_bad[what] or 0) + 1 end

function own.start(world) world.n_own, world.own_bad = 0, {} end

-- ---- A node -----------------------------------------------------------------------------------

--- What it has published since its process began: the log with a mark where the channels were changed, the values,
--- and all that was ever a value; and how often values went with a change.
function own.new(node)
  node.own = { log = {}, values = {}, all = {}, emptied = 0, flips = 0, is_shared = false }
end

function own.policies(node)
  local is_local = not node.own.is_shared
  return { pattern = STATE, history = "latest", key = "k", shared = not is_local },
    { pattern = LOG, history = is_local and 0 or 6, shared = not is_local }
end

--- It publishes something of its own.
function own.publish(node)
  local world, mine = node.world, node.own
  if mine.is_shared then return end
  world.n_own = world.n_own + 1
  local id, is_state = world.n_own, world:chance(0.5)
  local key = is_state and "k" .. world.random(KEYS) or ""
  local name = is_state and STATE or LOG
  if not node.sim:publish(name, name, key .. ":" .. id, key, false, is_state, true) then return end
  world.count.own = (world.count.own or 0) + 1
  if is_state then mine.values[key], mine.all[id] = id, true
  else mine.log[#mine.log + 1] = id end
end

--- A reload: its channels become ones of all nodes, where nothing is published, or its own again.
function own.flip(node, configure)
  local mine = node.own
  mine.is_shared, mine.flips = not mine.is_shared, mine.flips + 1
  configure()
  if not mine.is_shared then return end
  mine.log[#mine.log + 1] = "flip"
  if next(mine.values) then mine.emptied = mine.emptied + 1 end
  mine.values = {}
end

-- ---- A client ---------------------------------------------------------------------------------

--- It comes to a node: what it follows there from now on.
function own.attach(client, node)
  local mine = node.own
  client.own = { mine = mine, at = #mine.log, view = {}, newest = {}, emptied = mine.emptied,
    flips = mine.is_shared and -1 or mine.flips }
end

--- The next event of the log that it has to get, if it has had all of those before.
local function next_place(seen)
  local at = seen.at + 1
  while seen.mine.log[at] == "flip" do at = at + 1 end
  return at
end

local function see_log(world, seen, id)
  local at = next_place(seen)
  if seen.mine.log[at] == id then
    seen.at = at
    return
  end
  for i, other in ipairs(seen.mine.log) do
    if other == id then return bad(world, i < at and "an own event again" or "an own event is lost") end
  end
  bad(world, "an own event of another node")
end

--- What was still to come when the channel was changed is lost. A change at which nothing was has no reset: this one
--- is of the first at which something was.
local function see_log_reset(world, seen)
  local at = next_place(seen)
  while seen.mine.log[at] and seen.mine.log[at] ~= "flip" do at = at + 1 end
  if not seen.mine.log[at] then return bad(world, "a needless reset of an own log") end
  seen.at = at
end

local function see_value(world, seen, key, id)
  if not seen.mine.all[id] then bad(world, "an own value of another node") end
  if id <= (seen.newest[key] or 0) then bad(world, "an own value again") end
  seen.newest[key], seen.view[key] = id, id
end

--- A block of a channel of the node's own: the name of its event, its fields, or nil; then it is one of others.
function own.read(fields)
  local name = fields.event
  if not own.IS[name] then return nil end
  local key, id = fields.data:match("^(%w*):(%d+)$")
  return { what = "own", channel = name, key = key, own = tonumber(id), has_id = fields.id ~= nil }
end

--- The client takes it, in the order in which it was sent. Whether it was of an own channel.
function own.see(client, one)
  local world, seen = client.world, client.own
  if not own.IS[one.channel] then return false end
  if one.what == "reset" then
    if one.why ~= "trimmed" then
      if seen.mine.flips == seen.flips then bad(world, "an own channel has a reset " .. one.why) end
    elseif one.channel == STATE then seen.view, seen.emptied = {}, seen.emptied + 1
    else see_log_reset(world, seen) end
    return true
  end
  if one.has_id then bad(world, "an own event has an id") end
  if one.channel == STATE then see_value(world, seen, one.key, one.own) else see_log(world, seen, one.own) end
  return true
end

-- ---- The end ----------------------------------------------------------------------------------

local function judge_client(world, client)
  local seen = client.own
  if seen.mine.log[next_place(seen)] then bad(world, "an own event is lost") end
  for key, id in pairs(seen.mine.values) do
    if seen.view[key] ~= id then bad(world, "another own value") end
  end
  for key in pairs(seen.view) do
    if not seen.mine.values[key] then bad(world, "an own value that is not there") end
  end
  if seen.emptied ~= seen.mine.emptied then bad(world, "an own state was emptied, untold") end
end

--- Adds what is wrong, when all is well for a while and all clients have read all.
function own.judge(world, all)
  for _, client in ipairs(world.clients) do
    if client.open and client.own then judge_client(world, client) end
  end
  for what, n in pairs(world.own_bad) do all[what] = (all[what] or 0) + n end
end

return own
