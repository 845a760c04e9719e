---@meta sluice.jobs
--- For editors (see init.lua): require("sluice.jobs").
-- luacheck: ignore

---@class sluice.JobsOptions
---@field name? string "jobs"
---@field max_rate? number 10: progress events of a job a second
---@field keep? number 3600: seconds for which a job that has ended is known
---@field concurrency? integer 8
---@field queue? integer 1000
---@field admin? string|false "Admin": the role that sees all
---@field durable? boolean whether the app has a store

---@class sluice.JobStart
---@field id? string|integer
---@field args? table
---@field owner? string|integer
---@field total? number
---@field fields? table

---@class sluice.JobsModule require("sluice.jobs")
local jobs = {}
---@param app sluice.App
---@param options? sluice.JobsOptions
---@return sluice.Jobs
function jobs.new(app, options) end

---@class sluice.Jobs
local Jobs = {}
---@param kind string
---@param fn fun(job: sluice.Job, args: table): any
function Jobs:define(kind, fn) end
---@param kind string
---@param options? sluice.JobStart
---@return sluice.Job?, string? message, string? code, string? field
function Jobs:start(kind, options) end
---@param kind string
---@param options sluice.JobStart?
---@param fn fun(job: sluice.Job): any
---@return any result, string? message, string? code, string? field
function Jobs:attend(kind, options, fn) end
---@param id string|integer
---@return sluice.Job?, string? message, string? code
function Jobs:get(id) end
---@param options? { owner?: string|integer, status?: string }
---@return sluice.Job[]
function Jobs:list(options) end
---@param id string|integer
---@return boolean?, string? message, string? code
function Jobs:cancel(id) end
---@param owner? string|integer
---@return string?, string? message, string? code, string? field
function Jobs:channel(owner) end
---@param path string
---@param ... sluice.Guard
function Jobs:stream(path, ...) end
---@param prefix string
---@param ... sluice.Guard
function Jobs:routes(prefix, ...) end

---@class sluice.Job
---@field id string
---@field kind string
---@field owner? string
---@field args? table
---@field status "queued"|"running"|"success"|"failed"|"cancelled"
---@field processed number
---@field total? number
---@field percentage? integer
---@field saved any
---@field result any
---@field error? string
---@field attempt integer
---@field cancelled boolean
---@field created number
---@field ended? number
local Job = {}
---@param processed number
---@param fields? table
---@return boolean?, string? message, string? code
function Job:progress(processed, fields) end
---@param name string
---@return boolean?, string? message, string? code
function Job:step(name) end
---@param data any
---@return boolean?, string? message, string? code
function Job:checkpoint(data) end
---@return boolean?, string? message, string? code
function Job:cancel() end

return jobs
