--- What the sources of an app under test read: entries that the test pushed, in place of a server
-- of Redis or PostgreSQL. All else of a source is the real one: its map, its keys, its cursor.
-- In memory: the entries of one test.
local arguments = require("sluice.testing.arguments")
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local json = require("sluice.json")
local names = require("sluice.base.names")
local outbox = require("sluice.sources.outbox")
local process = require("sluice.base.process")
local show = require("sluice.base.show")
local stream = require("sluice.sources.stream")

local sources = {}

local COLUMNS = { channel = true, event = true, key = true, data = true, remove = true }

-- ---- Entries -----------------------------------------------------------------------------

local make = {}

-- Fields by name, as XADD would have them.
function make.redis(place, given, number)
  local list, known = {}, {}
  for name in pairs(given) do known[#known + 1] = tostring(name) end
  table.sort(known)
  if not known[1] then caller.raise("source:push{}: an entry has one field at least") end
  for _, name in ipairs(known) do
    local value = given[name]
    if type(value) ~= "string" and type(value) ~= "number" then
      caller.raise("source:push{ %s = %s }: fields of Redis have names, and are texts or numbers",
        name, show(value))
    end
    list[#list + 1] = name
    list[#list + 1] = core.text_of(value)
  end
  local ms = math.floor(place:time() * 1000)
  return stream.entry(("%d-%d"):format(ms, number), list)
end

-- A row by column, as INSERT would have it.
function make.postgres(_, given, number)
  for name in pairs(given) do
    if not COLUMNS[name] then
      caller.raise("source:push{}: the table has no column %s to give (known: channel, data, "
        .. "event, key, remove)", show(name))
    end
  end
  if type(given.channel) ~= "string" then
    caller.raise("source:push{}: channel is a string, not %s", show(given.channel))
  end
  local data, problem = json.encode(given.data == nil and {} or given.data)
  if not data then caller.raise("source:push{ data = … }: %s", problem) end
  return outbox.entry { id = tostring(number), uid = ("row-%d"):format(number),
    channel = given.channel, event = given.event or "message", key = given.key or json.null,
    data = data, remove = given.remove and "t" or "f" }
end

-- ---- What a source reads -----------------------------------------------------------------

-- What is in place of a server: one for each source, for all nodes and lives of the app.
local function upstream(place)
  return { place = place, entries = {}, last = 0, read = 0, gaps = {}, waiting = {},
    began = nil, refusal = nil }
end

-- Until there is something new.
local function wait(self, runtime)
  self.waiting[#self.waiting + 1] = { runtime = runtime, fiber = runtime.scheduler.current }
  runtime.scheduler:wait("a source")
end

-- All that wait look again, in a turn of their own.
local function wake(self)
  local list = self.waiting
  self.waiting = {}
  for _, row in ipairs(list) do
    local run = row.runtime.scheduler
    if not row.runtime.ended then
      process.runtime = row.runtime
      run:at(run.now(), function() run:resume(row.fiber) end)
      row.runtime:turn()
    end
  end
end

-- The number of the entry that a source has read last.
local function place_of(self, feed)
  local cursor = feed:cursor()
  if cursor then return cursor.at end
  self.began = self.began or feed.start == "end" and self.last or 0
  feed:move { at = self.began }
  return self.began
end

local function batch_of(self, from, most)
  local entries, numbers = {}, {}
  for i = from + 1, self.last do
    if #entries == most then break end
    if self.entries[i] then
      entries[#entries + 1], numbers[#numbers + 1] = self.entries[i], i
    end
  end
  return entries, numbers
end

-- The number of the last entry that is done with.
local function deliver(self, feed, from, entries, numbers)
  self.read = math.max(self.read, numbers[#numbers])
  local done = feed:deliver(entries, function(n)
    local id = entries[n].id
    return { id = id, snap = id, at = numbers[n] }
  end)
  return numbers[done] or from
end

-- Read until the test says that the connection is lost; returns its words.
local function session(self, feed)
  local runtime = process.running("a source")
  if self.refusal then return self.refusal end
  local at = place_of(self, feed)
  feed:connected()
  while true do
    feed.checkpoint()
    if self.refusal then return self.refusal end
    while self.gaps[1] do feed:lose(table.remove(self.gaps, 1)) end
    local entries, numbers = batch_of(self, at, feed.batch)
    if entries[1] then
      at = deliver(self, feed, at, entries, numbers)
    else
      wait(self, runtime)
    end
  end
end

-- ---- For a test --------------------------------------------------------------------------

---@class sluice.testing.Source
local Source = {}
Source.__index = Source
Source.__name = "sluice.testing.Source"

local function need(self, method)
  arguments.self(Source, self, "source", method)
  arguments.running(getmetatable(self.test), self.test, "source")
  return self.upstream
end

local function go_on(self)
  wake(self.upstream)
  self.test:settle()
end

--- Add an entry: fields by name for redis.stream; columns for postgres.listen: channel, event, key,
-- data, remove. While the connection is lost, or the app is down, it waits.
-- @tparam table given
-- @treturn string its id
function Source:push(given)
  local up = need(self, "push")
  arguments.check("source:push(entry)", given, "table")
  local entry = make[self.kind](up.place, given, up.last + 1)
  up.last = up.last + 1
  up.entries[up.last] = entry
  go_on(self)
  return entry.id
end

--- The connection is lost, and every attempt fails, until source:recover().
-- @tparam[opt="no connection"] string why as the log has it
function Source:fail(why)
  local up = need(self, "fail")
  arguments.check("source:fail(why)", why, "text", true)
  up.refusal = why or "no connection"
  go_on(self)
end

--- Attempts succeed again; the next one comes within 5 seconds.
function Source:recover()
  need(self, "recover").refusal = nil
  go_on(self)
end

--- Entries are lost: the oldest that were not read, so many of them. The app is told as it is when
-- a stream was trimmed; without a number: that nobody knows how many.
-- @tparam[opt] integer n
function Source:lose(n)
  local up = need(self, "lose")
  arguments.check("source:lose(n)", n, "number", true)
  if n and n < 1 then caller.raise("source:lose(n): at least one is lost, not %d", n) end
  local left = n or 0
  for i = up.read + 1, up.last do
    if left == 0 then break end
    if up.entries[i] then up.entries[i], left = nil, left - 1 end
  end
  up.gaps[#up.gaps + 1] = { lost = n, reason = "the test has lost them" }
  go_on(self)
end

local Sources = {}
Sources.__index = Sources

--- Take the place of all servers that an app's sources read.
-- @tparam sluice.testing.Inside place
function sources.new(place)
  local self = setmetatable({ place = place, of = {} }, Sources)
  place.world:feed_with(function(feed)
    local up = self:upstream(feed.name)
    return function() return session(up, feed) end
  end)
  return self
end

--- What a source reads.
function Sources:upstream(name)
  self.of[name] = self.of[name] or upstream(self.place)
  return self.of[name]
end

--- The app was reloaded: what waits of its old version ends.
function Sources:wake()
  for _, up in pairs(self.of) do wake(up) end
end

-- Give a test its method.
-- @tparam table Test the class
-- @tparam function need_inside raises where the app is in another process
function sources.extend(Test, need_inside)
  --- The server that a source of the app reads, which is the test's: redis.stream by its key,
  -- postgres.listen by its table, both by their option `name`.
  -- @tparam string name
  -- @treturn sluice.testing.Source
  function Test:source(name)
    need_inside(self, "source")
    arguments.check("t:source(name)", name, "text")
    local feeds = self.place.runtime.generation.feeds
    local feed = feeds[name]
    if not feed then
      local known = {}
      for other in pairs(feeds) do known[#known + 1] = other end
      table.sort(known)
      caller.raise("t:source(): the app has no source %s (known: %s)", show(name),
        known[1] and table.concat(known, ", ") or "none")
    end
    return setmetatable({ test = self, kind = feed.kind, upstream = self.sources:upstream(name) },
      Source)
  end
end

names.strict(Source, "source", ":")
return sources
