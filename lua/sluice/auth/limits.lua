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

local function new_window() return { n = 0, of = {} } end

-- The windows of a limit now: { from, number, now, before }; and which part of the one of now is
-- over. They are numbered from the first request on, for all nodes of a cluster from the same time
-- on: or each would say another time to try again.
local function windows(self, name, o)
  local state, now = self.state(), sluice.time()
  local w = state[name]
  local from = o.counted == "cluster" and 0 or w and w.from or now
  local number, part = math.modf((now - from) / o.per)
  if not w or w.from ~= from or number < w.number or number > w.number + 1 then
    if from ~= 0 then from, number, part = now, 0, 0 end
    w = { from = from, number = number, now = new_window(), before = new_window() }
  elseif number > w.number then
    w = { from = from, number = number, now = new_window(), before = w.now }
  end
  state[name] = w
  return w, part
end

local function place(window, who)
  if window.of[who] or window.n < KEYS_MAX then return who end
  return ("shared %d"):format(crypto.sha256(who):byte() % SHARED)
end

local function add(window, who, n)
  if not window.of[who] then window.n = window.n + 1 end
  window.of[who] = (window.of[who] or 0) + n
end

-- The window that another node has counted in; nil: it is out of sight. Its clock may be ahead.
local function window_of(w, number)
  if type(number) ~= "number" or number >= w.number then return w.now end
  return number == w.number - 1 and w.before or nil
end

--- A limit of this generation. At the top level of an app.
function Limits:declare(name, o)
  if o.counted ~= "cluster" then return end
  self.all[name] = o
  local function hear(limit, who, n, number)
    local known = self.all[limit]
    if not (known and type(who) == "string" and math.type(n) == "integer" and n > 0) then return end
    local window = window_of(windows(self, limit, known), number)
    if window then add(window, place(window, who), n) end
  end
  self.shared = self.shared or shared_limits.new(self.app, self.name, hear)
end

--- Count one, unless that is too often.
-- @tparam string name
-- @tparam table o from limits.check
-- @tparam string who
-- @tparam[opt] boolean look do not count
-- @treturn integer|nil nil, or after how many seconds to try again
function Limits:hit(name, o, who, look)
  local w, part = windows(self, name, o)
  local given = who
  who = place(w.now, who)
  local counted, before = w.now.of[who] or 0, w.before.of[who] or 0
  if counted + before * (1 - part) + 1 > o.rate then
    -- when enough of the older window is out of sight: of this one, in the next
    local at = counted + 1 <= o.rate and 1 - (o.rate - counted - 1) / before
      or 1 + math.max(0, 1 - (o.rate - 1) / counted)
    return math.max(1, math.ceil((at - part) * o.per))
  end
  if look then return nil end
  add(w.now, who, 1)
  if o.counted == "cluster" then self.shared:note(name, given, w.number) end
end

return limits
