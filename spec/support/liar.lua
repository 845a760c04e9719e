--- A real redis-server, seen through one that lies: it answers as the real one does, but for what it is told. Step by
--- step in the spec's own process, as all of spec/support/middle.lua.
---   local liar = liars.start(server)         liar.port, liar:step(), liar:shut()
---   liar.lie = function(kind, reply, words)  kind: of a script its name ("pub", "beat", "load", "join"), else the
---                                            command in capitals; reply: what is true
---       -> nil: the truth; bytes in place of it; or bytes, "over": the connection ends behind them
local middle = require("spec.support.middle")
local resp = require("spec.support.resp")
local scripts = require("sluice.core.testing_scripts")

local liars = {}

--- A version that says WAITAOF, and how many disks have what is asked for. The real one is older.
function liars.say_newer(kind, reply, has)
  if kind == "WAITAOF" then return resp.reply { has, 0 } end
  if kind == "INFO" then return resp.reply((reply:gsub("redis_version:[%d.]+", "redis_version:7.2.4"))) end
end

-- Nothing here may block: who asks for what comes later asks again.
local function ask(server, words)
  local copy = { table.unpack(words) }
  if copy[4] == "BLOCK" then
    table.remove(copy, 4)
    table.remove(copy, 4)
  end
  return server:call(table.unpack(copy))
end

function liars.start(server)
  local names, liar = {}, nil
  local texts = {}
  for name, text in pairs(scripts.texts()) do texts[text] = name end
  liar = middle.fake(function(words, conn)
    local kind = words[1]:upper()
    local reply = kind == "WAITAOF" and { err = "ERR unknown command" } or ask(server, words)
    if kind == "SCRIPT" and words[3] then names[reply] = texts[words[3]] end
    if kind == "EVALSHA" then kind = names[words[2]] or kind end
    local bytes, over = nil, nil
    if liar.lie then bytes, over = liar.lie(kind, reply, words) end
    conn.over = over == "over"
    return bytes or resp.reply(reply)
  end)
  return liar
end

return liars
