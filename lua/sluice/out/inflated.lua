--- An answer of another server that is compressed with gzip, as sluice.http and sluice.client read
--- it: piece by piece, each of bounded size however much it had shrunk. In memory: what the decoder
--- holds (see csrc/edge/decoder.h), and one piece.
local core = require("sluice.core")

local inflated = {}

---@class sluice.Inflated
local Inflated = {}
Inflated.__index = Inflated
Inflated.__name = "sluice.Inflated"

local PIECE = 65536
local BURST = 16 -- pieces made without a pause: then other coroutines run
local CODING = { gzip = true, ["x-gzip"] = true }

--- Add the field that asks for it, unless one of the app says what is to be sent.
-- @tparam table missing header fields to be added, names in lower case
-- @tparam table|nil given those of the app
-- @treturn boolean whether it is asked for
function inflated.ask(missing, given)
  for name in pairs(type(given) == "table" and given or {}) do
    local low = tostring(name):lower()
    if low == "accept-encoding" or low == "range" then return false end
  end
  missing["accept-encoding"] = "gzip"
  return true
end

--- What reads the body of an answer: the transfer itself when it is not compressed.
-- @tparam sluice.Transfer t whose head has come
-- @tparam table headers of the answer, names in lower case
-- @treturn table with read and close, as a transfer
function inflated.body(t, headers)
  if not CODING[(headers["content-encoding"] or ""):lower()] then return t end
  return setmetatable({ transfer = t, decoder = assert(core.decoder("gzip", true)), made = 0 },
    Inflated)
end

local function fail(self, message)
  self.message, self.code = message, "EUPSTREAM"
  self.decoder:close()
  self.transfer:close()
  return nil, message, self.code
end

-- What more of the body there is, or its end.
local function read_on(self)
  local part, message, code = self.transfer:read()
  if part or message then return part, message, code end
  if not self.decoder:is_whole() then
    return fail(self, "the answer ends in the middle of what was compressed")
  end
end

-- One that shrank a thousandfold must not keep all others waiting.
local function rest(self)
  self.made = self.made + 1
  local runtime = self.transfer.runtime
  if self.made % BURST == 0 and runtime.scheduler:can_wait() then
    runtime.scheduler:sleep(0, self.transfer.what)
  end
end

--- Wait for the next piece of the body, as it was before.
-- @treturn string|nil nil at the end; nil, message, code when it broke off
function Inflated:read()
  while not (self.message or self.transfer.closed) do
    local part, message, code = "", nil, nil
    if self.more then rest(self) else part, message, code = read_on(self) end
    if not part then return nil, message, code end
    if self.transfer.closed then break end
    local text, more = self.decoder:feed(part, PIECE)
    if not text then return fail(self, "the answer cannot be decoded: " .. more) end
    self.more = more
    if text ~= "" then return text end
  end
  return nil, self.message or "closed", self.code or "ECLOSED"
end

--- Close it; a request under way is cut.
function Inflated:close()
  self.transfer:close()
  self.decoder:close()
end

return inflated
