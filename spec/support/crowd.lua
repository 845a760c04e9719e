--- Many event streams at once, read together: what sse.lua is for one.
---
---   local all = crowd.connect(port, "/s", 100)          heads and hellos have come
---   all:read(3)                                         for 3 s, or until a function says so
---   for _, m in ipairs(all) do … m.text, m.gap, m.ended end
--- A member: text (its bytes on the wire since the head), pieces (how often some came), gap (the
--- longest silence in seconds of a quiet machine), ended. events(m) takes the chunk framing off and parses.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local socket = require("socket")

local crowd = {}

local began = deadline.now()

local function quiet_now() return (deadline.since(began)) end

local Crowd = {}
Crowd.__index = Crowd

local function ask(port, path, options)
  local sock = socket.tcp4()
  if options.rcvbuf then assert(sock:setoption("recv-buffer-size", options.rcvbuf)) end
  sock:settimeout(5 * deadline.scale)
  assert(sock:connect("127.0.0.1", port))
  sock:setoption("tcp-nodelay", true)
  assert(sock:send(http.request_text("GET", path, options.headers, nil, "127.0.0.1:" .. port)))
  sock:settimeout(0)
  return { sock = sock, parts = {}, pieces = 0, gap = 0, at = quiet_now(), shrink = options.shrink }
end

local function take(member, now)
  local data, err, partial = member.sock:receive(262144)
  data = data or partial
  if #data > 0 then
    if member.shrink then data = data:gsub("xxxx+", "xxx") end
    member.parts[#member.parts + 1] = data
    member.pieces = member.pieces + 1
    member.gap = math.max(member.gap, now - member.at)
    member.at = now
  end
  if err == "closed" and not member.ended then
    member.ended, member.gap = socket.gettime(), math.max(member.gap, now - member.at)
  end
end

--- Read what comes for so long by the clock; or until `done` is true (asked often), up to a deadline.
function Crowd:read(seconds, done)
  local by_sock, list = {}, {}
  for _, m in ipairs(self) do
    if not m.ended then
      by_sock[m.sock] = m
      list[#list + 1] = m.sock
    end
  end
  local ends = socket.gettime() + seconds
  local left = done and deadline.after(seconds) or function() return ends - socket.gettime() end
  local finished = done and done()
  while not finished and #list > 0 and left() > 0 do
    local ready = socket.select(list, nil, math.max(0, math.min(0.02, left())))
    local now, closed = quiet_now(), false
    for _, sock in ipairs(ready) do
      take(by_sock[sock], now)
      closed = closed or by_sock[sock].ended
    end
    if closed then
      for i = #list, 1, -1 do
        if by_sock[list[i]].ended then table.remove(list, i) end
      end
    end
    finished = done and done()
  end
  for _, m in ipairs(self) do
    if not m.ended then m.gap = math.max(m.gap, quiet_now() - m.at) end
  end
  return finished or #list == 0
end

--- Forget the silence so far.
function Crowd:restart()
  for _, m in ipairs(self) do m.at, m.gap, m.pieces = quiet_now(), 0, 0 end
end

--- All bytes of a member since it connected.
function crowd.text(member)
  if #member.parts == 1 then return member.parts[1] end
  local text = table.concat(member.parts)
  member.parts = { text }
  return text
end

--- Does a member's text hold `mark` so often? Looks only at what came since the last time.
local function has(member, mark, times)
  local text = crowd.text(member)
  local looked = member.looked
  if not looked or looked.mark ~= mark then
    looked = { mark = mark, at = 1, n = 0 }
    member.looked = looked
  end
  while looked.n < times do
    local from, to = text:find(mark, looked.at, true)
    if not from then
      looked.at = math.max(looked.at, #text - #mark + 2)
      return false
    end
    looked.n, looked.at = looked.n + 1, to + 1
  end
  return true
end

--- Read until every member's bytes hold `mark` (plain) `times` times.
function Crowd:wait_for(mark, seconds, times)
  local left = {}
  for _, m in ipairs(self) do left[m] = true end
  self:read(seconds, function()
    for m in pairs(left) do
      if has(m, mark, times or 1) then left[m] = nil end
    end
    return next(left) == nil
  end)
  local some = next(left)
  if some then error(("%s has not come everywhere; one has %q"):format(mark, crowd.text(some):sub(-300)), 2) end
end

--- The chunks of a member, head left out.
function crowd.chunks(member)
  local text = crowd.text(member)
  local rest = text:sub(select(2, text:find("\r\n\r\n", 1, true)) + 1)
  local list = {}
  while true do
    local piece, n = http.parse_chunk(rest)
    if not piece then return list, rest end
    list[#list + 1], rest = piece, rest:sub(n + 1)
  end
end

--- The values of n in the data of live.lua's events, in order of arrival.
function crowd.numbers(member)
  local list = {}
  local text = member.shrink and crowd.text(member) or table.concat((crowd.chunks(member)))
  for n in text:gmatch('data: {[^\n]-"n":(%d+)[,}]') do
    list[#list + 1] = math.tointeger(tonumber(n))
  end
  return list
end

function Crowd:close()
  for _, m in ipairs(self) do m.sock:close() end
end

--- n streams. options: headers, rcvbuf, wait (false: do not wait for hello), shrink (keep runs of x
--- short: for much padding; the chunks cannot be told then).
function crowd.connect(port, path, n, options)
  options = options or {}
  local self = setmetatable({}, Crowd)
  for i = 1, n do self[i] = ask(port, path, options) end
  if options.wait ~= false then self:wait_for("event: hello\n", 10) end
  self:restart()
  return self
end

return crowd
