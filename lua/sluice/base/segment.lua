--- Segments of channels' names: what an id has to be that stands in one, as "42" in "user/42".
-- Keeps nothing in memory.
local segment = { BYTES_MAX = 64 }

--- Whether a value is a text that can be one segment.
function segment.fits(text)
  return type(text) == "string" and #text <= segment.BYTES_MAX
    and text:find("^[%w_.@+=~-][%w_.@+=~:-]*$") ~= nil
end

--- An id, a text or an integer, as a segment.
-- @treturn string|nil nil when it can be none
function segment.of(id)
  local text = math.type(id) == "integer" and tostring(id) or id
  return segment.fits(text) and text or nil
end

return segment
