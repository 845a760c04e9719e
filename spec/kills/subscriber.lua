--- Subscribers with a cursor, as a browser has one. What each was sent is written down as it came, a
--- file each, with lines of its own that begin with '#':
---
---   # connect 12.01 3 /all <id or ->      time, run, path, Last-Event-ID
---   # at 12.02                            when the next bytes were read
---   # end cut|left|final
--- Only whole events are written: what was cut in the middle a browser throws away.
local http = require("spec.support.http")
local process = require("spec.support.process")
local socket = require("socket")

local subscriber = {}

subscriber.SOME_RUN = 0 -- who connects while nobody serves does not know which

local Subscriber = {}
Subscriber.__index = Subscriber

--- habit: "steady", "slow" (reads seldom), "wanderer" (leaves and comes back later), "late"
function subscriber.new(file, path, habit)
  process.write_file(file, "")
  return setmetatable({ file = file, path = path, habit = habit, parts = {}, text = "" }, Subscriber)
end

local function note(self, ...) self.parts[#self.parts + 1] = "# " .. string.format(...) .. "\n" end

function Subscriber:connect(port, run)
  local sock = socket.tcp4()
  if self.habit == "slow" then sock:setoption("recv-buffer-size", 4096) end
  sock:settimeout(5)
  if not sock:connect("127.0.0.1", port) then
    self.refused = (self.refused or 0) + 1
    return sock:close()
  end
  local ok = sock:send(http.request_text("GET", self.path, { Accept = "text/event-stream",
    ["Cache-Control"] = "no-cache", ["Last-Event-ID"] = self.last_id }, nil, "127.0.0.1:" .. port))
  if not ok then return sock:close() end
  sock:settimeout(0)
  note(self, "connect %.6f %d %s %s", socket.gettime(), run, self.path, self.last_id or "-")
  self.sock, self.text, self.body, self.head = sock, "", "", nil
end

-- Take chunks off the text, and whole events off the body.
local function take(self)
  if not self.head then
    local _, stop = self.text:find("\r\n\r\n", 1, true)
    if not stop then return end
    self.head, self.text = self.text:sub(1, stop), self.text:sub(stop + 1)
    assert(self.head:find("^HTTP/1.1 200 "), self.head)
  end
  local pieces, text = { self.body }, self.text
  while true do
    local piece, n = http.parse_chunk(text)
    if not piece then break end
    pieces[#pieces + 1], text = piece, text:sub(n + 1)
  end
  self.text = text
  if #pieces == 1 then return end
  local body = table.concat(pieces)
  local whole = body:match("^.*\n\n") or ""
  self.body = body:sub(#whole + 1)
  if whole == "" then return end
  note(self, "at %.6f", socket.gettime())
  self.parts[#self.parts + 1] = whole
  self.last_id = ("\n" .. whole):match("^.*\nid: ([^\n]*)\n") or self.last_id
  self.marks = self.marks and self.marks + select(2, whole:gsub("data: end%-", ""))
end

--- Read what has come; false when the connection is over.
function Subscriber:read()
  while true do
    local data, err, partial = self.sock:receive(65536)
    local got = data or partial or ""
    self.text = self.text .. got
    if #got > 0 then take(self) end
    if err == "closed" then return false end
    if #got < 65536 then return true end
  end
end

--- how: "cut", "left", "final".
function Subscriber:close(how)
  if not self.sock then return end
  self.sock:close()
  self.sock = nil
  note(self, "end %s", how)
  local file <close> = assert(io.open(self.file, "ab"))
  assert(file:write(table.concat(self.parts)))
  self.parts = {}
end

return subscriber
