--- What all sources share: what they read becomes events, each once, and a cursor says how far.
---
---      read behind the cursor ──▶ map ──▶ published, with an idempotency key ──▶ cursor stored
---
--- Nothing is skipped when a process dies anywhere; what is read again then has the same keys, so a
--- durable channel, and one of a cluster, has it once. In memory: one batch.
local keeper = require("sluice.base.keeper")
local options = require("sluice.base.options")
local process = require("sluice.base.process")
local sluice = require("sluice")
local transfer = require("sluice.out.transfer")

local feed = {}

---@class sluice.sources.Feed
local Feed = {}
Feed.__index = Feed

local CURSOR = "cursor" -- its key in the store of the source
local RETRY_MIN, RETRY_MAX = 0.25, 5
local TOLD_SECONDS = 30 -- between two lines of the log that say the same
-- What may succeed later. All else is wrong with the event itself.
local LATER = { ESTORE = true, ETIMEOUT = true, EBUSY = true, EFULL = true }

-- A message on one line.
local function line(message)
  if type(message) == "table" then message = message.message end
  return (tostring(message):gsub("%c+", " "):sub(1, 300))
end

-- ---- The log -----------------------------------------------------------------------------

--- Say what is wrong, once in a while; without a message: that it is over.
function Feed:tell(message)
  local told, now = self.told, sluice.now()
  if not message then
    if told then sluice.log.info(self.what .. ": goes on") end
    self.told = nil
  elseif not told or told.message ~= message or now - told.at >= TOLD_SECONDS then
    self.told = { message = message, at = now }
    sluice.log.warn(("%s: cannot go on, tries again: %s"):format(self.what, message))
  end
end

--- Say that entries may be missing, to the log and to the app.
-- @tparam table gap { reason =, lost = }: `lost` is nil when nobody knows how many
function Feed:lose(gap)
  self.figures.gaps = self.figures.gaps + 1
  local n = gap.lost and ("%d entries were"):format(gap.lost) or "entries may have been"
  sluice.log.error(("%s: %s lost: %s"):format(self.what, n, gap.reason), gap)
  if self.gap then self.gap(gap) end
end

-- Wait before the next try: twice as long each time.
local function pause(self)
  self.wait = math.min((self.wait or RETRY_MIN / 2) * 2, RETRY_MAX)
  sluice.checkpoint()
  sluice.sleep(self.wait)
end

--- Run sessions, one after another; each returns why it ended. In a test they are the test's.
-- @tparam function session
function Feed:run(session)
  self.told, self.wait, self.stands = nil, nil, false
  if process.upstream then session = process.upstream(self) end
  while true do
    local why = session()
    self.figures.connected = false
    self:tell(line(why))
    pause(self)
  end
end

--- A session has reached its server, and may begin to read.
-- @tparam[opt] boolean is_empty whether there is nothing that has to be tried again
function Feed:connected(is_empty)
  self.figures.connected = true
  if self.stands and not is_empty then return end
  self.stands, self.wait = false, nil
  self:tell(nil)
end

--- The place where a session ends when a reload has replaced this version of the app.
function Feed.checkpoint() sluice.checkpoint() end

-- ---- The cursor --------------------------------------------------------------------------

--- Where it stands; nil: it has none yet.
function Feed:cursor() return self.cursors:get(CURSOR) end

--- Keep where it stands. Returns when that is kept.
-- @tparam table cursor plain data
function Feed:move(cursor)
  while true do
    local ok, message = self.cursors:set(CURSOR, cursor)
    if ok then break end
    self:tell(message)
    pause(self)
  end
  self.figures.cursor = cursor
end

-- ---- Publishing --------------------------------------------------------------------------

-- Whether an event that is published twice would be seen to be the same one.
local function has_keys(self, channel)
  local runtime = transfer.runtime(self.what)
  return runtime.server:policy(channel).durable or runtime.is_shared
end

-- Why events of a source, which one node reads for all, cannot go there, or nil.
local function fault_of(self, channel)
  if type(channel) ~= "string" then
    return "map returns a channel's name first, not a " .. type(channel)
  elseif not transfer.runtime(self.what).server:policy(channel).shared then
    return ("channel '%s' is of each node alone (shared = false), and one node reads this for all: "
      .. "map it to a shared channel"):format(channel)
  end
end

-- An event that cannot be, or a map that failed: false when it has to be tried again.
local function is_passed(self, id, message)
  message = ("entry %s: %s"):format(id, line(message))
  if self.errors ~= "skip" then
    self:tell(message)
    return false
  end
  self.figures.left_out = self.figures.left_out + 1
  sluice.log.error(("%s: left out: %s"):format(self.what, message))
  return true
end

-- Publish one. True: that is done with.
local function publish(self, item, once)
  local id, message, code = self.app:publish(item.channel, item.event, item.data,
    { key = item.key, remove = item.remove, idempotency = once })
  if id then
    local is_old = code
    if not is_old then self.figures.published = self.figures.published + 1 end
    return true
  elseif LATER[code] then
    self:tell(message)
    return false
  end
  return is_passed(self, item.id, message)
end

-- What an entry becomes: an event, true for none, or nil: it has to be tried again.
local function read(self, entry)
  if entry.broken then return is_passed(self, entry.id, entry.broken) or nil end
  local ok, channel, event, data, key = pcall(self.map, entry)
  if not ok then return is_passed(self, entry.id, channel) or nil end
  if channel == nil then return true end
  local fault = fault_of(self, channel)
  if fault then return is_passed(self, entry.id, fault) or nil end
  local item = { id = entry.id, once = entry.once, channel = channel, event = event,
    data = data, key = key }
  if type(key) == "table" then item.key, item.remove = key.remove, true end
  return item
end

-- All of a list, begun in their order: they wait for the disk together. The first that failed, or
-- nil; what is wrong with an event itself shows before the next one begins.
local function publish_together(self, list)
  local left, failed = #list, nil
  local done = { __close = function() left = left - 1 end }
  for i, item in ipairs(list) do
    self.app:spawn(function()
      local _ <close> = setmetatable({}, done)
      if failed then return end
      local ok = publish(self, item, ("%s %s"):format(self.name, item.once))
      if not ok then failed = math.min(failed or i, i) end
    end)
  end
  while left > 0 do sluice.sleep(0.001) end
  return failed
end

-- Publish entries. Returns how many from the first on are done with.
local function publish_some(self, entries)
  local list, places = {}, {}
  for i, entry in ipairs(entries) do
    local item = read(self, entry)
    if item == nil then entries = { table.unpack(entries, 1, i - 1) } break end
    if item ~= true and has_keys(self, item.channel) then
      list[#list + 1], places[#list + 1] = item, i
    elseif item ~= true and not publish(self, item) then
      entries = { table.unpack(entries, 1, i - 1) }
      break
    end
  end
  local failed = publish_together(self, list)
  return failed and places[failed] - 1 or #entries
end

--- Publish entries in their order, and keep the cursor behind those that are done with. When one is
-- not, waits, so that what is there then can be read again.
-- @tparam {table,...} entries each with `id`, for messages, and `once`, for its key
-- @tparam function at returns the cursor behind the entry of that number
-- @treturn integer how many are done with
function Feed:deliver(entries, at)
  local n = publish_some(self, entries)
  if n > 0 then self:move(at(n)) end
  self.figures.read = self.figures.read + n
  self.stands = n < #entries
  if self.stands then pause(self) else self:connected(true) end
  return n
end

-- ---- New ---------------------------------------------------------------------------------

--- The options that every source has, with what they are without being said.
feed.KNOWN = { name = options.STRING, map = options.FUNCTION, start = "end", batch = 128,
  errors = "stop", durable = true, gap = options.FUNCTION }

--- Check the options that every source has, and make its feed.
-- @tparam string what the function of the user, for messages
-- @tparam sluice.App app
-- @tparam table o checked against KNOWN, and more
-- @treturn sluice.sources.Feed
function feed.new(what, app, o)
  if not o.map then options.raise("%s: map is missing: a function that makes events", what) end
  if not o.name:find("^[%w_][%w_./-]*$") then
    options.raise("%s: name '%s' may hold letters, digits and _ . / - only", what, o.name)
  end
  if not (math.tointeger(o.batch) and o.batch >= 1 and o.batch <= 1000) then
    options.raise("%s: batch is a whole number from 1 to 1000", what)
  end
  if o.errors ~= "stop" and o.errors ~= "skip" then
    options.raise('%s: errors is "stop" or "skip"', what)
  end
  local self = setmetatable({ app = app, name = o.name, kind = what:match("^%l+"),
    what = "source " .. o.name, map = o.map, errors = o.errors, gap = o.gap, start = o.start,
    batch = o.batch, figures = { connected = false, read = 0, published = 0, left_out = 0,
      gaps = 0 } }, Feed)
  rawget(app, "_generation").feeds[o.name] = self
  self.cursors = keeper(app, "source." .. o.name, o.durable)
  return self
end

return feed
