---@meta sluice.redis
--- For editors (see init.lua): require("sluice.redis").
-- luacheck: ignore

---@class sluice.RedisEntry
---@field id string "1700000000000-0"
---@field fields table<string, string> by name; of a name that comes twice, the last
---@field list string[] names and values in turn, as they came

---@class sluice.SourceGap
---@field reason string
---@field lost? integer how many entries; nil: nobody knows

---@class sluice.RedisTls files, read at each connect
---@field ca? string whom to trust (whom the system trusts)
---@field cert? string to be shown
---@field key? string
---@field sni? string what the certificate has to be for (the host)

---@class sluice.RedisStreamOptions
---@field map fun(entry: sluice.RedisEntry): string?, string?, any, (string|{ remove: string })? channel, event, data, key; nothing: no event
---@field name? string of its store, and in the log (the key)
---@field start? string "end", "begin" or an id: where it begins the first time ("end")
---@field batch? integer entries of one read (128)
---@field errors? "stop"|"skip" what to do at an entry that cannot become an event ("stop")
---@field durable? boolean whether the cursor outlives the process (true)
---@field gap? fun(gap: sluice.SourceGap) entries were lost
---@field password? string in place of the url's
---@field tls? sluice.RedisTls of rediss://

---@class sluice.SourceStats
---@field connected boolean
---@field read integer entries
---@field published integer events
---@field left_out integer entries that could become no event
---@field gaps integer how often entries were lost
---@field cursor? string the id of the newest entry that is done with

---@class sluice.Redis require("sluice.redis")
local redis = {}
---@param app sluice.App
---@param url string
---@param key string
---@param options sluice.RedisStreamOptions
---@return sluice.RedisStream
function redis.stream(app, url, key, options) end

---@class sluice.RedisStream
local RedisStream = {}
---@return sluice.SourceStats
function RedisStream:stats() end

return redis
