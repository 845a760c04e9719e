---@meta sluice.demo
--- For editors (see init.lua): require("sluice.demo").
-- luacheck: ignore

---@class sluice.DemoOptions
---@field name? string "demo"
---@field seed? number 1: equal seeds, equal events
---@field max_time? number 600 seconds, then it stops
---@field enabled? boolean default: whether the server has --demo

---@class sluice.DemoStart
---@field interval? number 5 seconds
---@field seed? number
---@field types? string[] event types and producers; default: all

---@class sluice.DemoStatus
---@field running boolean
---@field intervalSeconds number
---@field sent integer

---@class sluice.DemoReplay
---@field channel? string default: that of the event's type
---@field speed? number

---@class sluice.DemoModule require("sluice.demo")
local demo = {}
---@param app sluice.App
---@param options? sluice.DemoOptions
---@return sluice.Demo
function demo.new(app, options) end

---@class sluice.Demo
local Demo = {}
---@param name string
---@param fn fun(n: integer, random: fun(from?: number|any[], to?: number): any): string?, string?, table?, table?
function Demo:producer(name, fn) end
---@param file string what `sluice record` wrote
---@param options? sluice.DemoReplay
function Demo:replay(file, options) end
---@param channel string
function Demo:use_cases(channel) end
---@param options? sluice.DemoStart
---@return sluice.DemoStatus?, string? message, string? code, string? field
function Demo:start(options) end
---@return sluice.DemoStatus?, string? message, string? code
function Demo:stop() end
---@return sluice.DemoStatus?, string? message, string? code
function Demo:status() end
---@param prefix string
---@param ... sluice.Guard
function Demo:routes(prefix, ...) end

return demo
