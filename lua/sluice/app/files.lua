--- app:static: a folder, read into memory when the app loads, so that a slow disk delays no
-- stream. Symbolic links, devices and names that begin with a dot are left out. In memory: the
-- files, at most 1 MiB each and 32 MiB together, passed to the core.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local file = require("sluice.base.file")

local files = {}

local ABSENT = { ENOENT = true, ENOTDIR = true }
local NO_FILE = 2 -- ENOENT
local FILE_MAX, TOTAL_MAX = core.limits.STATIC_FILE_MAX, core.limits.STATIC_BYTES_MAX

local TYPES = { html = "text/html; charset=utf-8", css = "text/css; charset=utf-8",
  js = "text/javascript; charset=utf-8", mjs = "text/javascript; charset=utf-8",
  json = "application/json", map = "application/json", txt = "text/plain; charset=utf-8",
  md = "text/markdown; charset=utf-8", svg = "image/svg+xml", png = "image/png", jpg = "image/jpeg",
  jpeg = "image/jpeg", gif = "image/gif", webp = "image/webp", ico = "image/x-icon",
  woff2 = "font/woff2", woff = "font/woff", wasm = "application/wasm", xml = "application/xml",
  webmanifest = "application/manifest+json", pdf = "application/pdf" }

--- The Content-Type of a file name.
function files.type_of(name)
  return TYPES[(name:match("%.(%w+)$") or ""):lower()] or "application/octet-stream"
end

-- Names of the regular files under a folder, relative to it.
local function list(folder)
  local names, message = core.list_files(folder)
  if not names then error(("app:static(): the folder %s: %s"):format(folder, message), 0) end
  local out = {}
  for _, name in ipairs(names) do
    if not ("/" .. name):find("/%.") then out[#out + 1] = name end
  end
  table.sort(out)
  return out
end

-- The text, or nil when the file was removed meanwhile. One that exists but cannot be read raises:
-- it must not be left out without notice.
local function read(path)
  local text, message, code = file.read(path, FILE_MAX + 1)
  if text or code == NO_FILE then return text end
  error("app:static(): " .. message, 0)
end

-- Beside the app's file, or beside the file that it is a link to.
local function find_folder(generation, folder)
  local roots = folder:sub(1, 1) == "/" and { "" } or generation.roots
  for _, root in ipairs(roots) do
    local path = root == "" and folder or root .. "/" .. folder
    local names, message, code = core.list_files(path)
    if names then return path end
    if code and not ABSENT[code] then
      caller.raise("app:static(): the folder '%s': %s", path, message)
    end
  end
  local path = roots[1] == "" and folder or generation.root .. "/" .. folder
  caller.raise("app:static(): there is no folder '%s'", path)
end

--- Register: app:static.
-- @tparam sluice.Generation generation
-- @tparam string prefix a URL path
-- @tparam string folder relative to the app's file
function files.register(generation, prefix, folder, ...)
  if select("#", ...) > 0 then caller.raise("app:static(prefix, folder) takes no options") end
  if type(prefix) ~= "string" or prefix:sub(1, 1) ~= "/" or prefix:find("[:*]") then
    caller.raise("app:static(prefix, folder): the prefix is a path such as \"/\" or \"/assets\"")
  end
  if type(folder) ~= "string" or folder == "" then
    caller.raise("app:static(prefix, folder): the folder is a string")
  end
  prefix = prefix:gsub("/+$", "")
  if generation.static_named[prefix] then
    caller.raise("app:static(\"%s/\") is registered already (%s)", prefix,
      generation.static_named[prefix])
  end
  generation.static_named[prefix] = caller.where()
  local path = find_folder(generation, folder)
  table.insert(generation.statics, { prefix = prefix, folder = path })
end

-- Whether one of the app's guards applies to a path.
local function is_guarded(generation, url)
  for _, guards in ipairs(generation.guards) do
    if core.match(guards.pattern, url) then return true end
  end
  return false
end

-- The route of guarded files: the I/O threads know no guards. When all guards agree, the core
-- answers with the file, as it does without guards; `files` has the paths.
local function guarded_route(prefix, guarded)
  local name = ("FILES %s/**"):format(prefix)
  local paths = {}
  for url in pairs(guarded) do paths[url] = true end
  return { name = name, title = name, where = name, method = "GET", pattern = prefix .. "/**",
    guards = {}, files = paths, handler = function() return 404, "not found" end }
end

--- Read one registered folder.
-- @tparam table static
-- @tparam integer total bytes read for others before
-- @treturn table url -> { type, body }
-- @treturn integer bytes in all
function files.load(static, total)
  local out = {}
  for _, name in ipairs(list(static.folder)) do
    local body = read(static.folder .. "/" .. name)
    if body and #body > FILE_MAX then
      error(("app:static(): %s/%s is larger than %d bytes"):format(static.folder, name, FILE_MAX),
        0)
    elseif body then
      total = total + #body
      if total > TOTAL_MAX then
        error(("app:static(): more than %d bytes in all"):format(TOTAL_MAX), 0)
      end
      local loaded = { type = files.type_of(name), body = body }
      local url = static.prefix .. "/" .. name
      out[url] = loaded
      if name == "index.html" or name:find("/index%.html$") then out[url:sub(1, -11)] = loaded end
    end
  end
  return out, total
end

--- Read all registered folders, as routes for the core: the deepest prefix first. Files under
-- a guard of the app become a route of their own, so that the guard is asked.
-- @tparam sluice.Generation generation
-- @tparam function id_of as in routes.for_core
-- @tparam table out where to add
function files.for_core(generation, id_of, out)
  local statics = table.move(generation.statics, 1, #generation.statics, 1, {})
  table.sort(statics, function(a, b) return #a.prefix > #b.prefix end)
  local total = 0
  for _, static in ipairs(statics) do
    local loaded, sum = files.load(static, total)
    local guarded = {}
    total = sum
    for url, content in pairs(loaded) do
      if is_guarded(generation, url) then guarded[url] = content end
    end
    for url in pairs(guarded) do loaded[url] = nil end
    out[#out + 1] = { pattern = static.prefix .. "/**", kind = "static", files = loaded }
    if next(guarded) then
      local route = guarded_route(static.prefix, guarded)
      generation.route_named[route.name] = route
      local id = id_of(route.name)
      out[#out + 1] = { pattern = route.pattern, kind = "static", id = id, files = guarded }
      out[#out + 1] = { method = "GET", pattern = route.pattern, kind = "handler", id = id }
    end
  end
end

return files
