--- app:state: tables that belong to the server and survive a reload.
-- A handle is called for the live table, in handlers only. Versions migrate off to the
-- side and are installed at the swap. In memory: one table per state name, in the runtime.
local caller = require("sluice.base.caller")
local options = require("sluice.base.options")
local plain = require("sluice.base.plain")

local state = {}

local OPTIONS = { version = options.NONE, migrate = options.FUNCTION }

local function wrong(name)
  return function() caller.raise("a state is a handle: write %s().field", name) end
end

local function make_handle(generation, name)
  local raise = wrong(name)
  return setmetatable({}, {
    __name = "sluice.State", __index = raise, __newindex = raise, __len = raise, __pairs = raise,
    __tostring = function() return "sluice.State: " .. name end,
    __call = function()
      if generation.phase == "load" then
        caller.raise("state '%s' is not there while the app is loading: use it in a handler", name)
      elseif generation.phase == "retired" then
        caller.raise("generation %d is retired", generation.id)
      end
      -- while it retires a generation keeps the version that its code knows
      local row = generation.kept and generation.kept[name] or generation.runtime.states[name]
      return row.data
    end,
  })
end

--- Declare: app:state.
-- @tparam sluice.Generation generation
-- @tparam string name
-- @tparam table init the first value; copied
-- @tparam[opt] table given { version = 1, migrate = fn(copy, old_version) }
-- @treturn table the handle
function state.declare(generation, name, init, given)
  if type(name) ~= "string" or name == "" then
    caller.raise("app:state(name, init): the name is a string")
  end
  local what = ("state '%s'"):format(name)
  if generation.states[name] then
    caller.raise_taken(what .. " is declared twice", generation.states[name].where)
  end
  if type(init) ~= "table" then
    caller.raise("%s: the first value is a table, not a %s", what, type(init))
  end
  local fault = plain.fault(init, name)
  if fault then caller.raise("%s: %s: only plain data survives a reload", what, fault) end
  local o = options(what, given, OPTIONS)
  if o.version == nil then o.version = 1 end
  if type(o.version) ~= "number" and type(o.version) ~= "string" then
    caller.raise("%s: version is a number or a string, not a %s", what, type(o.version))
  end
  generation.states[name] = { init = init, version = o.version, migrate = o.migrate,
    where = caller.where(), module = caller.module() }
  return make_handle(generation, name)
end

local function dropped_note(text)
  return ("%s: dropped from the state, only plain data survives a reload"):format(text)
end

local function migrated(name, old, wanted, notes)
  if not wanted.migrate then
    local text = "%s: state '%s' is at version %s, the app says %s and has no migrate function"
    error(text:format(wanted.where, name, tostring(old.version), tostring(wanted.version)), 0)
  end
  local copy, dropped = plain.clean_copy(old.data, name)
  for _, text in ipairs(dropped) do notes[#notes + 1] = dropped_note(text) end
  local data = wanted.migrate(copy, old.version)
  if type(data) ~= "table" then
    error(("%s: state '%s': migrate returned a %s"):format(wanted.where, name, type(data)), 0)
  end
  local fault = plain.fault(data, name)
  if fault then error(("%s: state '%s': migrate: %s"):format(wanted.where, name, fault), 0) end
  return data
end

--- The tables that a generation will see; raises when a migration fails. Installs nothing.
-- @tparam table existing the runtime's states
-- @tparam sluice.Generation generation
-- @tparam {string,...} notes gets a sentence for each value that cannot survive
-- @treturn table name -> { version, data }
-- @treturn {table,...} what is to be dropped from tables that stay, for state.install
function state.prepare(existing, generation, notes)
  local out, faults = {}, {}
  for name, wanted in pairs(generation.states) do
    local old = existing[name]
    if not old then
      out[name] = { version = wanted.version, data = plain.copy(wanted.init) }
    elseif old.version == wanted.version then
      out[name] = old
      for _, fault in ipairs(plain.faults(old.data, name)) do faults[#faults + 1] = fault end
    else
      out[name] = { version = wanted.version, data = migrated(name, old, wanted, notes) }
    end
  end
  return out, faults
end

--- Install prepared tables. Cannot fail.
-- @tparam table existing
-- @tparam table rows from state.prepare
-- @tparam {table,...} faults from state.prepare
-- @tparam sluice.Generation|nil old the generation that goes on with versions it knows
-- @treturn {string,...} a sentence for each value that was dropped
function state.install(existing, rows, faults, old)
  local notes = plain.drop(faults)
  for i, text in ipairs(notes) do notes[i] = dropped_note(text) end
  for name, row in pairs(rows) do
    if old and existing[name] and existing[name] ~= row then
      old.kept = old.kept or {}
      old.kept[name] = existing[name]
    end
    existing[name] = row
  end
  return notes
end

return state
