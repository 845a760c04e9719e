--- Text that comes as bytes in pieces: what is whole of it, and what the next one has to complete.
--- Keeps nothing in memory.
local pieces = {}

local UNKNOWN = "\u{FFFD}"

-- How long the character is whose first byte this is; nil when it begins none.
local function length_of(byte)
  if byte >= 0xC2 and byte <= 0xDF then return 2 end
  if byte >= 0xE0 and byte <= 0xEF then return 3 end
  if byte >= 0xF0 and byte <= 0xF4 then return 4 end
end

-- Whether bytes from a place on are the beginning of a character, and nothing else.
local function is_beginning(text, at)
  local wanted, n = length_of(text:byte(at)), #text - at + 1
  if not wanted or n >= wanted then return false end
  local rest = ("\x80\x80\x80"):sub(1, wanted - n)
  -- its second byte decides whether it can become one: E0, ED, F0 and F4 exclude some
  if n > 1 then return utf8.len(text:sub(at) .. rest) ~= nil end
  return true
end

--- Split bytes into whole characters and the beginning of one. Bytes that are no UTF-8 become
-- U+FFFD.
-- @tparam string bytes
-- @treturn string UTF-8
-- @treturn string at most three bytes
function pieces.split(bytes)
  local out, from = {}, 1
  while true do
    local fine, at = utf8.len(bytes, from)
    if fine then break end
    out[#out + 1] = bytes:sub(from, at - 1)
    if is_beginning(bytes, at) then return table.concat(out), bytes:sub(at) end
    out[#out + 1] = UNKNOWN
    from = at + 1
  end
  out[#out + 1] = bytes:sub(from)
  return table.concat(out), ""
end

--- The first characters of a text, of at most so many bytes.
-- @tparam string text UTF-8
-- @tparam integer most
-- @treturn string them
-- @treturn string the rest
function pieces.cut(text, most)
  if #text <= most then return text, "" end
  local at = utf8.offset(text, 0, most + 1)
  return text:sub(1, at - 1), text:sub(at)
end

--- What stands for the beginning of a character that is never completed.
function pieces.lost(tail) return tail == "" and "" or UNKNOWN end

return pieces
