---@meta sluice.changes
--- For editors (see init.lua): require("sluice.changes").
-- luacheck: ignore

---@class sluice.ChangesOptions
---@field name? string "changes"
---@field event? string "dataUpdate"
---@field debounce? number seconds
---@field max_delay? number seconds
---@field history? integer|{ count?: integer, bytes?: integer }
---@field rewind? integer|"all"|"latest"
---@field durable? boolean
---@field read? fun(user: sluice.User?, params: table, client: sluice.Client): boolean
---@field publish? fun(change: sluice.Change, options: table): any, string?, string?

---@class sluice.Change
---@field id string|integer
---@field type string
---@field op "created"|"updated"|"deleted"
---@field changes table
---@field timestamp string

---@class sluice.ChangesSource
---@field path string
---@field table string
---@field cursor string a column whose values only grow
---@field id? string
---@field type? string
---@field op? string
---@field changes? string
---@field fields? string[]
---@field start? "end"|"begin"
---@field every? number seconds
---@field settle? number seconds
---@field batch? integer rows
---@field durable? boolean

---@class sluice.ChangesModule require("sluice.changes")
local changes = {}
---@param app sluice.App
---@param options? sluice.ChangesOptions
---@return sluice.Changes
function changes.new(app, options) end

---@class sluice.Changes
local Changes = {}
---@param type string
---@return sluice.Entity
function Changes:entity(type) end
---@param type string
---@return string
function Changes:channel(type) end
---@param options sluice.ChangesSource
function Changes:sqlite(options) end

---@class sluice.Entity
local Entity = {}
---@param id string|integer
---@param fields? table
---@return boolean? ok, string? message, string? code, string? field
function Entity:created(id, fields) end
---@param id string|integer
---@param fields? table
---@return boolean? ok, string? message, string? code, string? field
function Entity:updated(id, fields) end
---@param id string|integer
---@return boolean? ok, string? message, string? code, string? field
function Entity:deleted(id) end

return changes
