--- The header Idempotency-Key: a request that is sent again gets the answer of the first, and its
-- handler does not run. What counts as the same request are its bytes: path, query and body. Kept
-- for a day, on the disk; an answer that says "failed" is not kept, so that it can be tried again.
-- In a cluster the nodes claim keys in Redis (claims.lua).
-- In memory: the answers, at most 20,000 and 8 MiB of them; the oldest go first.
local claims = require("sluice.auth.claims")
local sluice = require("sluice")
local crypto = require("sluice.crypto")
local keeper = require("sluice.base.keeper")

local idempotent = {}

---@class sluice.auth.Idempotent
local Idempotent = {}
Idempotent.__index = Idempotent

local KEEP_SECONDS, CLEAN_SECONDS = 86400, 600
local ROWS_MAX, BYTES_MAX, BODY_MAX = 20000, 8 << 20, 65536
local ROW_BYTES = 256 -- what a row costs beside its body
local KEY_MAX = 255
local RUNNING_SECONDS, WAIT_SECONDS, LOOK_SECONDS = 120, 10, 0.05
local LOOK_AGAIN_SECONDS = 1 -- for what Redis was not told
local UNSAFE = { POST = true, PUT = true, PATCH = true, DELETE = true }
local SET_ANEW = { ["content-length"] = true, ["set-cookie"] = true, date = true }

function idempotent.new(app, name, durable)
  local self = setmetatable({ app = app, kept = keeper(app, name .. ".idempotent", durable),
    state = app:state(name .. ".idempotency",
      { running = {}, order = {}, first = 1, last = 0, bytes = 0 }) }, Idempotent)
  local untold = app:state(name .. ".claims", { untold = {}, n = 0 })
  self.claims = claims.new(self.kept, { keep = KEEP_SECONDS, running = RUNNING_SECONDS }, untold)
  app:every(LOOK_AGAIN_SECONDS, { name = name .. ":claims", per = "node" }, function()
    if claims.are_needed(self.kept) then self.claims:look() end
  end)
  app:on("start", function() self:load() end)
  app:every(CLEAN_SECONDS, { name = name .. ":idempotent" }, function() self:trim() end)
  return self
end

-- What claims keys in a cluster; nil: this process is alone.
local function claims_of(self) return claims.are_needed(self.kept) and self.claims or nil end

local function size_of(row) return ROW_BYTES + #(row.body or "") end

local function note(state, key, row)
  state.last = state.last + 1
  state.order[state.last] = { key = key, at = row.at, bytes = size_of(row) }
  state.bytes = state.bytes + size_of(row)
end

--- Put what the last run has kept into its order.
function Idempotent:load()
  if claims_of(self) then return end
  local list, state = {}, self.state()
  for key, row in self.kept:each() do list[#list + 1] = { key = key, row = row } end
  table.sort(list, function(a, b) return a.row.at < b.row.at end)
  for _, entry in ipairs(list) do note(state, entry.key, entry.row) end
  self:trim()
end

--- Forget what is too old, or too much.
function Idempotent:trim()
  if claims_of(self) then return claims_of(self):trim(ROWS_MAX) end
  local state, now = self.state(), sluice.time()
  while state.first <= state.last do
    local entry = state.order[state.first]
    local fits = state.last - state.first < ROWS_MAX and state.bytes <= BYTES_MAX
    if fits and now - entry.at < KEEP_SECONDS then return end
    state.order[state.first] = nil
    state.first, state.bytes = state.first + 1, state.bytes - entry.bytes
    local row = self.kept:get(entry.key)
    if row and row.at == entry.at then self.kept:delete(entry.key, { wait = false }) end
  end
  state.first, state.last = 1, 0
end

local function digest(...)
  local list = table.pack(...)
  for i = 1, list.n do
    local text = list[i] or ""
    list[i] = ("%d:%s"):format(#text, text)
  end
  return crypto.base64url(crypto.sha256(table.concat(list)))
end

local function replay(row)
  local headers = { ["Idempotent-Replayed"] = "true" }
  for name, value in pairs(row.headers) do headers[name] = value end
  return row.status, row.body, headers
end

-- What a request has that came before, which may still run; nil: none, and this one is to.
local function other_of(self, key)
  local row, now = self.kept:get(key), sluice.time()
  if row and now - row.at < KEEP_SECONDS then return row end
  local running = self.state().running[key]
  return running and now - running.at <= RUNNING_SECONDS and running or nil
end

-- The same in a cluster: the claim of this one, what another has, or why nobody can say.
local function claim_or_other(self, key, bytes)
  local nodes = claims_of(self)
  if nodes then return nodes:take(key, bytes) end
  local other = other_of(self, key)
  if other then return nil, other end
  local claim = { bytes = bytes, at = sluice.time(), running = true }
  self.state().running[key] = claim
  return claim
end

-- The claim when the handler is to run; or nil and the answer that is kept: status, body, headers.
-- While the first request still runs, this one waits for it.
local function find(self, key, bytes)
  local till = sluice.time() + WAIT_SECONDS
  while true do
    local claim, other, why = claim_or_other(self, key, bytes)
    if claim then return claim end
    if why then
      return nil, 503, { error = { code = "EBUSY", message = "nobody can say whether a request "
        .. "with this Idempotency-Key has run: try again (" .. why .. ")" } },
        { ["Retry-After"] = 1 }
    end
    if other.bytes ~= bytes then
      return nil, 422, { error = { code = "ECONFLICT", field = "Idempotency-Key",
        message = "this Idempotency-Key was used for another request" } }
    end
    if not other.running then return nil, replay(other) end
    if sluice.time() >= till then
      return nil, 409, { error = { code = "EBUSY", message = "the first request with this "
        .. "Idempotency-Key still runs: try again" } }, { ["Retry-After"] = 1 }
    end
    sluice.sleep(LOOK_SECONDS)
  end
end

-- What is kept of an answer; nil: it may be asked for again.
local function row_of(bytes, status, body, headers)
  if status >= 400 then return nil end
  local kept = {}
  for name, value in pairs(headers) do
    if not SET_ANEW[name:lower()] then kept[name] = value end
  end
  if #(body or "") > BODY_MAX then
    sluice.log.warn("an answer is too large to be kept for its Idempotency-Key: the request "
      .. "would run again")
    return nil
  end
  return { at = sluice.time(), bytes = bytes, status = status, body = body, headers = kept }
end

local function keep(self, key, row)
  note(self.state(), key, row)
  self:trim()
  return self.kept:set(key, row)
end

-- A request has run.
local function finish(self, key, claim, row)
  local nodes, ok, message = claims_of(self), true, nil
  if nodes then ok, message = nodes:finish(key, claim, row)
  elseif row then ok, message = keep(self, key, row) end
  if not ok then
    sluice.log.warn("an answer was not kept for its Idempotency-Key: " .. message)
  end
  self.state().running[key] = nil
end

--- The guard.
-- @tparam sluice.Request req
function Idempotent:ask(req)
  if not UNSAFE[req.method] then
    error("auth:idempotent() is for handlers of POST, PUT, PATCH and DELETE", 0)
  end
  local given = req.headers["idempotency-key"]
  if not given then return true end
  if given == "" or #given > KEY_MAX then
    return 422, { error = { code = "EBADFIELD", field = "Idempotency-Key",
      message = ("Idempotency-Key has 1 to %d characters"):format(KEY_MAX) } }
  end
  local who = req.user and "user " .. req.user.id or "ip " .. req.ip
  local key = digest(who, req.method, req.path, given)
  local bytes = digest(req.path, req.query_text, req.headers["content-type"], req.body)
  local claim, status, body, headers = find(self, key, bytes)
  if not claim then return status, body, headers end
  return true, function(answered, text, fields)
    finish(self, key, claim, row_of(bytes, answered, text, fields or {}))
  end
end

return idempotent
