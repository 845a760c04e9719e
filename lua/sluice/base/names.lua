--- Errors for a name that an object of Sluice does not have: app:chanel suggests app:channel
-- instead of "attempt to call a nil value". In memory: the classes that are registered.
local caller = require("sluice.base.caller")
local options = require("sluice.base.options")

local names = {}

-- By metatable: of objects that may have names of the app's own. A class of an app's own file goes
-- with the file.
local classes = setmetatable({}, { __mode = "k" })

local function is_function(value) return type(value) == "function" end

-- What an object is called, and what it has: methods and functions by "app:name", fields by
-- "app.name".
local function describe(what, separator, methods, fields)
  local shown = {}
  for name, value in next, methods do
    if type(name) == "string" and name:sub(1, 1) ~= "_" then
      shown[name] = what .. (is_function(value) and separator or ".") .. name
    end
  end
  for _, name in ipairs(fields) do shown[name] = what .. "." .. name end
  return shown
end

local function list_of(shown)
  local list = {}
  for name in pairs(shown) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- Raise for a name that is not there.
-- @tparam string what the object, as apps call it
-- @tparam table shown name -> how it is written
-- @tparam string name
local function refuse(what, shown, name)
  local list = list_of(shown)
  local meant = options.nearest(name, list)
  if meant then
    caller.raise("%s has no '%s': did you mean %s?", what, name, shown[meant])
  end
  caller.raise("%s has no '%s' (it has: %s)", what, name, table.concat(list, ", "))
end

--- An __index for names that are found nowhere else: it raises, except for a leading "_".
-- @tparam table class methods or functions
-- @tparam string what what apps call it: "app", "sluice.json"
-- @tparam string separator ":" for methods, "." for functions
-- @tparam[opt] {string,...} fields that may be nil
-- @treturn function
function names.refuser(class, what, separator, fields)
  local allowed = {}
  for _, name in ipairs(fields or {}) do allowed[name] = true end
  return function(_, name)
    if type(name) ~= "string" or allowed[name] or name:sub(1, 1) == "_" then return nil end
    refuse(what, describe(what, separator, class, fields or {}), name)
  end
end

--- Let a table refuse the names that it does not have: a class, in which its objects find their
-- methods, or a module. As names.refuser.
-- @treturn table the class
function names.strict(class, what, separator, fields)
  return setmetatable(class, { __index = names.refuser(class, what, separator, fields) })
end

--- Register what objects with a metatable have, where an app may add fields of its own: a missing
-- name is no error by itself, and is explained by names.explain when its use failed.
-- @tparam table metatable
-- @tparam string what
-- @tparam table methods
-- @tparam {string,...} fields
function names.lenient(metatable, what, methods, fields)
  classes[metatable] = { what = what, methods = methods, fields = fields }
end

-- Call visit(value) for the locals and upvalues of the function at a level of the stack, until it
-- returns something.
local function each_value(level, visit)
  for i = 1, 200 do
    local name, value = debug.getlocal(level + 1, i)
    if not name then break end
    local found = visit(value)
    if found then return found end
  end
  local info = debug.getinfo(level + 1, "f")
  for i = 1, info and 255 or 0 do
    local name, value = debug.getupvalue(info.func, i)
    if not name then break end
    local found = visit(value)
    if found then return found end
  end
end

--- Add to Lua's error about a nil what was probably meant, when the function that failed holds an
-- object with a similar name. For message handlers, which run where it failed.
-- @tparam string message
-- @tparam integer level of that function, counted from the caller
-- @treturn string the message, or the message and a question
function names.explain(message, level)
  local name = message:match("attempt to call a nil value %(method '([%w_]+)'%)$")
    or message:match("attempt to %l+ a nil value %(field '([%w_]+)'%)$")
  if not name then return message end
  local meant = each_value(level + 1, function(value)
    local class = classes[debug.getmetatable(value) or false]
    if not class then return nil end
    local shown = describe(class.what, ":", class.methods, class.fields)
    local near = options.nearest(name, list_of(shown))
    return near and near ~= name and shown[near]
  end)
  return meant and ("%s: did you mean %s?"):format(message, meant) or message
end

return names
