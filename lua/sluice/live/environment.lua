--- The environment of the files of one generation: their own globals, their own module cache,
-- and a `require` that loads files of the app's folder again and everything else from the host.
-- In memory: one table per generation, freed with it.
local budget = require("sluice.base.budget")
local caller = require("sluice.base.caller")
local file = require("sluice.base.file")
local need = require("sluice.base.need")
local process = require("sluice.base.process")

local environment = {}

local ABSENT = { [2] = true, [20] = true } -- ENOENT, and ENOTDIR: a folder on the way is none
local A_FOLDER = 21 -- EISDIR

-- The text; or nil and, unless there is no such file, why.
local function read_file(path)
  local text, message, code = file.read(path)
  if text then return text end
  if ABSENT[code] then return nil end
  return nil, code == A_FOLDER and "is a folder" or "cannot be read: "
    .. tostring(message):gsub("^.*: ", "")
end

-- What Lua compiles: without the byte order mark that some editors write, and without a first line
-- that starts with '#'.
local function source_of(text)
  return (text:gsub("^\xEF\xBB\xBF", "", 1):gsub("^#[^\n]*", "", 1))
end

--- The text of a file of the app: from the disk, or of a revision that was kept. It is read
-- once, and remembered with the generation.
-- @tparam sluice.Generation generation
-- @tparam string path
-- @treturn string|nil the source; or nil and, unless there is no such file, why
function environment.read(generation, path)
  local text, problem
  if generation.given then text = generation.given[path] else text, problem = read_file(path) end
  if not text then return nil, problem end
  generation.sources[path] = text
  return source_of(text)
end

--- Make a function of a source; raises what names the file.
-- @tparam string source from environment.read
-- @tparam string path as it is shown
-- @tparam table env
-- @treturn function
function environment.compile(source, path, env)
  if source:sub(1, 1) == "\27" then
    error(path .. ": is compiled Lua (bytecode); only source text is loaded", 0)
  elseif source:find("^\xFF\xFE") or source:find("^\xFE\xFF") then
    error(path .. ": is UTF-16; save it as UTF-8", 0)
  end
  local chunk, message = load(source, "@" .. path, "t", env)
  if not chunk then error(message, 0) end
  return chunk
end

-- The file of the app's folder that a module name stands for, or nil for the host's modules. The
-- app's own file is none, though a module may have its name.
local function find_module(generation, name)
  if type(name) ~= "string" or name == "sluice" or name:find("^sluice%.") then return nil end
  local stem = "/" .. name:gsub("%.", "/")
  for _, root in ipairs(generation.roots) do
    for _, path in ipairs({ root .. stem .. ".lua", root .. stem .. "/init.lua" }) do
      if not generation:is_entry(path) then
        local text, problem = environment.read(generation, path)
        if text then return path, text end
        if problem then caller.raise("%s: %s", path, problem) end
      end
    end
  end
end

local function cycle(generation, name)
  local list = {}
  for i = #generation.requiring, 1, -1 do
    table.insert(list, 1, generation.requiring[i])
    if generation.requiring[i] == name then break end
  end
  caller.raise("require cycle: %s -> %s", table.concat(list, " -> "), name)
end

local LOADING = {}

local function load_module(generation, env, name, path, text)
  generation.modules[name] = LOADING
  table.insert(generation.requiring, name)
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    table.remove(generation.requiring)
    if problem ~= nil then generation.modules[name] = nil end
  end })
  local shown = path:gsub("^%./", "")
  generation.files[#generation.files + 1] = path
  local value = environment.compile(text, shown, env)(name, shown)
  if value == nil then value = true end
  generation.modules[name] = value
  return value
end

-- Whether the working directory must not be searched: for Sluice's own modules, and when the
-- app's own file would be found there.
local function is_elsewhere(generation, name)
  if name == "sluice" or name:find("^sluice%.") then return true end
  local path = package.searchpath(name, package.path)
  return path ~= nil and generation:is_entry(path)
end

-- The host's module; where it is missing, its file is watched for.
local function from_host(generation, name)
  local elsewhere = type(name) == "string" and is_elsewhere(generation, name)
  local ok, value, origin = pcall(elsewhere and need.elsewhere or require, name)
  if ok then return value, origin end
  if type(name) == "string" then
    local path = generation.root .. "/" .. name:gsub("%.", "/") .. ".lua"
    generation.missing[#generation.missing + 1] = path
  end
  error(value, 0)
end

local function make_require(generation, env)
  return function(name)
    if name == "coroutine" or name == "os" then return env[name] end
    local value = generation.modules[name]
    if value == LOADING then cycle(generation, name) end
    if value ~= nil then return value end
    local path, text = find_module(generation, name)
    if not path then return from_host(generation, name) end
    value = load_module(generation, env, name, path, text)
    if generation.phase ~= "load" and generation.runtime then generation.runtime:files_changed() end
    return value
  end
end

-- Chunks that the app loads itself have the same environment, and are text.
local function make_loaders(env)
  function env.load(chunk, name, _, ...)
    if select("#", ...) > 0 then return load(chunk, name, "t", (...)) end
    return load(chunk, name, "t", env)
  end
  -- Lua does not name the file when it is compiled
  local function load_text(path, world)
    local chunk, message = loadfile(path, "t", world)
    if chunk or path == nil or message:find(path, 1, true) then return chunk, message end
    return nil, path .. ": " .. message
  end
  function env.loadfile(path, _, ...)
    if select("#", ...) > 0 then return load_text(path, (...)) end
    return load_text(path, env)
  end
  function env.dofile(path)
    local chunk, message = load_text(path, env)
    if not chunk then error(message, 2) end
    return chunk()
  end
end

local function undeclared(name)
  caller.raise("'%s' is not declared: use local, or app:state for what must survive",
    tostring(name))
end

--- Make the environment of a generation.
-- Undeclared globals are allowed while loading (with a warning) and raise in handlers.
-- @tparam sluice.Generation generation
-- @treturn table
function environment.new(generation)
  local env = {}
  for k, v in pairs(_G) do env[k] = v end
  env._G = env
  env.coroutine, env.os, env.xpcall = budget.library(), process.os, budget.xpcall
  env.require = make_require(generation, env)
  make_loaders(env)
  return setmetatable(env, {
    __index = function(_, name)
      local value = rawget(_G, name)
      if value == nil and generation.phase ~= "load" then undeclared(name) end
      return value
    end,
    __newindex = function(_, name, value)
      if generation.phase ~= "load" then undeclared(name) end
      generation.warnings[#generation.warnings + 1] =
        ("%s: global '%s' set while loading: use local"):format(caller.where(), tostring(name))
      rawset(env, name, value)
    end,
  })
end

return environment
