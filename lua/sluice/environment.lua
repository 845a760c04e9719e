--- The world that the files of one generation see: their own globals, their own module
-- cache, a `require` that loads files of the app's folder afresh and everything else from
-- the host. In memory: one table per generation, gone with it.
local caller = require("sluice.caller")
local guard = require("sluice.guard")
local process = require("sluice.process")

local environment = {}

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a") -- nil for a folder
  file:close()
  return text
end

--- The text of a file of the app: from the disk, or of a revision that was kept. It is read
-- once, and remembered with the generation.
-- @tparam sluice.Generation generation
-- @tparam string path
-- @treturn string|nil without a first line that starts with '#'
function environment.read(generation, path)
  local text
  if generation.given then text = generation.given[path] else text = read_file(path) end
  if not text then return nil end
  generation.sources[path] = text
  return (text:gsub("^#[^\n]*", "", 1))
end

-- The file of the app's folder that a module name means, or nil for the host's modules.
local function find_module(generation, name)
  if type(name) ~= "string" or name == "sluice" or name:find("^sluice%.") then return nil end
  local stem = generation.root .. "/" .. name:gsub("%.", "/")
  for _, path in ipairs({ stem .. ".lua", stem .. "/init.lua" }) do
    local text = environment.read(generation, path)
    if text then return path, text end
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
  local chunk, message = load(text, "@" .. shown, "t", env)
  if not chunk then error(message, 0) end
  local value = chunk(name, shown)
  if value == nil then value = true end
  generation.modules[name] = value
  return value
end

-- The host's module; where it is missing, its file is watched for.
local function from_host(generation, name)
  local ok, value, origin = pcall(require, name)
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

-- Chunks that the app loads itself see the same world, and are text.
local function make_loaders(env)
  function env.load(chunk, name, _, ...)
    if select("#", ...) > 0 then return load(chunk, name, "t", (...)) end
    return load(chunk, name, "t", env)
  end
  function env.loadfile(path, _, ...)
    if select("#", ...) > 0 then return loadfile(path, "t", (...)) end
    return loadfile(path, "t", env)
  end
  function env.dofile(path)
    local chunk, message = loadfile(path, "t", env)
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
  env.coroutine, env.os = guard.library(), process.os
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
