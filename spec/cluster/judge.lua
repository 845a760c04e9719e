--- Judges a world when it is over: what each client read against what the server has, and what each publisher was
--- told. Knows nothing of machines and rings. Returns what is wrong, by name, with how often.
local own = require("spec.cluster.own")

local judge = {}

local function add(bad, what, n) bad[what] = (bad[what] or 0) + (n or 1) end

--- Place of each event of a channel among those that there are.
local function places_of(all)
  local places = {}
  for i, entry in ipairs(all) do places[entry.seq .. ":" .. entry.id] = i end
  return places
end

--- Epochs whose events may still be there. Those of a lost one have numbers that were given again.
local function epochs_of(world)
  local state, epochs = world.master.state, {}
  if not state then return setmetatable(epochs, { __index = function() return true end }) end
  if state.epoch then epochs[state.epoch] = true end
  for _, row in ipairs(state.lineage) do epochs[row.epoch] = true end
  return epochs
end

local function judge_publishes(world, bad)
  local copies, newest = {}, {}
  for _, channel in ipairs(world.channels) do
    for _, entry in ipairs(world.master:all(channel)) do copies[entry.id] = (copies[entry.id] or 0) + 1 end
  end
  for id, publish in ipairs(world.publishes) do
    local n = copies[id] or 0
    if n > 1 then add(bad, "stored twice") end
    if publish.code and publish.code ~= "ETIMEOUT" and n > 0 then add(bad, "refused, and stored") end
    if not publish.answered then add(bad, "never answered") end
  end
  for _, channel in ipairs(world.channels) do
    for _, entry in ipairs(world.master:all(channel)) do
      local from = channel .. entry.slot
      if (newest[from] or 0) > entry.id then add(bad, "stored in another order than published") end
      newest[from] = math.max(newest[from] or 0, entry.id)
    end
  end
end

--- What one client read of one channel: in order, all of it, each once; a reset says what is not so.
local function judge_events(world, client, channel, all, bad)
  local places, seen, previous, since, moved = places_of(all), {}, nil, false, false
  local epochs = epochs_of(world)
  for _, one in ipairs(client.got) do
    if one.what == "cut" then moved = true
    elseif one.channel ~= channel then previous = previous -- of another
    elseif one.what == "reset" then since, seen, moved = true, {}, false
    else
      if seen[one.event] then add(bad, "repeat") end
      seen[one.event] = true
      local place = epochs[one.id.epoch] and places[one.id.seq .. ":" .. one.event]
      if place and previous then
        local back = place <= previous and (not since or place < previous and world.lossy == 0)
        if back then add(bad, "order")
        elseif place > previous + 1 and not since then add(bad, "silent loss", place - previous - 1)
        elseif since and place == previous + 1 and world.doubt == 0 and not moved then add(bad, "needless reset") end
      end
      if place then previous, since = place, false end
    end
  end
  if #all > 0 and (since or previous ~= #all) and client.got[1] then add(bad, "silent loss") end
end

--- Events that are gone: whoever had them, or could have waited for them, was told. Nobody can tell of those that a
--- master that was alone has acknowledged, where writes need no replica, to a node that died before it was heard.
local function judge_lost(world, client, channel, here, bad)
  local mine, last_reset = {}, -1
  for _, one in ipairs(client.got) do
    if one.channel == channel and one.what == "reset" then last_reset = math.max(last_reset, one.at) end
    if one.channel == channel and one.what == "event" then mine[one.event] = one.at end
  end
  for id, publish in ipairs(world.publishes) do
    if publish.channel == channel and not here[id] then
      local awaited = publish.answered and not publish.code and not mine[id] and publish.stored > client.began
      local told = last_reset >= (publish.lost or 0)
      if awaited and not told and publish.forgotten then world.count.forgotten = (world.count.forgotten or 0) + 1
      elseif awaited and not told then add(bad, "lost, untold") end
      if mine[id] and last_reset < mine[id] then add(bad, "phantom, untold") end
    end
  end
end

--- A loss is told once: when the epoch ends that it was of. What may have been stored later, by a master that was
--- alone, is told by who saw it: to readers of others, and to its own that came with an id of this epoch.
local function judge_tales(world, client, channel, bad)
  local by = {}
  for _, publish in ipairs(world.publishes) do
    for index in pairs(publish.channel == channel and publish.marked_by or {}) do by[index] = true end
  end
  for _, tale in ipairs(client.tales or {}) do -- nodes of a test keep none
    local due, marked = tale.epochs + (tale.came == "earlier" and 1 or 0), false
    for index in pairs(by) do marked = marked or index ~= tale.node or tale.came == "ours" end
    local more = (tale.resets[channel] or 0) - due
    if more > 0 and not marked then add(bad, "told twice", more) end
  end
end

--- What clients see of a state is what the server has.
local function judge_view(world, client, bad)
  local values = world.master.state and world.master.state.values.s or {}
  for key, entry in pairs(values) do
    if client.view[key] ~= entry.id then add(bad, "another value") end
  end
  for key in pairs(client.view) do
    if not values[key] then add(bad, "a value that is not there") end
  end
end

function judge.world(world)
  local bad = {}
  judge_publishes(world, bad)
  if world.owns then own.judge(world, bad) end
  for _, client in ipairs(world.clients) do
    if not client.open or not client.began then add(bad, "stuck") end
    if client.view and client.open then judge_view(world, client, bad) end
    for _, channel in ipairs(client.open and client.began and client.channels or {}) do
      if channel == "s" then break end -- its last one, a state
      local all, here = world.master:all(channel), {}
      for _, entry in ipairs(all) do here[entry.id] = true end
      judge_events(world, client, channel, all, bad)
      judge_lost(world, client, channel, here, bad)
      judge_tales(world, client, channel, bad)
    end
  end
  return bad
end

return judge
