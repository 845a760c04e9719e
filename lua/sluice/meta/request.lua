---@meta _
--- For editors (see init.lua): what a handler gets.
-- luacheck: ignore

---@class sluice.Request
---@field method string
---@field path string
---@field params table<string, string>
---@field query table<string, string>
---@field headers table<string, string> in any case
---@field cookies table<string, string>
---@field body string
---@field ip string
---@field host string
---@field secure boolean whether it came over TLS
---@field id string
---@field traceparent? string of what is done for it: see sluice.traceparent
---@field user? sluice.User put there by a guard
local Request = {}

---@param wanted? sluice.Shape
---@param opts? { any_case?: boolean }
---@return table
function Request:json(wanted, opts) end
---@return fun(): string? of the body, while it comes
function Request:chunks() end
---@param name string
---@return string[]?
function Request:list(name) end
---@param name string
---@param min? number
---@param max? number
---@return number?
function Request:number(name, min, max) end
---@param status integer
---@param body? any
---@param headers? table
function Request:abort(status, body, headers) end
