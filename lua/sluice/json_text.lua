--- Work on JSON text that cjson does not do: valid UTF-8, escapes, strict numbers, and marks
--- for what decoding would lose. Pure functions; two random marks are all that is kept.
local find, sub, byte, utf8_len = string.find, string.sub, string.byte, utf8.len

local json_text = {}

-- No sender can know these, so none can send them.
local NONCE = ("%016x%016x"):format(math.random(0), math.random(0))
-- What stands in an empty array while the text is decoded.
local EMPTY = "empty array " .. NONCE
json_text.EMPTY = EMPTY
-- What precedes an integer that is decoded as a string.
local LONG = "integer " .. NONCE .. " "

-- Second bytes that may follow a lead byte, where not all of 80..BF may (Unicode table 3-7).
local SECOND = { [0xE0] = { 0xA0, 0xBF }, [0xED] = { 0x80, 0x9F }, [0xF0] = { 0x90, 0xBF },
  [0xF4] = { 0x80, 0x8F } }

-- How many bytes at 'at' one U+FFFD stands for: the longest start of a character.
local function broken_length(text, at)
  local lead = byte(text, at)
  local length = lead >= 0xC2 and lead <= 0xDF and 2 or lead >= 0xE0 and lead <= 0xEF and 3
    or lead >= 0xF0 and lead <= 0xF4 and 4 or 1
  local range = SECOND[lead] or { 0x80, 0xBF }
  for i = 1, length - 1 do
    local next_byte = byte(text, at + i)
    if not next_byte or next_byte < range[1] or next_byte > range[2] then return i end
    range = { 0x80, 0xBF }
  end
  return length
end

--- Replace bytes that are not UTF-8 by U+FFFD, as browsers do.
function json_text.valid_utf8(text)
  local _, bad = utf8_len(text)
  if not bad then return text end
  local parts, at = {}, 1
  while bad do
    parts[#parts + 1] = sub(text, at, bad - 1)
    parts[#parts + 1] = "\u{FFFD}"
    at = bad + broken_length(text, bad)
    _, bad = utf8_len(text, at)
  end
  parts[#parts + 1] = sub(text, at)
  return table.concat(parts)
end

local SEPARATORS = { ["\u{2028}"] = "\\u2028", ["\u{2029}"] = "\\u2029",
  ["\u{85}"] = "\\u0085" }

--- Make encoded text safe to send: valid UTF-8, and no line separators that some readers
--- take for the end of a line. Text that is ASCII only comes back as it is.
function json_text.escape(text)
  local length = utf8_len(text)
  if length == #text then return text end
  if not length then text = json_text.valid_utf8(text) end
  for separator, escaped in next, SEPARATORS do
    if find(text, separator, 1, true) then text = text:gsub(separator, escaped) end
  end
  return text
end

--- Could the text hold an escaped surrogate, as \ud83d?
function json_text.has_surrogates(text)
  return find(text, "\\u[dD][89a-fA-F]") ~= nil
end

--- Replace escaped surrogates without a partner by \ufffd: browsers write and read them,
--- cjson refuses them.
function json_text.replace_lone_surrogates(text)
  local parts, from, at = {}, 1, find(text, "\\", 1, true)
  while at do
    local step = 2
    if find(text, "^\\u[dD][89abAB]%x%x\\u[dD][c-fC-F]%x%x", at) then
      step = 12
    elseif find(text, "^\\u[dD][89a-fA-F]%x%x", at) then
      parts[#parts + 1] = sub(text, from, at - 1)
      parts[#parts + 1] = "\\ufffd"
      from, step = at + 6, 6
    end
    at = find(text, "\\", at + step, true)
  end
  parts[#parts + 1] = sub(text, from)
  return table.concat(parts)
end

-- The end of the string that begins with the quote at 'at'.
local function string_end(text, at)
  repeat
    at = find(text, '["\\]', at + 1)
    if at and byte(text, at) == 92 then
      at = at + 1
    elseif at then
      return at
    end
  until not at
  return #text
end

-- Call replace(piece) -> piece for the text between strings; strings stay as they are.
local function outside_strings(text, replace)
  local parts, at = {}, 1
  while at <= #text do
    local quote = find(text, '"', at, true)
    parts[#parts + 1] = replace(sub(text, at, (quote or #text + 1) - 1))
    if not quote then break end
    local last = string_end(text, quote)
    parts[#parts + 1] = sub(text, quote, last)
    at = last + 1
  end
  return table.concat(parts)
end

-- The first point that has not a digit on either side, in a number or in a string.
local function lonely_point(text)
  local point = find(text, ".", 1, true)
  while point do
    local before, _, after = byte(text, point - 1, point + 1)
    if not after or after < 48 or after > 57 or before < 48 or before > 57 then return point end
    point = find(text, ".", point + 2, true)
  end
end

--- Is there a number like 1. or -.5, which cjson accepts?
function json_text.has_loose_number(text)
  if not lonely_point(text) then return false end
  local loose = false
  outside_strings(text, function(piece)
    piece = " " .. piece .. " "
    loose = loose or find(piece, "%.%D") ~= nil or find(piece, "%D%.") ~= nil
    return piece
  end)
  return loose
end

--- Is there something like [] in the text, perhaps inside a string?
function json_text.has_empty_array(text)
  local bracket = find(text, "[", 1, true)
  while bracket do
    if find(text, "^[ \t\r\n]*%]", bracket + 1) then return true end
    bracket = find(text, "[", bracket + 1, true)
  end
  return false
end

--- Put a mark into empty arrays, which decode to the same table as empty objects.
function json_text.mark_empty_arrays(text)
  return outside_strings(text, function(piece)
    return (piece:gsub("%[[ \t\r\n]*%]", '["' .. EMPTY .. '"]'))
  end)
end

local function mark_integer(token)
  if #token < 16 or not find(token, "^-?%d+$") then return nil end
  if math.type(tonumber(token)) ~= "integer" then return nil end
  return '"' .. LONG .. token .. '"'
end

--- Make strings of the integers of 16 digits and more, which a double cannot hold.
function json_text.mark_long_integers(text)
  return outside_strings(text, function(piece)
    return (piece:gsub("%-?%d[%d.eE+-]*", mark_integer))
  end)
end

--- The integer that mark_long_integers made a string of, or the string itself.
function json_text.exact_integer(text)
  if sub(text, 1, #LONG) ~= LONG then return text end
  return tonumber(sub(text, #LONG + 1))
end

return json_text
