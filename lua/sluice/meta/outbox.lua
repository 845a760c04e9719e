---@meta sluice.outbox
--- For editors (see init.lua): require("sluice.outbox").
-- luacheck: ignore

---@class sluice.OutboxOptions
---@field name? string
---@field durable? boolean whether the app has a store
---@field retries? integer
---@field backoff? number seconds
---@field backoff_max? number seconds
---@field concurrency? integer
---@field max? integer letters that are not delivered yet
---@field max_bytes? integer
---@field max_dead? integer
---@field keep? number seconds that a dead letter is kept
---@field secret? string|fun(letter: sluice.OutboxLetter): string?
---@field webhook? { headers?: table<string, string>, timeout?: number, redirects?: integer, verify?: boolean }
---@field mail? table what mail.send has of the server
---@field on_end? fun(letter: sluice.OutboxLetter, ok: boolean)
---@field read? fun(user?: table, params: table): boolean

---@class sluice.OutboxLetter
---@field id string
---@field via "webhook"|"mail"
---@field target string host and port, or "mail"
---@field subject? string
---@field attempts integer
---@field error? string
---@field code? string
---@field status? integer
---@field refused? sluice.MailRefusal[]
---@field data? any
---@field created string|number
---@field died? string|number

---@class sluice.OutboxWebhook
---@field url string
---@field method? string
---@field json? any
---@field body? string
---@field headers? table<string, string>
---@field id? string
---@field data? any

---@class sluice.OutboxModule require("sluice.outbox")
local outbox = {}
---@param app sluice.App
---@param options? sluice.OutboxOptions
---@return sluice.Outbox
function outbox.new(app, options) end

---@class sluice.Outbox
local Outbox = {}
---@param options sluice.OutboxWebhook
---@return string? id, boolean|string duplicate_or_message, string? code
function Outbox:webhook(options) end
---@param options sluice.MailOptions|{ data?: any }
---@return string? id, boolean|string duplicate_or_message, string? code
function Outbox:mail(options) end
---@param options? { limit?: integer }
---@return sluice.OutboxLetter[]
function Outbox:list(options) end
---@param id? string
---@return integer?, string? message, string? code
function Outbox:replay(id) end
---@param id string
---@return boolean?, string? message, string? code
function Outbox:drop(id) end
---@return { pending: integer, dead: integer, delivered: integer, retried: integer, died: integer, dropped: integer }
function Outbox:stats() end
---@param prefix string
---@param ... function guards
function Outbox:routes(prefix, ...) end
---@param path string
---@param ... function guards
function Outbox:stream(path, ...) end

return outbox
