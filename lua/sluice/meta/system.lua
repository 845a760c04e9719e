---@meta sluice.system
--- For editors (see init.lua): require("sluice.system").
-- luacheck: ignore

---@class sluice.SystemOptions
---@field name? string "system"
---@field services? (string|{ name?: string, tcp: string })[] of systemd, with a pid file, or a port
---@field disks? string[] where file systems are mounted
---@field interval? number seconds
---@field root? string a folder in place of /, for specs

---@class sluice.SystemDisk
---@field path string
---@field total? integer bytes
---@field used? integer
---@field free? integer
---@field percent? number
---@field reason? string why the others are absent

---@class sluice.SystemStore
---@field commitsPerSecond number
---@field commitMs number
---@field queued integer
---@field failed integer
---@field trouble? string

---@class sluice.SystemSample
---@field timestamp string
---@field node? string of a cluster: what it is called
---@field cpu number percent
---@field memory? integer MB
---@field memoryTotal? integer MB
---@field disk? number percent, of the fullest
---@field disks sluice.SystemDisk[]
---@field network { received: integer, sent: integer } bytes per second
---@field load? number
---@field services { name: string, status: "running"|"stopped"|"unknown", reason?: string }[]
---@field connections integer
---@field activeUsers integer
---@field requestsPerSecond number
---@field eventsPerSecond number
---@field loopLagMs number
---@field store? sluice.SystemStore

---@class sluice.SystemModule require("sluice.system")
local system = {}
---@param app sluice.App
---@param options? sluice.SystemOptions
---@return sluice.System
function system.new(app, options) end

---@class sluice.System
local System = {}
---@return sluice.SystemSample
function System:sample() end

return system
