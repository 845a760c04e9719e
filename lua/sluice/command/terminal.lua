--- What people read on a terminal: colours there alone, and the bytes of strangers made harmless.
-- Keeps nothing in memory.
local core = require("sluice.core")

local terminal = {}

local CODES = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33", cyan = "36" }

local function wants_colour(file)
  local descriptor = file == io.stdout and 1 or file == io.stderr and 2
  return descriptor and core.is_terminal(descriptor) and (os.getenv("NO_COLOR") or "") == ""
    and os.getenv("TERM") ~= "dumb"
end

--- A function that colours texts for a file: not when it is no terminal, nor with NO_COLOR.
-- @tparam file file
-- @treturn function paint(style, text) -> text
function terminal.painter(file)
  if not wants_colour(file) then return function(_, text) return text end end
  return function(style, text) return ("\27[%sm%s\27[0m"):format(CODES[style], text) end
end

local function escaped(bytes)
  return ("\\u{%X}"):format(utf8.codepoint(bytes))
end

--- A text whose bytes do nothing to a terminal: control characters and those that turn the
-- direction of what is written are spelled out, but for tabs and line ends.
-- @tparam string text
-- @treturn string
function terminal.safe(text)
  text = core.encode_utf8(text):gsub("[%c\127]", function(c)
    if c == "\n" or c == "\t" then return c end
    return ("\\x%02x"):format(c:byte())
  end)
  text = text:gsub("\xC2[\x80-\x9F]", escaped):gsub("\xE2\x80[\x8E\x8F\xAA-\xAE]", escaped)
  return (text:gsub("\xE2\x81[\xA6-\xA9]", escaped))
end

--- The time of day with milliseconds.
-- @tparam number seconds since 1970
-- @treturn string
function terminal.time(seconds)
  return os.date("%H:%M:%S", math.floor(seconds)) .. ("%.3f"):format(seconds % 1 // 0.001 / 1000)
    :sub(2)
end

return terminal
