--- Checks of what a test gives to the kit: a mistake raises at the test's own line, before it makes
-- the test pass for a wrong reason. Keeps nothing in memory.
local caller = require("sluice.base.caller")
local options = require("sluice.base.options")
local show = require("sluice.base.show")

local arguments = {}

local KINDS = {
  seconds = { "a number of seconds from 0",
    function(v) return type(v) == "number" and v >= 0 and v < math.huge end },
  number = { "a number", function(v) return math.type(v) == "integer" end },
  text = { "a string", function(v) return type(v) == "string" end },
  table = { "a table", function(v) return type(v) == "table" end },
  fn = { "a function", function(v) return type(v) == "function" end },
}

--- Raise unless a value is of a kind.
-- @tparam string what "t:advance(seconds)"
-- @param value
-- @tparam string kind
-- @tparam[opt] boolean optional nil will do
function arguments.check(what, value, kind, optional)
  if optional and value == nil or KINDS[kind][2](value) then return end
  caller.raise("%s: %s is expected, not %s", what, KINDS[kind][1], show(value))
end

--- Raise unless a value is one of some words.
function arguments.one_of(what, value, words, optional)
  if optional and value == nil then return end
  for _, word in ipairs(words) do
    if value == word then return end
  end
  local near = type(value) == "string" and options.nearest(value, words)
  caller.raise("%s: there is no %s%s (known: %s)", what, show(value),
    near and (", did you mean '%s'?"):format(near) or "", table.concat(words, ", "))
end

--- Raise unless a method was called with its object.
-- @tparam table class
-- @param self
-- @tparam string name how the object is called in messages: "t"
-- @tparam string method
function arguments.self(class, self, name, method)
  if getmetatable(self) == class then return end
  caller.raise("%s.%s was called without %s: write %s:%s(…) with a colon", name, method, name, name,
    method)
end

--- Raise unless a method was called with a test that was not stopped.
function arguments.running(class, t, method)
  arguments.self(class, t, "t", method)
  if t.stopped or t.whole and t.whole.stopped then
    caller.raise("t:%s(): this test was stopped", method)
  end
end

--- Raise when the app of a test is not in this process.
function arguments.inside(t, method)
  if t.place.virtual then return end
  caller.raise("t:%s() needs the app in this process: this test goes over real connections", method)
end

return arguments
