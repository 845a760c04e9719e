--- A heap of timer entries ordered by time, then by order of arrival.
-- An entry is a table; the heap writes `at`, `order` and `place` into it. Memory: one slot
-- per entry that is neither due nor removed.
local heap = {}

local Heap = {}
Heap.__index = Heap

local function sooner(a, b)
  return a.at < b.at or a.at == b.at and a.order < b.order
end

local function put(self, entry, place)
  self[place], entry.place = entry, place
end

local function rise(self, entry, place)
  while place > 1 do
    local up = place // 2
    if not sooner(entry, self[up]) then break end
    put(self, self[up], place)
    place = up
  end
  put(self, entry, place)
end

local function sink(self, entry, place)
  local n = self.n
  while true do
    local down = place * 2
    if down > n then break end
    if down < n and sooner(self[down + 1], self[down]) then down = down + 1 end
    if not sooner(self[down], entry) then break end
    put(self, self[down], place)
    place = down
  end
  put(self, entry, place)
end

--- An empty heap.
function heap.new()
  return setmetatable({ n = 0, count = 0 }, Heap)
end

--- Add an entry.
-- @tparam number at
-- @tparam table entry
-- @treturn table the entry
function Heap:add(at, entry)
  self.n, self.count = self.n + 1, self.count + 1
  entry.at, entry.order = at, self.count
  rise(self, entry, self.n)
  return entry
end

--- Take an entry out; false when it is not in the heap.
function Heap:remove(entry)
  local place = entry.place
  if not place then return false end
  local last = self[self.n]
  self[self.n] = nil
  self.n, entry.place = self.n - 1, nil
  if last ~= entry then
    rise(self, last, place)
    sink(self, last, last.place)
  end
  return true
end

--- The entry that is due first, or nil.
function Heap:first()
  return self[1]
end

return heap
