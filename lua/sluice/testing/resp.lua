--- The protocol of Redis, as a server has it: bytes to words, replies to bytes. Keeps nothing in
-- memory. A reply: a text, an integer, false (nil), { err = text }, { ok = text }, or a list.
local resp = {}

--- The words of the command that begins at a place, and where the next one does.
-- @tparam string bytes whole commands
-- @tparam[opt=1] integer at
-- @treturn {string,...} words
-- @treturn integer
function resp.words(bytes, at)
  local n, from = bytes:match("^%*(%d+)\r\n()", at or 1)
  local words = {}
  for i = 1, tonumber(n) do
    local length, begin = bytes:match("^%$(%d+)\r\n()", from)
    words[i] = bytes:sub(begin, begin + length - 1)
    from = begin + length + 2
  end
  return words, math.tointeger(from)
end

--- The bytes of a reply.
-- @param value
-- @treturn string
function resp.reply(value)
  if value == false or value == nil then return "$-1\r\n" end
  if math.type(value) == "integer" then return (":%d\r\n"):format(value) end
  if type(value) == "string" then return ("$%d\r\n%s\r\n"):format(#value, value) end
  if value.err then return "-" .. value.err .. "\r\n" end
  if value.ok then return "+" .. value.ok .. "\r\n" end
  local out = { ("*%d\r\n"):format(#value) }
  for i, item in ipairs(value) do out[i + 1] = resp.reply(item) end
  return table.concat(out)
end

return resp
