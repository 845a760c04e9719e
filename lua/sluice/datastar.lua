--- Events for pages with Datastar 1: elements and signals to be patched.
---
---   app:publish("orders", datastar.patch_elements('<b id="n">' .. n .. "</b>"))
---   client:send(datastar.patch_signals { open = true })
---
--- A function of events returns the event's name and its data, as app:publish, client:send and
--- client:stop take them. (The events are those of https://data-star.dev/reference/sse_events.)
--- Keeps nothing in memory.
local caller = require("sluice.base.caller")
local html = require("sluice.base.html")
local json = require("sluice.json")
local names = require("sluice.base.names")
local options = require("sluice.base.options")

---@class sluice.Datastar
local datastar = {}

local ELEMENTS, SIGNALS = "datastar-patch-elements", "datastar-patch-signals"
local MODES = { outer = true, inner = true, replace = true, prepend = true, append = true,
  before = true, after = true, remove = true }
local NAMESPACES = { html = true, svg = true, mathml = true }
local PATCH = { selector = options.STRING, mode = "outer", namespace = "html",
  use_view_transition = false }
local SIGNALS_OPTIONS = { only_if_missing = false }
local SCRIPT = { auto_remove = true, attributes = options.TABLE }

local function check_text(what, text, name)
  if type(text) ~= "string" then
    caller.raise("datastar.%s: the %s is a string, not a %s", what, name, type(text))
  end
end

local function check_choice(what, name, value, known)
  if known[value] then return end
  local list = {}
  for word in pairs(known) do list[#list + 1] = word end
  table.sort(list)
  caller.raise("datastar.%s: %s '%s' is unknown (known: %s)", what, name, value,
    table.concat(list, ", "))
end

-- A field of an event, a line for each line of the text.
local function add(lines, field, text)
  for _, line in ipairs(html.lines(text)) do lines[#lines + 1] = field .. " " .. line end
end

local function patch(what, text, o)
  check_choice(what, "mode", o.mode, MODES)
  check_choice(what, "namespace", o.namespace, NAMESPACES)
  if o.selector and (o.selector == "" or o.selector:find("[\r\n]")) then
    caller.raise("datastar.%s: the selector is empty or has several lines", what)
  end
  if text == "" and not (o.selector and (o.mode == "remove" or o.mode == "inner")) then
    caller.raise("datastar.%s: the HTML is empty", what)
  end
  local lines = {}
  if o.selector then add(lines, "selector", o.selector) end
  if o.mode ~= "outer" then add(lines, "mode", o.mode) end
  if o.namespace ~= "html" then add(lines, "namespace", o.namespace) end
  if o.use_view_transition then add(lines, "useViewTransition", "true") end
  if text ~= "" or o.mode ~= "remove" then add(lines, "elements", text) end
  return ELEMENTS, table.concat(lines, "\n")
end

--- Elements to be put into the page. Text that a user wrote goes through `datastar.escape`.
-- @tparam string text HTML; without a selector each element at its top has an id
-- @tparam[opt] table given `selector` (CSS), `mode` ("outer", "inner", "replace", "prepend",
--   "append", "before", "after" or "remove"; default "outer"), `namespace` ("html", "svg" or
--   "mathml"), `use_view_transition` (false)
-- @treturn string the event's name
-- @treturn string its data
function datastar.patch_elements(text, given)
  check_text("patch_elements", text, "HTML")
  return patch("patch_elements", text, options("datastar.patch_elements", given, PATCH))
end

--- Elements to be taken out of the page.
-- @tparam string selector CSS
-- @treturn string the event's name
-- @treturn string its data
function datastar.remove_elements(selector)
  check_text("remove_elements", selector, "selector")
  return patch("remove_elements", "", { selector = selector, mode = "remove", namespace = "html" })
end

--- Signals to be merged into those of the page; one that is json.null is removed.
-- @tparam table signals an object of plain data
-- @tparam[opt] table given `only_if_missing` (false: those that the page has are replaced)
-- @treturn string the event's name
-- @treturn string its data
function datastar.patch_signals(signals, given)
  local o = options("datastar.patch_signals", given, SIGNALS_OPTIONS)
  if type(signals) ~= "table" or #signals > 0 then
    caller.raise("datastar.patch_signals: the signals are a table of names and values")
  end
  local text, message = json.encode(signals)
  if not text then caller.raise("datastar.patch_signals: %s", message) end
  return SIGNALS, (o.only_if_missing and "onlyIfMissing true\n" or "") .. "signals " .. text
end

-- type="module" and the like, in the order of their names.
local function attributes_of(given)
  local list = {}
  for name, value in pairs(given or {}) do
    if type(name) ~= "string" or not name:find("^[%a_:][%w_.:-]*$") then
      caller.raise("datastar.execute_script: '%s' is no name of an attribute", tostring(name))
    end
    list[#list + 1] = value == true and name or ('%s="%s"'):format(name, html.escape(value))
  end
  table.sort(list)
  return #list > 0 and " " .. table.concat(list, " ") or ""
end

--- JavaScript to be run by the page (not where its Content-Security-Policy forbids inline scripts).
-- @tparam string script never with a user's text in it, unless that is encoded by json.encode
-- @tparam[opt] table given `auto_remove` (true: the element goes when it has run), `attributes`
--   (of the script element: { type = "module", async = true })
-- @treturn string the event's name
-- @treturn string its data
function datastar.execute_script(script, given)
  check_text("execute_script", script, "script")
  local o = options("datastar.execute_script", given, SCRIPT)
  local inside = script:gsub("</([sS][cC][rR][iI][pP][tT])", "<\\/%1"):gsub("<!%-%-", "<\\!--")
  local element = ("<script%s%s>%s</script>"):format(attributes_of(o.attributes),
    o.auto_remove and ' data-effect="el.remove()"' or "", inside)
  return patch("execute_script", element,
    { selector = "body", mode = "append", namespace = "html" })
end

--- The page's signals, as Datastar sends them with a request: in the query of a GET or DELETE, in
-- the body of any other. Ends the request with 400 or 415 when they cannot be read.
-- @tparam sluice.Request req
-- @treturn table {} when the request has none
function datastar.signals(req)
  local in_query = req.method == "GET" or req.method == "HEAD" or req.method == "DELETE"
  local text = in_query and req.query.datastar or not in_query and req.body or ""
  if text == "" then return {} end
  local value, message
  if in_query then value, message = json.decode(text) else value = req:json() end
  if type(value) ~= "table" or #value > 0 then
    req:abort(400, "Datastar's signals are a JSON object" .. (message and ": " .. message or ""))
  end
  return value
end

--- A text as it is written in HTML.
-- @tparam string|number text
-- @treturn string
function datastar.escape(text)
  return html.escape(text)
end

return names.strict(datastar, "sluice.datastar", ".")
