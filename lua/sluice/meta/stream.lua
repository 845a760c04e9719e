---@meta _
--- For editors (see init.lua): an open stream, seen from the server.
-- luacheck: ignore

---@class sluice.Client
---@field id string
---@field user? sluice.User
---@field ip? string
---@field path? string
---@field params table<string, string>
---@field meta table
---@field resumed? "reload"|"replan" the plan function runs again for an open stream
local Client = {}

---@param channel string
---@param opts? { keys?: string[], types?: string[], max_rate?: number, rewind?: integer|"all"|"latest" }
---@return true?, string? message, string? code
function Client:subscribe(channel, opts) end
---@param channel string
---@return boolean
function Client:unsubscribe(channel) end
---@param opts { keys?: string[], types?: string[], max_rate?: number }
---@return true?, string? message, string? code
function Client:set(opts) end
---@param event string
---@param data? any
---@return true?, string? message, string? code
function Client:send(event, data) end
---End the stream. Without a reason it is "stop": browsers stay away; after "moved" they come back.
---@param reason? "age"|"denied"|"drain"|"error"|"expired"|"moved"|"overload"|"revoked"|"slow"|"stop"
---@return true?, string? message, string? code
function Client:close(reason) end
---@return sluice.ClientStats? figures, string? message, string? code
function Client:stats() end
---@param event? string
---@param data? any
---@return true?, string? message, string? code
function Client:stop(event, data) end
