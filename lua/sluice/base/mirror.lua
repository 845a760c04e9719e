--- What is stored under keys, as it will be when the writes under way succeed.
--
--       begin(k, "b")        values[k] = "b" at once
--       begin(k, "c")        values[k] = "c"
--       settle("c" failed)   values[k] = "b"     the newest that can still succeed
--       settle("b" failed)   values[k] = "a"     what is stored
--
-- Writes of a key may end in any order; one that is older than what was stored last never shows
-- again. In memory: the values, and a row per write under way.
local mirror = {}

---@class sluice.Mirror
local Mirror = {}
Mirror.__index = Mirror

--- An empty one. Its field `values` is for reading: key -> value.
function mirror.new()
  return setmetatable({ values = {}, flights = {} }, Mirror)
end

--- Whether a write of a key is under way.
function Mirror:is_pending(key)
  return self.flights[key] ~= nil
end

--- What the keys have for certain; a value that writes under way replace too.
function Mirror:stored(key)
  local flight = self.flights[key]
  if flight then return flight.stored end
  return self.values[key]
end

--- A write begins: from now on it is what the key has.
-- @tparam string key
-- @param value nil: the key is deleted
-- @treturn table the write, for settle
function Mirror:begin(key, value)
  local flight = self.flights[key]
  if not flight then
    flight = { stored = self.values[key], number = 0, first = 1, last = 0 }
    self.flights[key] = flight
  end
  flight.last = flight.last + 1
  local write = { key = key, value = value, number = flight.last, ended = false }
  flight[flight.last] = write
  self.values[key] = value
  return write
end

--- A write has ended.
-- @tparam table write
-- @tparam boolean ok whether it is stored
function Mirror:settle(write, ok)
  local flight = self.flights[write.key]
  write.ended = true
  if ok and write.number > flight.number then
    flight.stored, flight.number = write.value, write.number
  end
  while flight.first <= flight.last and flight[flight.first].ended do
    flight[flight.first] = nil
    flight.first = flight.first + 1
  end
  local newest = flight.last
  while newest >= flight.first and flight[newest].ended do newest = newest - 1 end
  if newest >= flight.first and newest > flight.number then
    self.values[write.key] = flight[newest].value
  else
    self.values[write.key] = flight.stored
  end
  if flight.first > flight.last then self.flights[write.key] = nil end
end

return mirror
