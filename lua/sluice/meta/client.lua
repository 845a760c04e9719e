---@meta sluice.client
--- For editors (see init.lua): require("sluice.client").
-- luacheck: ignore

---@class sluice.ClientOptions
---@field events? string[]
---@field keys? string[]
---@field headers? table<string, string|number>
---@field last_event_id? string
---@field timeout? number seconds without a byte
---@field compress? boolean ask for gzip
---@field verify? boolean the certificate
---@field json? any
---@field body? string
---@field method? "GET"|"POST"

---@class sluice.ClientEvent
---@field event string
---@field data any a table when the text is a JSON object or list
---@field text string
---@field id? string

---@class sluice.EventsClient require("sluice.client")
local client = {}
---@param url string
---@param options? sluice.ClientOptions
---@return fun(): sluice.ClientEvent?
function client.events(url, options) end
---@param url string
---@param options? sluice.ClientOptions
---@return sluice.Connection?, string? message, string? code
function client.connect(url, options) end

---@class sluice.Connection
---@field status integer 200 or 204
---@field problem? string why a loop has ended that should not have
---@field code? string
local Connection = {}
---@return fun(): sluice.ClientEvent?
function Connection:events() end
function Connection:close() end
---@param options? { tries?: integer, last_event_id?: string, on_wait?: fun(message: string, seconds: number) }
function Connection:resume_only(options) end

return client
