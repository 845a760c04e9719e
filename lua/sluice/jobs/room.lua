--- Room for the jobs of sluice.jobs: what a row holds, and which of those that ended are forgotten.
--- Keeps nothing in memory.
local owned = require("sluice.base.owned")
local sluice = require("sluice")

local room = { BYTES_MAX = 64 << 20, ENDED_MAX = 10000 }
local ROW_BYTES = 400 -- of a row in the store beside its texts

--- What a row holds: also a result that is not on the disk yet.
function room.size_of(s, row)
  local result = row.result or row.outcome and row.outcome.result
  return #(s.args[row.id] or "") + #(result or "") + #(row.saved or "")
end

-- Forget the job that ended first, before its time: pages are told, whose state holds it.
-- @treturn integer the bytes that it had; 0: there is none
local function forget_first(self, s)
  local bytes = 0
  owned.forget(s.ended, 0, s.ended.last - s.ended.first, function(id)
    local row = s.rows[id]
    if not (row and row.ended) then return end
    bytes = room.size_of(s, row) + ROW_BYTES
    self:remove(row)
    self.forgotten(row)
  end)
  return bytes
end

--- Forget what ended long ago, or is too much. Its field `forgotten` is called with each row that
-- is forgotten before `keep` is over.
-- @tparam[opt=0] integer bytes that there shall be room for
function room.forget(self, bytes)
  local s = self.state()
  owned.forget(s.ended, sluice.time() - self.o.keep, math.maxinteger, function(id)
    local row = s.rows[id]
    if row and row.ended then self:remove(row) end
  end)
  local most = room.BYTES_MAX - (bytes or 0)
  while s.ended.first <= s.ended.last
    and (s.bytes > most or s.ended.last - s.ended.first + 1 > room.ENDED_MAX) do
    forget_first(self, s)
  end
end

--- Forget what ended first, as much as a row needs.
-- @treturn boolean whether something is forgotten
function room.make_room(self, row)
  local s = self.state()
  local need = room.size_of(s, row) + #(row.fields or "") + #(row.first or "") + ROW_BYTES
  local got = 0
  while got < need and s.ended.first <= s.ended.last do got = got + forget_first(self, s) end
  return got > 0
end

return room
