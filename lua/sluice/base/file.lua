--- A whole file as a text. Keeps nothing in memory.
local file = {}

--- Read a file.
-- @tparam string path
-- @tparam[opt] integer most bytes that are read; without it all are
-- @treturn string|nil the text; or nil, message, errno (21 for a folder)
function file.read(path, most)
  local handle, message, code = io.open(path, "rb")
  if not handle then return nil, message, code end
  local text
  text, message, code = handle:read(most or "a")
  handle:close()
  if text or not code then return text or "" end -- an empty file has nothing to count
  return nil, message, code
end

return file
