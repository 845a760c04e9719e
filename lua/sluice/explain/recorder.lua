--- What the thread of the app notes for whoever asks later why: streams that it refused or ended,
-- channels that it took from them, reloads, errors. (What the I/O threads know they note
-- themselves: csrc/serve/io/flight.h.) Nothing is noted for an event.
-- In memory: the newest of each, see KEPT.
local core = require("sluice.core")

local recorder = {}

---@class sluice.Recorder
local Recorder = {}
Recorder.__index = Recorder

local KEPT = { deeds = 1000, reloads = 20, errors = 20 }
local TEXT_MOST = 2000 -- bytes of a message or traceback

local function queue() return { first = 1, last = 0 } end

--- Make one.
-- @treturn sluice.Recorder
function recorder.new()
  return setmetatable({ deeds = queue(), reloads = queue(), errors = queue(), noted = 0 },
    Recorder)
end

local function cut(value)
  if type(value) ~= "string" or #value <= TEXT_MOST then return value end
  local n = TEXT_MOST
  while n > 0 and value:byte(n + 1) & 0xc0 == 0x80 do n = n - 1 end
  return value:sub(1, n) .. " …"
end

-- A copy of the entry with its time and its number.
local function add(self, name, entry)
  local list, made = self[name], { time = core.time() }
  for key, value in pairs(entry) do made[key] = cut(value) end
  list.last = list.last + 1
  made.n = list.last
  list[list.last] = made
  if list.last - list.first >= KEPT[name] then
    list[list.first] = nil
    list.first = list.first + 1
  end
  return made
end

--- Note what was done to a stream.
-- @tparam table entry flat: `message` ("refused", "closed", "denied" or "stopping"), `cause`, and
--   what is known of `client`, `user`, `ip`, `path`, `trace`, `channel`, `where`, `text`
function Recorder:deed(entry) add(self, "deeds", entry) end

--- Note the outcome of a reload.
-- @tparam table outcome of the reloader
function Recorder:reload(outcome)
  add(self, "reloads", { ok = outcome.ok, kind = outcome.kind, generation = outcome.generation,
    seconds = outcome.seconds, difference = outcome.difference, phase = outcome.phase,
    text = outcome.message, traceback = outcome.traceback,
    files = outcome.files and table.concat(outcome.files, " "),
    notes = outcome.notes and outcome.notes[1] and table.concat(outcome.notes, "\n") })
end

--- Note an error of the app's code. The same one again is counted, and has another `noted`, a
-- number that grows.
-- @tparam string where what failed
-- @tparam sluice.Failure problem
-- @tparam[opt] integer generation
function Recorder:error(where, problem, generation)
  local list = self.errors
  self.noted = self.noted + 1
  for i = list.last, list.first, -1 do
    local row = list[i]
    if row.where == cut(where) and row.text == cut(problem.message)
      and row.generation == generation then
      row.times, row.time, row.noted = row.times + 1, core.time(), self.noted
      return
    end
  end
  add(self, "errors", { where = where, text = problem.message, traceback = problem.traceback,
    generation = generation, times = 1, noted = self.noted })
end

--- The entries of a kind, the oldest first.
-- @tparam string name deeds, reloads or errors
-- @treturn {table,...} not to be changed
function Recorder:list(name)
  local list, out = self[name], {}
  for i = list.first, list.last do out[#out + 1] = list[i] end
  return out
end

--- Deeds that have a value in one of their fields.
-- @tparam string value
-- @tparam[opt] string field only this one
-- @treturn {table,...} the oldest first
function Recorder:find(value, field)
  local out = {}
  for _, entry in ipairs(self:list("deeds")) do
    local found = field and entry[field] == value
    for _, other in pairs(field and {} or entry) do found = found or other == value end
    if found then out[#out + 1] = entry end
  end
  return out
end

--- Since when all deeds are there; nil: since the start.
-- @treturn number|nil
function Recorder:since()
  local list = self.deeds
  return list.first > 1 and list[list.first].time or nil
end

return recorder
