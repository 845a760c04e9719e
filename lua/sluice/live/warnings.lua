--- Warnings found by reading an app's text: common first mistakes that are no errors.
-- Heuristics on the sources of one generation; each names its line. Keeps nothing in memory.
local sources = require("sluice.live.sources")
local unmet = require("sluice.live.unmet")

local warnings = {}

local function has_loop(text)
  return text:find("%f[%w_]while%f[^%w_]") or text:find("%f[%w_]for%f[^%w_]")
    or text:find("%f[%w_]repeat%f[^%w_]")
end

local function writers(generation, say)
  for _, route in ipairs(generation.routes) do
    local text = type(route.plan) == "function" and sources.body_of(generation, route.plan)
    if text and has_loop(text) and text:find(":%s*send%s*%(") then
      say("%s: GET %s: a coroutine per client; app:every with a channel measures once for all",
        route.where, route.pattern)
      if not text:find("sleep") and not text:find("checkpoint") then
        say("%s: GET %s: a loop that sends needs sluice.sleep()", route.where, route.pattern)
      end
    end
  end
end

local CALLS = {
  { ":%s*after%s*%([^,()]+,%s*function", "app:after(…, function): name an app:task() instead; "
    .. "a function would not survive a reload" },
  { "io%.popen", "io.popen blocks the app while it waits; streams continue, handlers do not" },
  { "os%.execute", "os.execute blocks the app while it waits; streams continue, handlers do not" },
  { "require%s*%(?%s*[\"']socket", "luasocket blocks the app while it waits" },
}

--- The warnings about a generation.
-- @tparam sluice.Generation generation
-- @treturn {string,...}
function warnings.of(generation)
  local out = {}
  local function say(text, ...) out[#out + 1] = text:format(...) end
  for _, text in ipairs(generation.warnings) do out[#out + 1] = text end
  if not generation.files[1] then return out end -- an app that a program made: its text is unknown
  writers(generation, say)
  unmet.warn(generation, say)
  sources.find(generation, CALLS, function(where, row) say("%s: %s", where, row[2]) end)
  return out
end

return warnings
