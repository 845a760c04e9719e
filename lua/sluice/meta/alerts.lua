---@meta sluice.alerts
--- For editors (see init.lua): require("sluice.alerts").
-- luacheck: ignore

---@class sluice.AlertsOptions
---@field name? string "alerts"
---@field channel? string the name; with the segment :subject each subject has its own
---@field event? string "alert"
---@field subject? string "subject": the field that has it
---@field history? integer|{ count?: integer, bytes?: integer }
---@field rewind? integer|"all"|"latest"
---@field durable? boolean default: whether the app has a store
---@field max_subjects? integer 50000
---@field read? fun(user: sluice.User?, params: table, client: sluice.Client?): boolean

---@class sluice.AlertRule
---@field field? string "temperature", "sensors.temperature"
---@field above? number|fun(subject: string): number?
---@field below? number|fun(subject: string): number?
---@field clear? number|fun(subject: string): number?
---@field when? fun(sample: table, subject: string, firing: boolean): boolean?
---@field hold? number seconds
---@field cooldown? number seconds
---@field severity? "info"|"warning"|"high"|"critical"
---@field category? string
---@field message? string|fun(value: any, subject: string): string

---@class sluice.AlertSilence
---@field after? number seconds
---@field severity? "info"|"warning"|"high"|"critical"
---@field category? string
---@field message? string|fun(value: nil, subject: string): string

---@class sluice.AlertsModule require("sluice.alerts")
local alerts = {}
---@param app sluice.App
---@param options? sluice.AlertsOptions
---@return sluice.Alerts
function alerts.new(app, options) end

---@class sluice.Alerts
local Alerts = {}
---@param name string
---@param rule sluice.AlertRule
function Alerts:rule(name, rule) end
---@param name string
---@param rule? sluice.AlertSilence
function Alerts:silence(name, rule) end
---@param subject string|integer
---@param sample table
---@param opts? { wait?: boolean }
---@return true?, string? message, string? code, string? field
function Alerts:check(subject, sample, opts) end
---@param subject? string
---@return table[]
function Alerts:active(subject) end
---@param id string
---@param user? sluice.User|string
---@return true?, string? message, string? code, string? field
function Alerts:ack(id, user) end
---@param subject string|integer
---@return true?, string? message, string? code, string? field
function Alerts:forget(subject) end
---@param subject string|integer
---@return string? channel, string? message, string? code, string? field
function Alerts:channel(subject) end
---@param path string
---@param ... sluice.Guard
function Alerts:stream(path, ...) end
---@param prefix string
---@param ... sluice.Guard
function Alerts:routes(prefix, ...) end

return alerts
