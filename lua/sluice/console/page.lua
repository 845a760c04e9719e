--- The files of the console's page (beside this one), which are the same on every server: the core
-- serves them to whoever asks, and they have nothing to show without the admin key.
-- In memory: the files, read once.
local file = require("sluice.base.file")

local page = {}

local FOLDER = debug.getinfo(1, "S").source:match("^@(.*/)console/[^/]*$")
local TYPES = { html = "text/html; charset=utf-8", css = "text/css; charset=utf-8",
  js = "text/javascript; charset=utf-8", svg = "image/svg+xml" }

--- What the page consists of, by where it is served.
page.FILES = { ["/-/console/sluice.js"] = "browser/sluice.js" }
for _, name in ipairs { "console.css", "console.js", "dom.js", "figures.js", "lists.js", "log.js",
  "past.js", "forms.js", "logo.svg" } do
  page.FILES["/-/console/" .. name] = "console/page/" .. name
end

local loaded

local function load()
  local out = {}
  for url, name in pairs(page.FILES) do
    out[url] = { type = TYPES[name:match("%a+$")], body = assert(file.read(FOLDER .. name)) }
  end
  -- its names are relative, so that a proxy may put a path before all
  local html = assert(file.read(FOLDER .. "console/page/index.html"))
  out["/-/console"] = { type = TYPES.html, body = html }
  out["/-/console/"] = { type = TYPES.html, body = (html:gsub('="console/', '="')) }
  return out
end

--- Add them to a snapshot, before the routes of the app.
-- @tparam table list
function page.for_core(list)
  loaded = loaded or load()
  for url, content in pairs(loaded) do
    table.insert(list, 1, { pattern = url, kind = "static", files = { [url] = content } })
  end
end

return page
