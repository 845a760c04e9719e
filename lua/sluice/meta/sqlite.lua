---@meta sluice.sqlite
--- For editors (see init.lua): require("sluice.sqlite").
-- luacheck: ignore

---@class sluice.SqliteOptions
---@field timeout? number seconds for an answer (10)
---@field busy? number seconds to wait for a program that has the file locked (5)
---@field max_rows? integer of an answer (10000)
---@field max_bytes? integer of an answer (8 MiB)

---@class sluice.Sqlite require("sluice.sqlite")
local sqlite = {}
---@param path string
---@param options? sluice.SqliteOptions
---@return sluice.Database?, string? message, string? code
function sqlite.open(path, options) end

---@class sluice.Database
local Database = {}
---@param sql string one statement that reads
---@param ... string|number|boolean|nil|table values for `?`, or one table of values for `:name`
---@return table[]? rows by column, string? message, string? code
function Database:query(sql, ...) end
function Database:close() end

return sqlite
