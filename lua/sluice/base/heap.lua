--- A heap of timer entries ordered by time, then by order of arrival.
-- An entry is a table; the heap writes `at`, `order` and `index` into it. Memory: one slot
-- per entry that is neither due nor removed.
local heap = {}

local Heap = {}
Heap.__index = Heap

local function sooner(a, b)
  return a.at < b.at or a.at == b.at and a.order < b.order
end

local function put(self, entry, index)
  self[index], entry.index = entry, index
end

local function rise(self, entry, index)
  while index > 1 do
    local up = index // 2
    if not sooner(entry, self[up]) then break end
    put(self, self[up], index)
    index = up
  end
  put(self, entry, index)
end

local function sink(self, entry, index)
  local n = self.n
  while true do
    local down = index * 2
    if down > n then break end
    if down < n and sooner(self[down + 1], self[down]) then down = down + 1 end
    if not sooner(self[down], entry) then break end
    put(self, self[down], index)
    index = down
  end
  put(self, entry, index)
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
  local index = entry.index
  if not index then return false end
  local last = self[self.n]
  self[self.n] = nil
  self.n, entry.index = self.n - 1, nil
  if last ~= entry then
    rise(self, last, index)
    sink(self, last, last.index)
  end
  return true
end

--- The entry that is due first, or nil.
function Heap:first()
  return self[1]
end

return heap
