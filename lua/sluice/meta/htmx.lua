---@meta sluice.htmx
--- For editors (see init.lua): require("sluice.htmx").
-- luacheck: ignore

---@class sluice.Htmx require("sluice.htmx")
local htmx = {}
---@param name string as in sse-swap
---@param text string HTML
---@return string event, string data
function htmx.swap(name, text) end
---@param text string HTML
---@param options? { target?: string, swap?: string }
---@return nil event, string data
function htmx.partial(text, options) end
---@param text string|number
---@return string html
function htmx.escape(text) end

return htmx
