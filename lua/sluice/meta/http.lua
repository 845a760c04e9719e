---@meta sluice.http
--- For editors (see init.lua): require("sluice.http").
-- luacheck: ignore

---@class sluice.HttpOptions
---@field url? string
---@field method? string
---@field headers? table<string, string|number>
---@field body? string
---@field json? any
---@field timeout? number seconds for one attempt
---@field retries? integer
---@field deadline? number seconds for all attempts
---@field idempotent? boolean whether it may arrive more than once
---@field max_bytes? integer
---@field redirects? integer
---@field strict_redirects? boolean follow only 307 and 308 to the same server
---@field verify? boolean
---@field sign? { secret: string, id?: string } Standard Webhooks

---@class sluice.HttpResponse
---@field status integer
---@field headers table<string, string> in any case
---@field body string
---@field json fun(): any, string?, string?

---@class sluice.Http require("sluice.http")
local http = {}
---@param options sluice.HttpOptions
---@return sluice.HttpResponse?, string? message, string? code
function http.request(options) end
---@param url string
---@param options? sluice.HttpOptions
---@return sluice.HttpResponse?, string? message, string? code
function http.get(url, options) end
---@param url string
---@param options? sluice.HttpOptions
---@return sluice.HttpResponse?, string? message, string? code
function http.post(url, options) end
---@param options sluice.HttpOptions|{ idle?: number, compress?: boolean } without retries, deadline and max_bytes
---@return sluice.HttpStream?, string? message, string? code
function http.stream(options) end

---@class sluice.HttpStream
---@field status integer
---@field headers table<string, string> in any case
---@field problem? string why it broke off
---@field code? string
local HttpStream = {}
---@return fun(): string?
function HttpStream:chunks() end
function HttpStream:close() end

return http
