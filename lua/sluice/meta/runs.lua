---@meta sluice.runs
--- For editors (see init.lua): require("sluice.runs").
-- luacheck: ignore

---@class sluice.RunsOptions
---@field name? string "run"
---@field keep? number 3600 seconds
---@field coalesce? number 0.03 seconds
---@field max_bytes? integer 4 MiB
---@field max_time? number 3600 seconds
---@field concurrency? integer 64
---@field queue? integer 1000
---@field admin? string "Admin"
---@field durable? boolean whether the app has a store
---@field last? fun(run: sluice.RunView): string?, any

---@class sluice.RunView
---@field id string
---@field kind string
---@field owner? string
---@field status "waiting"|"running"|"complete"|"failed"|"stopped"
---@field result? any
---@field error? string
---@field code? string
---@field created number seconds since 1970
---@field started? number
---@field ended? number

---@class sluice.RunStreamOptions
---@field control? boolean
---@field types? string[]
---@field heartbeat? number

---@class sluice.RunsModule require("sluice.runs")
local runs = {}
---@param app sluice.App
---@param options? sluice.RunsOptions
---@return sluice.Runs
function runs.new(app, options) end

---@class sluice.Runs
local Runs = {}
---@param kind string
---@param fn fun(run: sluice.Run, args: any): any
function Runs:define(kind, fn) end
---@param kind string
---@param options? { id?: string|integer, args?: any, owner?: sluice.User|string|integer }
---@return sluice.RunView?, string? message, string? code, string? field
function Runs:start(kind, options) end
---@param id string
---@return boolean?, string? message, string? code
function Runs:stop(id) end
---@param id string
---@return sluice.RunView?, string? message, string? code
function Runs:get(id) end
---@param options? { owner?: sluice.User|string|integer, status?: string }
---@return sluice.RunView[]
function Runs:list(options) end
---@param id string
---@return string?, string? message, string? code
function Runs:channel(id) end
---@param path string
---@param ... sluice.Guard|sluice.RunStreamOptions guards, and last options of the plan
function Runs:stream(path, ...) end
---@param prefix string
---@param ... sluice.Guard
function Runs:routes(prefix, ...) end

---@class sluice.Run
---@field id string
---@field kind string
---@field owner? string
---@field saved? any what the last checkpoint was given
---@field last_id? string of the last event of a loop that was handled
---@field attempt integer
---@field cancelled? boolean
local Run = {}
---@param text string
function Run:text(text) end
---@param event string
---@param data? any
---@return boolean?, string? message, string? code
function Run:emit(event, data) end
---@param data any
function Run:checkpoint(data) end
---@param source any client.events(…), an answer of http.stream, or another iterator
---@param ... any the rest of what these return
---@return fun(): any
function Run:from(source, ...) end

return runs
