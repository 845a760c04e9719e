--- Which letter is next: those of each server in order, the servers in turn, and one server has at
--- most half of what may be under way, so that one that is slow does not hold up the others.
--- In memory: the ids of the letters that are ready.
local queue = {}

--- Plain data, which a reload hands over.
function queue.new() return { busy = 0, targets = {}, turn = {}, first = 1, last = 0 } end

local function to_turn(q, name)
  q.last = q.last + 1
  q.turn[q.last] = name
end

local function target_of(q, name)
  local t = q.targets[name] or { ids = {}, first = 1, last = 0, busy = 0 }
  q.targets[name] = t
  return t
end

local function tidy(q, name)
  local t = q.targets[name]
  if t.busy == 0 and t.first > t.last then q.targets[name] = nil end
end

--- A letter is ready.
function queue.push(q, id, row)
  local t = target_of(q, row.target)
  if t.first > t.last then to_turn(q, row.target) end
  t.last = t.last + 1
  t.ids[t.last], row.queued = id, true
end

--- The next one that may begin, or nil.
-- @tparam table q
-- @tparam integer concurrency
function queue.take(q, concurrency)
  if q.busy >= concurrency then return nil end
  local most = math.max(1, concurrency // 2)
  for _ = q.first, q.last do
    local name = q.turn[q.first]
    local t = q.targets[name]
    q.turn[q.first] = nil
    q.first = q.first + 1
    if t.busy < most then
      local id = t.ids[t.first]
      t.ids[t.first] = nil
      t.first = t.first + 1
      if t.first <= t.last then to_turn(q, name) end
      tidy(q, name)
      return id
    end
    to_turn(q, name)
  end
end

--- A letter is under way.
function queue.hold(q, row)
  local t = target_of(q, row.target)
  q.busy, t.busy, row.flying, row.queued = q.busy + 1, t.busy + 1, true, nil
end

--- ... and no longer.
function queue.release(q, row)
  local t = target_of(q, row.target)
  q.busy, t.busy, row.flying = q.busy - 1, t.busy - 1, nil
  tidy(q, row.target)
end

return queue
