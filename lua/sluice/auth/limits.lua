--- How often somebody may do something: at most `rate` in any `per` seconds, counted in two windows
-- of which the older one counts for the part of it that is still within them; by each node of a
-- cluster, or by all of them (shared_limits.lua). In memory: a number for each user or address of
-- the last two windows, at most 10,000 in each; who comes beyond shares one of 256, so that many
-- addresses get less, and never more.
local crypto = require("sluice.crypto")
local options = require("sluice.base.options")
local shared_limits = require("sluice.auth.shared_limits")
local sluice = require("sluice")

local limits = {}

---@class sluice.auth.Limits
local Limits = {}
Limits.__index = Limits

local KEYS_MAX, SHARED = 10000, 256

function limits.new(app, name)
  return setmetatable({ app = app, name = name, state = app:state(name .. ".limits", {}),
    all = {}, shared = nil }, Limits)
end

--- Check the options of a limit; raises.
-- @treturn table { rate, per, by, counted }
function limits.check(what, given, by)
  local o = options(what, given, { rate = 10, per = 60, by = by, counted = "node" })
  if not (o.rate >= 1 and o.rate <= 1e9) then options.raise(what .. ": rate is a number from 1") end
  if not (o.per >= 0.1 and o.per <= 86400) then
    options.raise(what .. ": per is a number of seconds from 0.1 to 86400")
  end
  if o.by ~= "user" and o.by ~= "ip" then options.raise(what .. ': by is "user" or "ip"') end
  if o.counted ~= "node" and o.counted ~= "cluster" then
    options.raise(what .. ': counted is "node", by each node of a cluster for itself, or "cluster"')
  end
  return o
end

-- The network that belongs to one IPv6 client, who may use 2^64 addresses of it.
local function network(ip)
  if not ip:find(":", 1, true) or ip:find(".", 1, true) then return ip end
  local groups, left = {}, ip:match("^(.-)::") or ip
  for group in left:gmatch("%x+") do groups[#groups + 1] = group end
  local rest = ip:match("::(.*)$")
  if rest then
    local tail = {}
    for group in rest:gmatch("%x+") do tail[#tail + 1] = group end
    for _ = #groups + 1, 8 - #tail do groups[#groups + 1] = "0" end
    table.move(tail, 1, #tail, #groups + 1, groups)
  end
  return table.concat(groups, ":", 1, math.min(4, #groups)) .. "::/64"
end
limits.network = network

-- Whom a request is counted for.
function limits.who(req, by)
  if by == "user" and req.user then return "user " .. req.user.id end
  return "ip " .. network(req.ip)
end

-- The windows of a limit now: { at, n, now, before }.
local function windows(self, name, per)
  local state, now = self.state(), sluice.time()
  local w = state[name]
  if not w or now >= w.at + 2 * per or now < w.at then
    w = { at = now, n = 0, now = {}, before = {} }
  elseif now >= w.at + per then
    w = { at = w.at + per, n = 0, now = {}, before = w.now }
  end
  state[name] = w
  return w, (now - w.at) / per
end

local function place(w, who)
  if w.now[who] or w.n < KEYS_MAX then return who end
  return ("shared %d"):format(crypto.sha256(who):byte() % SHARED)
end

local function add(w, who, n)
  if not w.now[who] then w.n = w.n + 1 end
  w.now[who] = (w.now[who] or 0) + n
end

--- A limit of this generation. At the top level of an app.
function Limits:declare(name, o)
  if o.counted ~= "cluster" then return end
  self.all[name] = o
  self.shared = self.shared or shared_limits.new(self.app, self.name, function(limit, who, n)
    local known = self.all[limit]
    if not (known and type(who) == "string" and math.type(n) == "integer" and n > 0) then return end
    local w = windows(self, limit, known.per)
    add(w, place(w, who), n)
  end)
end

--- Count one, unless that is too often.
-- @tparam string name
-- @tparam table o from limits.check
-- @tparam string who
-- @tparam[opt] boolean look do not count
-- @treturn integer|nil nil, or after how many seconds to try again
function Limits:hit(name, o, who, look)
  local w, part = windows(self, name, o.per)
  local given = who
  who = place(w, who)
  local counted, before = w.now[who] or 0, w.before[who] or 0
  if counted + before * (1 - part) + 1 > o.rate then
    -- when enough of the older window is out of sight: of this one, in the next
    local at = counted + 1 <= o.rate and 1 - (o.rate - counted - 1) / before
      or 1 + math.max(0, 1 - (o.rate - 1) / counted)
    return math.max(1, math.ceil((at - part) * o.per))
  end
  if look then return nil end
  add(w, who, 1)
  if o.counted == "cluster" then self.shared:note(name, given) end
end

return limits
