--- Events for pages with htmx: pieces of HTML to be swapped into the page.
---
---   app:publish("orders", htmx.swap("order", "<li>" .. htmx.escape(name) .. "</li>"))  -- htmx 2
---   app:publish("orders", htmx.partial(count, { target = "#count" }))                  -- htmx 4
---
--- Both return the event's name and its data, as app:publish, client:send and client:stop take
--- them. In htmx 2 (with htmx-ext-sse) elements with `sse-swap="order"` take the HTML of events
--- with that name. In htmx 4 an event without a name is swapped, and its HTML says where.
--- Keeps nothing in memory.
local caller = require("sluice.base.caller")
local html = require("sluice.base.html")
local names = require("sluice.base.names")
local options = require("sluice.base.options")

---@class sluice.Htmx
local htmx = {}

local PARTIAL = { target = options.STRING, swap = options.STRING }

local function check_html(what, text)
  if type(text) ~= "string" then
    caller.raise("htmx.%s: the HTML is a string, not a %s", what, type(text))
  end
end

--- HTML for the elements that listen to an event's name.
-- @tparam string name as in `sse-swap="name"`
-- @tparam string text HTML
-- @treturn string the event's name
-- @treturn string its data
function htmx.swap(name, text)
  if type(name) ~= "string" or not name:find("^[^%s,]+$") then
    caller.raise("htmx.swap: the name is a string without blanks and commas, as in sse-swap")
  end
  check_html("swap", text)
  return name, text
end

--- HTML for the element that opened the stream, or for the one that `target` names.
-- @tparam string text HTML
-- @tparam[opt] table given `target` (a selector: "#count"), `swap` ("innerHTML", "beforeend", …)
-- @treturn nil events without a name are swapped
-- @treturn string the event's data
function htmx.partial(text, given)
  check_html("partial", text)
  local o = options("htmx.partial", given, PARTIAL)
  if not (o.target or o.swap) then return nil, text end
  local target = o.target and (' hx-target="%s"'):format(html.escape(o.target)) or ""
  local swap = o.swap and (' hx-swap="%s"'):format(html.escape(o.swap)) or ""
  return nil, ("<hx-partial%s%s>%s</hx-partial>"):format(target, swap, text)
end

--- A text as it is written in HTML.
-- @tparam string|number text
-- @treturn string
function htmx.escape(text)
  return html.escape(text)
end

return names.strict(htmx, "sluice.htmx", ".")
