--- Publishers: each has several lanes, and a lane one POST at a time. What was asked and answered
--- is written down, a line each, apart by tabs:
---
---   12.01  ask      3.2-17  dlog  key  flags  data      flags: i (idempotency), w (wait = false), r (remove)
---   12.02  ok       3.2-17  <id>  duplicate|new
---   12.02  no       3.2-17  ESTORE                      refused: never to be seen
---   12.02  unknown  3.2-17                              no answer, or ETIMEOUT
--- A token is publisher.lane-number; an attempt again has the same one. Keys belong to a lane, so that the
--- numbers of a key's values only rise.
local http = require("spec.support.http")
local json = require("sluice.json")
local socket = require("socket")
local world = require("spec.kills.world")

local publisher = {}

local Lane = {}
Lane.__index = Lane

local PADDINGS = { 0, 0, 0, 10, 40, 200, 900 }

function publisher.lane(p, l, rng, log)
  return setmetatable({ name = p .. "." .. l, number = 0, rng = rng, log = log }, Lane)
end

local function note(self, ...)
  self.log[#self.log + 1] = ("%.6f\t%s"):format(socket.gettime(), table.concat({ ... }, "\t"))
end

local function make(self, channel)
  self.number = self.number + 1
  local c = world.channels[channel]
  local op = { token = self.name .. "-" .. self.number, channel = channel, flags = "" }
  op.data = op.token .. " " .. ("x"):rep(PADDINGS[self.rng(#PADDINGS)])
  op.key = c.kind ~= "log" and self.name .. "k" .. self.rng(3) or ""
  if self.plain then return op end
  local flavour = self.rng(10)
  if c.durable and flavour <= 4 then op.flags = "i" end
  if c.durable and flavour == 5 then op.flags = "w" end
  if op.key ~= "" and self.rng(6) == 1 then op.flags = op.flags .. "r" end
  return op
end

local function connect(port)
  local sock = socket.tcp4()
  sock:settimeout(5)
  if not sock:connect("127.0.0.1", port) then
    sock:close()
    return nil
  end
  sock:setoption("tcp-nodelay", true)
  return sock
end

--- Ask: the operation whose result is not known, or a new one. Nothing, when nobody listens.
function Lane:ask(port, channel)
  self.sock = self.sock or connect(port)
  if not self.sock then
    self.refused = (self.refused or 0) + 1
    return
  end
  local op = self.again or make(self, channel or world.names[self.rng(#world.names)])
  self.again, self.op, self.text = nil, op, ""
  local path = ("/pub/%s?n=1"):format(op.channel)
  if op.key ~= "" then path = path .. "&key=" .. op.key end
  if op.flags:find("i") then path = path .. "&idem=" .. op.token end
  if op.flags:find("w") then path = path .. "&nowait=1" end
  if op.flags:find("r") then path = path .. "&remove=1" end
  note(self, "ask", op.token, op.channel, op.key, op.flags == "" and "-" or op.flags, op.data)
  self.sock:settimeout(5)
  if not self.sock:send(http.request_text("POST", path, { ["Content-Type"] = "text/plain" }, op.data,
    "127.0.0.1:" .. port)) then self:broke() end
end

--- The connection is gone: an answer that has not come is not known.
function Lane:broke()
  if self.sock then self.sock:close() end
  self.sock = nil
  if self.op then self:answer(nil, "unknown") end
end

function Lane:answer(id, code, again)
  local op = self.op
  self.op = nil
  if id then
    if op.flags:find("i") and self.rng(8) == 1 then self.later = op end
    return note(self, "ok", op.token, tostring(id), again and "duplicate" or "new")
  end
  if code ~= "unknown" and code ~= "ETIMEOUT" then return note(self, "no", op.token, code) end
  note(self, "unknown", op.token)
  if op.flags:find("i") and self.rng(5) > 1 then self.again = op end
end

--- After a restart: what was answered may be asked again, as by one who lost the answer.
function Lane:repeat_one()
  if not self.again then self.again, self.later = self.later, nil end
end

--- Read what has come; true when that was an answer.
function Lane:read()
  self.sock:settimeout(0)
  local data, err, partial = self.sock:receive(65536)
  self.text = self.text .. (data or partial or "")
  local head, rest = self.text:match("^(.-\r\n\r\n)(.*)$")
  local n = head and tonumber(head:match("\r\nContent%-Length: (%d+)"))
  if n and #rest >= n then
    local status, r = head:match("^HTTP/1.1 (%d+)"), json.decode(rest:sub(1, n))
    self.text = ""
    if status == "200" then self:answer(r.id, r.code, r.again)
    else self:answer(nil, (r.error or {}).code or status) end
    if err == "closed" then self:broke() end
    return true
  end
  if err == "closed" then self:broke() end
  return false
end

return publisher
