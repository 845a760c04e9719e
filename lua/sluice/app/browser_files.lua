--- /sluice.js and what belongs to it (lua/sluice/browser): served by every app, also before anybody
-- has signed in and to pages of other origins, unless the app has a route or a file of that path.
-- In memory: the files, read once.
local file = require("sluice.base.file")
local files = require("sluice.app.files")

local browser_files = {}

local FOLDER = debug.getinfo(1, "S").source:match("^@(.*)/app/[^/]*$") .. "/browser/"

--- What a page may load; other files of the folder are for packages.
browser_files.NAMES = { "sluice.js", "sluice.share.js", "sluice.legacy.js" }

local loaded

local function load()
  local out = {}
  for _, name in ipairs(browser_files.NAMES) do
    out["/" .. name] = { type = files.type_of(name), body = assert(file.read(FOLDER .. name)) }
  end
  return out
end

local function is_taken(list, url)
  for _, route in ipairs(list) do
    if route.pattern == url or route.files and route.files[url] then return true end
  end
  return false
end

--- Add them to the routes of an app, before all patterns.
-- @tparam table list of the app's routes and files
-- @tparam table cors the app's rules
-- @treturn table the rules, and one for each of these files behind them
function browser_files.for_core(list, cors)
  loaded = loaded or load()
  local rules = table.move(cors, 1, #cors, 1, {})
  for _, name in ipairs(browser_files.NAMES) do
    local url = "/" .. name
    if not is_taken(list, url) then
      table.insert(list, 1, { pattern = url, kind = "static", files = { [url] = loaded[url] } })
      rules[#rules + 1] = { pattern = url, origins = { "*" }, credentials = false,
        max_age = 7200 }
    end
  end
  return rules
end

return browser_files
