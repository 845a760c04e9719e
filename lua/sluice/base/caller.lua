--- The file and line of the user's code that called, for messages and for the list of routes.
-- Frames of Sluice itself and of C functions are skipped, so that a mistake made through
-- a kit module still points at the line that the user wrote. Keeps nothing in memory.
local caller = {}

local OWN = debug.getinfo(1, "S").source:match("^@(.*)base/caller%.lua$")

--- The folder of Sluice's own files, as debug.getinfo names it; nil when it cannot be known.
caller.OWN = OWN

--- Whether a chunk is a file of Sluice itself.
-- @tparam string source as debug.getinfo returns it
function caller.is_own(source)
  return OWN ~= nil and source:sub(2, #OWN + 1) == OWN
end

local function file_of(info)
  return info.source:match("^@(.*)") or info.short_src
end

--- The position of the nearest frame that is not Sluice's own.
-- @treturn string `app.lua:12`, or "?" when there is none
-- @treturn string|nil the file's name
function caller.where()
  for level = 2, 200 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if info.what ~= "C" and not caller.is_own(info.source) then
      return ("%s:%d"):format(file_of(info), info.currentline), file_of(info)
    end
  end
  return "?", nil
end

--- Where something was decided: the user's line; or, where a module of Sluice's decides by itself,
-- what that runs in.
-- @tparam table|nil fiber the one that runs
-- @treturn string "at app.lua:12", or "by the timer auth:keys (app.lua:7)"
-- @treturn string|nil the line
function caller.place(fiber)
  local where = caller.where()
  if where ~= "?" then return "at " .. where, where end
  if not fiber then return "by Sluice itself", nil end
  return "by the " .. fiber.name, fiber.name:match("%(([^()]+:%d+)%)$")
end

--- The module of Sluice's that called a method of the app ("rooms"); nil: the user's code did.
-- Helpers in base/ are passed over: they are called by both.
function caller.module()
  for level = 2, 200 do
    local info = debug.getinfo(level, "S")
    if not info then break end
    local is_own = caller.is_own(info.source)
    local is_between = is_own and (info.source:find("^app[./]", #OWN + 2)
      or info.source:find("^base/", #OWN + 2))
    if info.what ~= "C" and not is_between then
      return is_own and info.source:match("^%l+", #OWN + 2) or nil
    end
  end
end

--- Whether a module of Sluice's called a method of the app, and not the user's code.
function caller.is_module() return caller.module() ~= nil end

--- The user's part of the call stack, or all of it when Sluice itself is at fault.
-- @tparam string message what was raised
-- @treturn string|nil nil when there is no frame to show
function caller.traceback(message)
  if OWN and message:sub(1, #OWN) == OWN then return debug.traceback(nil, 3) end
  local lines = {}
  for level = 3, 200 do
    local info = debug.getinfo(level, "Sln")
    if not info then break end
    if info.what ~= "C" and not caller.is_own(info.source) then
      local what = info.what == "main" and "the main chunk" or info.name or "a function"
      lines[#lines + 1] = ("  %s:%d: in %s"):format(file_of(info), info.currentline, what)
    end
  end
  return lines[1] and table.concat(lines, "\n") or nil
end

--- Raise an error that points at the user's line.
-- @tparam string message
function caller.raise(message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  local where = caller.where()
  error(where == "?" and message or where .. ": " .. message, 0)
end

--- Raise that a name is taken. Who made a second kit module of a kind did not write that name: it
-- is told how to give another one.
-- @tparam string what "state 'room' is declared twice"
-- @tparam string where the line that took it
function caller.raise_taken(what, where)
  local hint = caller.is_module() and "; give one of them a name: { name = … }" or ""
  caller.raise("%s (%s)%s", what, where, hint)
end

--- The name of the C function that calls back into Lua just now ("string.gsub"), or nil.
-- @treturn string|nil
function caller.c_function()
  for level = 2, 200 do
    local info = debug.getinfo(level, "Sn")
    if not info then return nil end
    if info.what == "C" and info.name and info.name ~= "yield" then
      for _, library in ipairs({ "string", "table" }) do
        if _G[library][info.name] then return library .. "." .. info.name end
      end
      return info.name
    end
  end
  return nil
end

return caller
