--- Text in HTML. Keeps nothing in memory.
local html = {}

local ENTITY = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
  ["'"] = "&#39;" }

--- A text as it is written in HTML, between tags and in quoted attributes.
-- @tparam string|number|boolean text
-- @treturn string
function html.escape(text)
  return (tostring(text):gsub("[&<>\"']", ENTITY))
end

--- The lines of a text, without their ends, of whichever kind.
-- @tparam string text
-- @treturn {string,...} one at least
function html.lines(text)
  local list = {}
  for line in (text:gsub("\r\n?", "\n") .. "\n"):gmatch("([^\n]*)\n") do list[#list + 1] = line end
  return list
end

return html
