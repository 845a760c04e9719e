---@meta sluice.rooms
--- For editors (see init.lua): require("sluice.rooms").
-- luacheck: ignore

---@class sluice.RoomsOptions
---@field name? string "room"
---@field field? string "roomId"
---@field grace? number 5 seconds
---@field max_rate? number 20
---@field max_members? integer 500
---@field counts_above? integer 200
---@field read? fun(user: sluice.User?, params: table, client: sluice.Client): boolean
---@field member? fun(client: sluice.Client): table

---@class sluice.RoomsModule require("sluice.rooms")
local rooms = {}
---@param app sluice.App
---@param options? sluice.RoomsOptions
---@return sluice.Rooms
function rooms.new(app, options) end

---@class sluice.Rooms
local Rooms = {}
---@param path string with ":id"
---@param ... sluice.Guard|sluice.PlanTable guards, and last more options of the plan
function Rooms:stream(path, ...) end
---@param id string|integer
---@param kind? "live"
---@return string
function Rooms:channel(id, kind) end
---@param id string|integer
---@param user sluice.User? req.user
---@param event string
---@param data? table
---@return true?, integer|string subscribers, boolean|string? duplicate, string? field
function Rooms:send(id, user, event, data) end
---@param id string|integer
---@param event string
---@param data? table
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Rooms:publish(id, event, data) end
---@param id string|integer
---@return table[]
function Rooms:members(id) end
---@param id string|integer
---@return integer
function Rooms:count(id) end
---@param id string|integer
---@param user_id string|integer
---@return boolean
function Rooms:has(id, user_id) end
---@param id string|integer
---@param user_id string|integer
---@return true?, string? message, string? code
function Rooms:kick(id, user_id) end
---@return table[]
function Rooms:list() end

return rooms
