--- What can be told about an app by reading it: mistakes of the first hour that are no errors.
-- Heuristics on the sources of one generation; each names its line. Keeps nothing in memory.
local globals = require("sluice.globals")
local patterns = require("sluice.patterns")

local warnings = {}

-- The lines of a function, as text.
local function body_of(generation, fn)
  local info = debug.getinfo(fn, "S")
  local path = info.source:match("^@(.*)")
  local text = path and (generation.sources[path] or generation.sources["./" .. path])
  if not text then return nil end
  local out, n = {}, 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    n = n + 1
    if n >= info.linedefined and n <= info.lastlinedefined then
      out[#out + 1] = line:gsub("%-%-[^%[].*$", "")
    end
  end
  return table.concat(out, "\n")
end

local function has_loop(text)
  return text:find("%f[%w_]while%f[^%w_]") or text:find("%f[%w_]for%f[^%w_]")
    or text:find("%f[%w_]repeat%f[^%w_]")
end

local function writers(generation, say)
  for _, route in ipairs(generation.routes) do
    local text = type(route.plan) == "function" and body_of(generation, route.plan)
    if text and has_loop(text) and text:find(":%s*send%s*%(") then
      say("%s: GET %s: a coroutine per client; app:every with a channel measures once for all",
        route.where, route.pattern)
      if not text:find("sleep") and not text:find("checkpoint") then
        say("%s: GET %s: a loop that sends needs sluice.sleep()", route.where, route.pattern)
      end
    end
  end
end

-- The first arguments of publish and remove in all files: literal names and starts of names.
local function published(generation)
  local list = {}
  for _, text in pairs(generation.sources) do
    for rest in text:gmatch("[:.]%s*publish%s*(%b())") do
      local quote, name, after = rest:match("^%(%s*([\"'])(.-)%1(.?.?.?)")
      if not quote then return nil end -- a name that is made at run time: nothing can be said
      list[#list + 1] = { name = name, open = after:find("^%s*%.%.") ~= nil }
    end
  end
  return list
end

local function is_published(list, template)
  for _, item in ipairs(list) do
    if not item.open and patterns.may_meet(item.name, template) then return true end
    local start = template:match("^[^:*]*")
    local shorter = math.min(#start, #item.name)
    if item.open and item.name:sub(1, shorter) == start:sub(1, shorter) then return true end
  end
  return false
end

local function unheard(generation, say)
  local list = published(generation)
  if not list then return end
  for _, route in ipairs(generation.routes) do
    for _, entry in ipairs(route.checked and route.checked.channels or {}) do
      if not is_published(list, entry[1]) then
        say('%s: "%s" is subscribed here and published nowhere in these files', route.where,
          entry[1])
      end
    end
  end
end

local CALLS = {
  { ":%s*after%s*%([^,()]+,%s*function", "app:after(…, function): name an app:task() instead; "
    .. "a function would not survive a reload" },
  { "io%.popen", "io.popen blocks the app while it waits; streams go on, handlers do not" },
  { "os%.execute", "os.execute blocks the app while it waits; streams go on, handlers do not" },
  { "require%s*%(?%s*[\"']socket", "luasocket blocks the app while it waits" },
}

local function calls(generation, say)
  for _, path in ipairs(generation.files) do
    local n = 0
    for line in ((generation.sources[path] or "") .. "\n"):gmatch("(.-)\n") do
      n = n + 1
      local code = line:gsub("%-%-.*$", "")
      for _, row in ipairs(CALLS) do
        if code:find(row[1]) then say("%s:%d: %s", path, n, row[2]) end
      end
    end
  end
end

--- The warnings about a generation.
-- @tparam sluice.Generation generation
-- @treturn {string,...}
function warnings.of(generation)
  local out = {}
  local function say(text, ...) out[#out + 1] = text:format(...) end
  for _, text in ipairs(generation.warnings) do out[#out + 1] = text end
  for _, text in ipairs(globals.undeclared(generation)) do out[#out + 1] = text end
  writers(generation, say)
  unheard(generation, say)
  calls(generation, say)
  return out
end

return warnings
