---@meta sluice.hub
--- For editors (see init.lua): require("sluice.hub").
-- luacheck: ignore

---@class sluice.HubOptions
---@field name? string "hub"
---@field history? integer|{ count?: integer, bytes?: integer }
---@field rewind? integer|"all"
---@field durable? boolean
---@field read? fun(user: sluice.User?, params: table, client: sluice.Client): boolean

---@class sluice.HubGuards
---@field publish sluice.Guard|sluice.Guard[]
---@field admin sluice.Guard|sluice.Guard[]
---@field connect? sluice.Guard|sluice.Guard[]

---@class sluice.HubBody
---@field user? string|integer an id: for this user only
---@field client? string an id: for this connection only
---@field idempotency? string the same key publishes once

---@class sluice.HubNotification: sluice.HubBody
---@field message string
---@field severity? "info"|"warning"|"high"|"critical"
---@field title? string

---@class sluice.HubAlert: sluice.HubBody
---@field message string
---@field severity? "info"|"warning"|"high"|"critical"
---@field category? string

---@class sluice.HubDataUpdate: sluice.HubBody
---@field id string|number
---@field type string
---@field changes? table

---@class sluice.HubHeartbeat: sluice.HubBody
---@field status? string

---@class sluice.HubEvent: sluice.HubBody
---@field eventType string
---@field data? any

---@class sluice.HubMaintenance: sluice.HubBody
---@field startTime string
---@field message? string
---@field countdown? number[] seconds before startTime
---@field preview? boolean

---@class sluice.HubModule require("sluice.hub")
local hub = {}
---@param app sluice.App
---@param options? sluice.HubOptions
---@return sluice.Hub
function hub.new(app, options) end

---@class sluice.Hub
local Hub = {}
---@param body sluice.HubNotification
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:notification(body) end
---@param body sluice.HubAlert
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:alert(body) end
---@param body sluice.HubDataUpdate
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:data_update(body) end
---@param body? sluice.HubHeartbeat
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:heartbeat(body) end
---@param body sluice.HubEvent
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:send(body) end
---@param body sluice.HubMaintenance
---@return string|table|nil id, integer|string? subscribers, boolean|string? duplicate, string? field
function Hub:maintenance(body) end
---@param prefix string
---@param guards sluice.HubGuards
function Hub:routes(prefix, guards) end

return hub
