--- The protocol of Redis, written apart from csrc/cluster/resp.c: commands out, replies in; the other way, as a
--- server has it: lua/sluice/testing/resp.lua.
--- A reply: a text, an integer, false (nil), { err = text }, { ok = text }, or a list.
local served = require("sluice.testing.resp")

local resp = { reply = served.reply }

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

return resp
