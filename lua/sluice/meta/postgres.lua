---@meta sluice.postgres
--- For editors (see init.lua): require("sluice.postgres").
-- luacheck: ignore

---@class sluice.PostgresRow
---@field id string
---@field channel string
---@field event string
---@field key? string
---@field data any
---@field remove boolean

---@class sluice.PostgresOptions
---@field table? string made by outbox_sql ("sluice_outbox")
---@field map? fun(row: sluice.PostgresRow): string?, string?, any, (string|{ remove: string })? channel, event, data, key; nothing: no event
---@field name? string of its store, and in the log (the table)
---@field start? string "end" or "begin": where it begins the first time ("end")
---@field batch? integer rows of one read (128)
---@field errors? "stop"|"skip" what to do at a row that cannot become an event ("stop")
---@field durable? boolean whether the cursor outlives the process (true)
---@field listen? string the channel of its notifications (the table)
---@field gap? fun(gap: sluice.SourceGap) rows may have been lost

---@class sluice.Postgres require("sluice.postgres")
local postgres = {}
---@param app sluice.App
---@param url string
---@param options? sluice.PostgresOptions
---@return sluice.PostgresOutbox
function postgres.listen(app, url, options) end
---@param table? string
---@return string sql
function postgres.outbox_sql(table) end

---@class sluice.PostgresOutbox
local PostgresOutbox = {}
---@return sluice.SourceStats
function PostgresOutbox:stats() end

return postgres
