---@meta sluice.datastar
--- For editors (see init.lua): require("sluice.datastar").
-- luacheck: ignore

---@class sluice.DatastarPatch
---@field selector? string CSS
---@field mode? "outer"|"inner"|"replace"|"prepend"|"append"|"before"|"after"|"remove"
---@field namespace? "html"|"svg"|"mathml"
---@field use_view_transition? boolean

---@class sluice.Datastar require("sluice.datastar")
local datastar = {}
---@param text string HTML
---@param options? sluice.DatastarPatch
---@return string event, string data
function datastar.patch_elements(text, options) end
---@param selector string CSS
---@return string event, string data
function datastar.remove_elements(selector) end
---@param signals table
---@param options? { only_if_missing?: boolean }
---@return string event, string data
function datastar.patch_signals(signals, options) end
---@param script string JavaScript
---@param options? { auto_remove?: boolean, attributes?: table<string, string|true> }
---@return string event, string data
function datastar.execute_script(script, options) end
---@param req sluice.Request
---@return table
function datastar.signals(req) end
---@param text string|number
---@return string html
function datastar.escape(text) end

return datastar
