--- One request to another server as a coroutine sees it: open, wait for the head, read, close.
-- sluice.http and sluice.client use it. In memory: what was received and not read, at most 256 KiB
-- and one part; more stays in the kernel, and the other server waits.
local caller = require("sluice.base.caller")
local process = require("sluice.base.process")

local transfer = {}

---@class sluice.Transfer
local Transfer = {}
Transfer.__index = Transfer
Transfer.__name = "sluice.Transfer"

local HELD_BYTES = 256 * 1024 -- unread: the socket is not read until half of it is taken

--- The runtime, for functions that ask other servers; raises where that is impossible.
-- @tparam string what the function's name, for the message
-- @treturn sluice.Runtime
function transfer.runtime(what)
  local runtime = process.running(what)
  -- raises with the reason
  if not runtime.scheduler:can_wait() then runtime.scheduler:wait(what) end
  return runtime
end

local function flat(headers)
  local list = {}
  for name, value in pairs(headers) do
    list[#list + 1] = name
    list[#list + 1] = value
  end
  return list
end

-- In a test nothing is sent: the kit's function has the answer at once.
local function rehearse(self, o)
  local url = o.connect and "tcp://" .. o.connect or o.url
  local answer, message, code = process.outgoing({ url = url, method = o.method,
    headers = o.headers, body = o.body, mail = o.mail })
  if answer then
    self:on_head(answer.status, answer.headers, answer.headers.location)
    self:on_data(answer.body)
  end
  self:on_end(message, code)
  return self
end

--- Begin a request.
-- @tparam sluice.Runtime runtime
-- @tparam string what the function's name, for messages
-- @tparam table o url (or connect, "host:port": open the connection, no more), method, headers
--   (a map of strings), body, timeout, idle (seconds), max_bytes, verify, fresh (whether the
--   connection must be new: on one that was kept, libcurl itself may repeat the request); mail:
--   { from, to, user, password, starttls }, then the url is a mail server's, the body the mail, and
--   the head what it said: to each recipient ("1", "2", …) and last ("reply"; "of-recipient" when
--   that was about one)
-- @treturn sluice.Transfer|nil or nil, message, code
function transfer.open(runtime, what, o)
  local self = setmetatable({ runtime = runtime, server = runtime.server, what = what, id = nil,
    parts = {}, first = 1, last = 0, bytes = 0 }, Transfer)
  if process.outgoing then return rehearse(self, o) end
  local message, code
  self.id, message, code = self.server:request({ method = o.method, headers = flat(o.headers),
    url = o.connect and ("http://%s/"):format(o.connect) or o.url, connect = o.connect ~= nil,
    body = o.body, timeout = o.timeout, idle = o.idle, max_bytes = o.max_bytes,
    verify = o.verify, fresh = o.fresh, mail = o.mail })
  if not self.id then
    self.ended = true
    return nil, message, code
  end
  runtime.transfers[self.id] = self
  return self
end

-- ---- Called by the core ------------------------------------------------------------------

local function wake(self)
  local fiber = self.fiber
  self.fiber = nil
  if fiber then self.runtime.scheduler:resume(fiber) end
end

--- The head has come.
function Transfer:on_head(status, headers, location)
  self.status, self.headers, self.location = status, headers, location
  wake(self)
end

--- A part of the body has come.
function Transfer:on_data(bytes)
  self.last = self.last + 1
  self.parts[self.last] = bytes
  self.bytes = self.bytes + #bytes
  if self.id and self.bytes > HELD_BYTES and not self.held then
    self.held = true
    self.server:hold_request(self.id, true)
  end
  wake(self)
end

--- Nothing more will come.
function Transfer:on_end(message, code)
  self.ended, self.message, self.code = true, message, code
  if self.id then self.runtime.transfers[self.id] = nil end
  wake(self)
end

-- ---- Called by a coroutine ---------------------------------------------------------------

local function wait(self)
  local scheduler = self.runtime.scheduler
  if self.fiber and not self.fiber.ended then
    caller.raise("%s: another coroutine waits for this answer", self.what)
  end
  if scheduler:can_wait() then self.fiber = scheduler.current end
  scheduler:wait(self.what)
end

--- Wait for the head.
-- @treturn integer|nil status, or nil, message, code
-- @treturn table headers, names in lower case
-- @treturn string|nil where a redirect leads
function Transfer:head()
  while not (self.status or self.ended) do wait(self) end
  if self.status then return self.status, self.headers, self.location end
  -- it may have ended in order, in the middle of its head, or have switched to another protocol
  return nil, self.message or "the answer has no whole head", self.code or "EUPSTREAM"
end

--- End the request when its head has not come by then.
-- @tparam number time monotonic
function Transfer:expect_head(time)
  self.runtime.scheduler:at(time, function()
    if self.status or self.ended then return end
    pcall(self.server.cancel_request, self.server, self.id)
    self:on_end("no answer in time", "ETIMEOUT")
  end)
end

--- Wait for the next part of the body.
-- @treturn string|nil nil at the end; nil, message, code when it broke off
function Transfer:read()
  while self.first > self.last do
    if self.ended then return nil, self.message, self.code end
    wait(self)
  end
  local part = self.parts[self.first]
  self.parts[self.first] = nil
  self.first = self.first + 1
  self.bytes = self.bytes - #part
  if self.held and self.bytes < HELD_BYTES // 2 then
    self.held = false
    if not self.ended then self.server:hold_request(self.id, false) end
  end
  return part
end

--- Close it; a request under way is cut.
function Transfer:close()
  if self.closed then return end
  self.closed = true
  if self.ended then return end
  self.ended, self.message, self.code = true, "closed", "ECLOSED"
  self.runtime.transfers[self.id] = nil
  pcall(self.server.cancel_request, self.server, self.id) -- the server may be gone at the end
  local fiber, scheduler = self.fiber, self.runtime.scheduler
  self.fiber = nil
  if fiber and not fiber.ended then
    scheduler:at(scheduler.now(), function() scheduler:resume(fiber) end)
  end
end

Transfer.__close = Transfer.close
Transfer.__gc = Transfer.close

return transfer
