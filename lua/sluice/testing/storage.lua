--- The disk in memory of an app under test: what it does to commits, and what is on it. It outlives
-- the app's kills and restarts. In memory: its files.
local arguments = require("sluice.testing.arguments")
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local options = require("sluice.base.options")
local show = require("sluice.base.show")
local stored = require("sluice.live.stored")

local storage = {}

local Storage = {}
Storage.__index = Storage

local FULL = 1 -- a disk that holds more than it may takes nothing
local FAULTS = { write = { write_error_in = 1, sync_error_in = 0, ever = true },
  sync = { write_error_in = 0, sync_error_in = 1, ever = true },
  none = { write_error_in = 0, sync_error_in = 0 } }

local CHECK = {
  commit = { "a number of seconds from 0", function(v)
    return type(v) == "number" and v >= 0 and v <= 1e6
  end },
  full = { "true, false or a number of bytes", function(v)
    return type(v) == "boolean" or math.type(v) == "integer" and v > 0
  end },
  failing = { '"write", "sync" or false', function(v)
    return v == false or v == "write" or v == "sync"
  end },
}
CHECK.early = { "true or false", function(v) return type(v) == "boolean" end }
CHECK.hung = CHECK.early

--- Make one; nothing is on it.
-- @tparam function seed gives the number that fates of writes are drawn with
function storage.new(seed)
  return setmetatable({ seed = seed, disk = nil, server = nil, commit = 0.002, early = false,
    full = false, failing = false, hung = false }, Storage)
end

--- Whether something may be on it.
function Storage:is_there() return self.disk ~= nil end

local function apply(self)
  if not self.disk then return end
  local full = self.full == true and FULL or self.full or 0
  self.disk:fault { full_bytes = full }
  self.disk:fault(FAULTS[self.failing or "none"])
  if not self.server then return end
  self.server:store_pace(self.commit, self.early)
  self.server:store_hold(self.hung)
end

--- Give a runtime its store: true, or nil, message, code.
function Storage:open(runtime)
  self.disk = self.disk or core.disk(self.seed())
  apply(self)
  local opened, message, code = stored.take(runtime, { disk = self.disk })
  if not opened then return nil, message, code end
  self.server = runtime.server
  apply(self)
  return true
end

--- The server has ended: cleanly, or as a kill or a power cut would.
-- @tparam string how "stop", "kill" or "cut"
function Storage:close(how)
  self.server = nil
  if self.disk and how ~= "stop" then self.disk[how](self.disk) end
end

--- Change what it does; for t:disk.
function Storage:set(given)
  arguments.check("t:disk(options)", given, "table")
  options.check_names("t:disk", given, CHECK)
  for name, value in pairs(given) do
    local wanted, fits = table.unpack(CHECK[name])
    if not fits(value) then
      caller.raise("t:disk: %s is %s, not %s", name, wanted, show(value))
    end
  end
  for name, value in pairs(given) do self[name] = value end
  apply(self)
end

return storage
