--- The header Idempotency-Key: a request that is sent again gets the answer of the first, and its
-- handler does not run. What counts as the same request are its bytes: path, query and body. Kept
-- for a day, on the disk; an answer that says "failed" is not kept, so that it can be tried again.
-- In memory: the answers, at most 20,000 and 8 MiB of them; the oldest go first.
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
local UNSAFE = { POST = true, PUT = true, PATCH = true, DELETE = true }
local SET_ANEW = { ["content-length"] = true, ["set-cookie"] = true, date = true }

function idempotent.new(app, name, durable)
  local self = setmetatable({ app = app, kept = keeper(app, name .. ".idempotent", durable),
    state = app:state(name .. ".idempotency",
      { running = {}, order = {}, first = 1, last = 0, bytes = 0 }) }, Idempotent)
  app:on("start", function() self:load() end)
  app:every(CLEAN_SECONDS, { name = name .. ":idempotent" }, function() self:trim() end)
  return self
end

local function size_of(row) return ROW_BYTES + #(row.body or "") end

local function note(state, key, row)
  state.last = state.last + 1
  state.order[state.last] = { key = key, at = row.at, bytes = size_of(row) }
  state.bytes = state.bytes + size_of(row)
end

--- Put what the last run has kept into its order.
function Idempotent:load()
  local list, state = {}, self.state()
  for key, row in self.kept:each() do list[#list + 1] = { key = key, row = row } end
  table.sort(list, function(a, b) return a.row.at < b.row.at end)
  for _, entry in ipairs(list) do note(state, entry.key, entry.row) end
  self:trim()
end

--- Forget what is too old, or too much.
function Idempotent:trim()
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

-- The answer that is kept: status, body, headers; or nil when the handler is to run. While the
-- first request still runs, this one waits for it.
local function find(self, key, bytes)
  local till = sluice.time() + WAIT_SECONDS
  while true do
    local row, now = self.kept:get(key), sluice.time()
    if row and now - row.at >= KEEP_SECONDS then row = nil end
    local other = row or self.state().running[key]
    if other and not row and now - other.at > RUNNING_SECONDS then other = nil end
    if not other then return nil end
    if other.bytes ~= bytes then
      return 422, { error = { code = "ECONFLICT", field = "Idempotency-Key",
        message = "this Idempotency-Key was used for another request" } }
    end
    if row then return replay(row) end
    if now >= till then
      return 409, { error = { code = "EBUSY", message = "the first request with this "
        .. "Idempotency-Key still runs: try again" } }, { ["Retry-After"] = 1 }
    end
    sluice.sleep(LOOK_SECONDS)
  end
end

local function keep(self, key, bytes, status, body, headers)
  local kept = {}
  for name, value in pairs(headers) do
    if not SET_ANEW[name:lower()] then kept[name] = value end
  end
  if #(body or "") > BODY_MAX then
    sluice.log.warn("an answer is too large to be kept for its Idempotency-Key: the request "
      .. "would run again")
    return
  end
  local row = { at = sluice.time(), bytes = bytes, status = status, body = body, headers = kept }
  note(self.state(), key, row)
  self:trim()
  local ok, message = self.kept:set(key, row)
  if not ok then
    sluice.log.warn("an answer was not kept for its Idempotency-Key: " .. message)
  end
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
  local status, body, headers = find(self, key, bytes)
  if status then return status, body, headers end
  local running = self.state().running
  running[key] = { bytes = bytes, at = sluice.time() }
  return true, function(answered, text, fields)
    if answered < 400 then keep(self, key, bytes, answered, text, fields or {}) end
    running[key] = nil
  end
end

return idempotent
