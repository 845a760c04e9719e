---@meta sluice.inbox
--- For editors (see init.lua): require("sluice.inbox").
-- luacheck: ignore

---@class sluice.InboxOptions
---@field name? string "user"
---@field event? string "notification"
---@field max? integer 1000
---@field max_bytes? integer 1 MiB
---@field keep? number|false seconds, 30 days
---@field escalate? table<"info"|"warning"|"high"|"critical", sluice.InboxStep[]>
---@field durable? boolean true

---@class sluice.InboxStep
---@field after number seconds since it was sent
---@field via "webhook"|"email"|fun(user: string, data: table): any, string?
---@field url? string of a webhook
---@field headers? table<string, string> of a webhook
---@field sign? { secret: string } of a webhook
---@field to? string|table|fun(user: string, data: table): string|table|nil of a mail
---@field from? string|table of a mail, SMTP_FROM
---@field subject? string of a mail
---@field timeout? number seconds, 10; of a mail 30
---@field retries? integer 3
---@field deadline? number seconds, 60

---@class sluice.InboxMessage
---@field message string
---@field type? string "message"
---@field severity? "info"|"warning"|"high"|"critical"
---@field title? string
---@field from? string|integer
---@field url? string
---@field fields? table<string, any>
---@field idempotency? string

---@class sluice.InboxModule require("sluice.inbox")
local inbox = {}
---@param app sluice.App
---@param options? sluice.InboxOptions
---@return sluice.Inbox
function inbox.new(app, options) end

---@class sluice.Inbox
local Inbox = {}
---@param user string|integer
---@param message sluice.InboxMessage
---@return string? id, integer|string subscribers_or_message, boolean|string duplicate_or_code, string? field
function Inbox:send(user, message) end
---@param users (string|integer)[]
---@param message sluice.InboxMessage
---@return integer n, { user: string|integer, message: string, code: string }[]? failed
function Inbox:broadcast(users, message) end
---@param user string|integer
---@return table[]?, string? message, string? code, string? field
function Inbox:list(user) end
---@param user string|integer
---@return integer?, string? message, string? code, string? field
function Inbox:unread(user) end
---@param user string|integer
---@param ids string|string[]
---@return integer?, string? message, string? code, string? field
function Inbox:ack(user, ids) end
---@param user string|integer
---@return string?, string? message, string? code, string? field
function Inbox:channel(user) end
---@param path string
---@param ... fun(req: sluice.Request): any
function Inbox:stream(path, ...) end
---@param prefix string
---@param ... fun(req: sluice.Request): any
function Inbox:routes(prefix, ...) end

return inbox
