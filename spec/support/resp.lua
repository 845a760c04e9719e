--- The protocol of Redis, written apart from csrc/cluster/resp.c: words to bytes, bytes to replies, and back.
--- A reply: a text, an integer, false (nil), { err = text }, { ok = text }, or a list.
local resp = {}

--- The bytes of a command.
function resp.command(...)
  local words = { ... }
  local out = { ("*%d\r\n"):format(#words) }
  for _, word in ipairs(words) do
    word = tostring(word)
    out[#out + 1] = ("$%d\r\n%s\r\n"):format(#word, word)
  end
  return table.concat(out)
end

--- The words of a command's bytes.
function resp.words(bytes)
  local n, at = bytes:match("^%*(%d+)\r\n()")
  local words = {}
  for i = 1, tonumber(n) do
    local length, from = bytes:match("^%$(%d+)\r\n()", at)
    words[i] = bytes:sub(from, from + length - 1)
    at = from + length + 2
  end
  assert(at == #bytes + 1, "more than a command")
  return words
end

--- The next reply. read_line() gives a line without its end, read(n) so many bytes.
function resp.read(read_line, read)
  local line = read_line()
  local kind, rest = line:sub(1, 1), line:sub(2)
  if kind == "+" then return rest end
  if kind == "-" then return { err = rest } end
  local n = math.tointeger(tonumber(rest))
  if kind == ":" then return n end
  if n < 0 then return false end
  if kind == "$" then return (read(n + 2):sub(1, n)) end
  assert(kind == "*", line)
  local list = {}
  for i = 1, n do list[i] = resp.read(read_line, read) end
  return list
end

--- The bytes of a reply.
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
