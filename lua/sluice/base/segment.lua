--- Segments of channels' names: what an id has to be that stands in one, as "42" in "user/42".
-- Keeps nothing in memory.
local segment = { BYTES_MAX = 64 }

--- Whether a value is a text that can be one segment.
function segment.fits(text)
  return type(text) == "string" and #text <= segment.BYTES_MAX
    and text:find("^[%w_.@+=~-][%w_.@+=~:-]*$") ~= nil
end

return segment
