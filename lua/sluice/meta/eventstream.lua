---@meta sluice.eventstream
--- For editors (see init.lua): require("sluice.eventstream").
-- luacheck: ignore

---@class sluice.EventStreamOptions
---@field line_max? integer bytes
---@field event_max? integer bytes of data
---@field last_id? string where the stream before this one ended
---@field own_ids? boolean an event has an id only when it brought one

---@class sluice.EventStreamEvent
---@field event string
---@field data string
---@field id string
---@field retry? integer milliseconds

---@class sluice.EventStreamModule require("sluice.eventstream")
local eventstream = {}
---@param options? sluice.EventStreamOptions
---@return sluice.EventStream
function eventstream.new(options) end

---@class sluice.EventStream
---@field last_id string
---@field at_id boolean no event came behind the block of that id
---@field retry? integer milliseconds
local EventStream = {}
---@param bytes string
---@return sluice.EventStreamEvent[] events, string? problem, string? code
function EventStream:feed(bytes) end

return eventstream
