--- The body of a request in pieces, while it comes: req:chunks(). The core is asked for one piece
-- at a time, and reads no further. In memory: of each such request, the piece under way.
local caller = require("sluice.base.caller")
local failure = require("sluice.base.failure")

local pieces = {}

---@class sluice.Pieces
local Pieces = {}
Pieces.__index = Pieces

local GONE = { 499, "ECLOSED", "the body has no end: its client has gone, or got 504 when the "
  .. "handler took too long" }

-- What the core says is wrong with a body.
local FAULTS = {
  [400] = { 400, "EBADREQUEST", "the body is no sequence of chunks" },
  [408] = { 408, "ETIMEOUT", "the body did not come in time" },
  [413] = { 413, "ETOOBIG", "the body is larger than %d bytes" },
  [431] = { 431, "ETOOBIG", "the fields behind the body are too large" },
  [503] = { 503, "ENOMEM", "out of memory" },
}

--- Make one.
-- @tparam sluice.Runtime runtime
-- @tparam integer id the request
-- @tparam table route
-- @tparam boolean has_body
-- @treturn sluice.Pieces
function pieces.new(runtime, id, route, has_body)
  local self = setmetatable({ runtime = runtime, id = id, route = route, is_open = false,
    is_taken = false, ended = not has_body, fault = nil, piece = nil, last = false,
    asked = false, fiber = nil }, Pieces)
  if has_body then runtime.bodies[id] = self end
  return self
end

--- The guards have let the request through.
function Pieces:open()
  self.is_open = true
end

-- ---- Called by the core ------------------------------------------------------------------

local function wake(self)
  local fiber = self.fiber
  self.fiber = nil
  if fiber then self.runtime.scheduler:resume(fiber) end
end

--- A piece has come, or what is wrong.
function Pieces:on_piece(bytes, last, status)
  self.asked, self.last = false, last
  if status ~= 0 then
    self.fault = FAULTS[status] or FAULTS[400]
  else
    self.piece = bytes
  end
  wake(self)
end

--- None will come.
function Pieces:on_gone()
  self.fault = self.fault or GONE
  wake(self)
end

-- ---- Called by a coroutine ---------------------------------------------------------------

--- The request is over: a coroutine that outlives its handler gets no more.
function Pieces:close()
  local runtime = self.runtime
  runtime.bodies[self.id] = nil
  if self.ended or self.fault then return end
  self.fault = { 499, "ECLOSED", "the request has been answered" }
  if self.fiber then runtime.scheduler:at(runtime.scheduler.now(), function() wake(self) end) end
end

local function refuse(self)
  local status, code, message = table.unpack(self.fault)
  failure.refuse(message:format(self.route.body_max), code, status)
end

local function wait(self)
  local scheduler = self.runtime.scheduler
  local obstacle = scheduler:obstacle("req:chunks()")
  if obstacle then caller.raise("%s", obstacle) end
  if self.fiber and not self.fiber.ended then
    caller.raise("req:chunks(): another coroutine waits for a piece of this body")
  end
  if not self.asked then
    if not self.runtime.server:want(self.id) then
      self.fault = GONE
      return
    end
    self.asked = true
  end
  self.fiber = scheduler.current
  scheduler:wait("req:chunks()")
end

local function next_piece(self)
  while not self.piece do
    if self.fault then refuse(self) end
    if self.ended then return nil end
    wait(self)
  end
  local piece = self.piece
  self.piece, self.ended = nil, self.last
  if piece == "" then return next_piece(self) end
  return piece
end

--- The iterator; the pieces go by once.
function Pieces:chunks()
  if not self.is_open then
    caller.raise("req:chunks(): the body is for the handler of %s: a guard decides before it comes",
      self.route.name)
  elseif self.is_taken then
    caller.raise("req:chunks() was called already, and the pieces go by once: keep what it gave")
  end
  self.is_taken = true
  return function() return next_piece(self) end
end

--- Raise for a look at the whole body.
-- @tparam string what was asked for
function Pieces:refuse_whole(what)
  caller.raise("%s: the body of %s comes in pieces: for piece in req:chunks() do … end%s", what,
    self.route.name, self.is_open and "" or "; a guard cannot look at it")
end

return pieces
