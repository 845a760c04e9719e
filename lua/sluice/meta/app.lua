---@meta _
--- For editors (see init.lua): an app and its stores.
-- luacheck: ignore

---@class sluice.App
local App = {}

---@param ... sluice.Guard|sluice.Handler
function App:get(path, ...) end
---@param ... sluice.Guard|sluice.Handler|{ body: "stream", max: integer }
function App:post(path, ...) end
---@param ... sluice.Guard|sluice.Handler|{ body: "stream", max: integer }
function App:put(path, ...) end
---@param ... sluice.Guard|sluice.Handler|{ body: "stream", max: integer }
function App:patch(path, ...) end
---@param ... sluice.Guard|sluice.Handler
function App:delete(path, ...) end
---@param path string
---@param ... sluice.Guard|sluice.Plan|{ heartbeat?: number, method?: "GET"|"POST", compress?: "auto"|"gzip"|"zstd"|false }
function App:stream(path, ...) end
---@class sluice.DurableStream
---@field channel string a log with a history
---@field type? string "application/json", or another media type
---@field closes? string|string[] events that close it
---@field types? string[]
---@field wait? number seconds of a long-poll

---@param path string
---@param ... sluice.Guard|string|sluice.DurableStream|fun(req: sluice.Request): any, any, any
function App:durable_stream(path, ...) end
---@param pattern string
---@param ... sluice.Guard
function App:guard(pattern, ...) end
---@param prefix string
---@param folder string
function App:static(prefix, folder) end
---@param pattern string
---@param rule { origins: string[], credentials?: boolean, max_age?: number }
function App:cors(pattern, rule) end
---@param limits sluice.Limits
function App:limits(limits) end
---@param pattern string
---@param policy? sluice.Policy
function App:channel(pattern, policy) end
---@param name string
---@param info? { automatic?: boolean, description?: string, example?: any, fields?: sluice.Shape, channel?: string }
function App:event_type(name, info) end
---@return table<string, table>
function App:event_types() end
---@param seconds number
---@param opts sluice.EveryOptions
---@param fn fun()
---@overload fun(self: sluice.App, seconds: number, fn: fun())
function App:every(seconds, opts, fn) end
---@param name string
---@param opts { restart?: boolean }
---@param fn fun(data: any)
---@overload fun(self: sluice.App, name: string, fn: fun(data: any))
function App:task(name, opts, fn) end
---@param name string
---@param opts { per?: "cluster"|"node" }
---@param fn fun()
---@overload fun(self: sluice.App, name: string, fn: fun())
function App:service(name, opts, fn) end
---@param kind "start"|"stop"|"reload"|"connect"|"disconnect"|"error"|"subscribe"|"unsubscribe"|"published"|"budget"|"cluster"|"told"|"heard"
---@param pattern string
---@param fn function
---@overload fun(self: sluice.App, kind: string, fn: function)
function App:on(kind, pattern, fn) end
---@param pattern string
---@param fn fun(event: sluice.Event, params: table): any, string?, string?
function App:transform(pattern, fn) end
---@generic T: table
---@param name string
---@param init T
---@param opts? { version?: any, migrate?: fun(old: table, version: any): table }
---@return fun(): T
function App:state(name, init, opts) end
---@param name string
---@return sluice.Store
function App:store(name) end
---@param fn fun()
function App:check(fn) end
---@param channel string
---@param event? string
---@param data? any
---@param opts? { key?: string, ttl?: number, idempotency?: string, remove?: boolean, update?: boolean, lease?: boolean, wait?: boolean }
---@return string|true|nil id, integer|string subscribers, boolean|string? duplicate, string? field
function App:publish(channel, event, data, opts) end
---@param channel string
---@param key string
---@param opts? { update?: boolean, idempotency?: string, wait?: boolean }
---@return string|true|nil id, integer|string subscribers, boolean|string? duplicate
function App:remove(channel, key, opts) end
---@param channel string
---@param key? string
---@param event? string
---@return any data, string? id, string? code
function App:latest(channel, key, event) end
--- The newest `limit` (100) above `after` that memory has: of a durable log 1024 at most.
---@param channel string
---@param opts? { limit?: integer, after?: string, event?: string }
---@return sluice.Event[]?, string? message, string? code
function App:history(channel, opts) end
--- The newest of each key and name of a state or keyed log, the oldest first; how many there are, their bytes.
---@param channel string
---@param opts? { limit?: integer, after?: string, event?: string }
---@return sluice.Event[]? list, integer|string count_or_message, integer|string bytes_or_code
function App:newest(channel, opts) end
---@param channel string
---@return sluice.ChannelStats? figures, string? message, string? code
---@overload fun(self: sluice.App): sluice.Stats
function App:stats(channel) end
---@param n? integer
---@return sluice.Slow[]
function App:slowest(n) end
---@param pattern? string
---@return string[]?, string? message, string? code
function App:channels(pattern) end
---@param id string
---@return sluice.Client?
function App:client(id) end
---@param filter? { channel?: string, user?: string }
---@return fun(): sluice.Client?
function App:clients(filter) end
---@param user_id? string
---@return integer
function App:recheck(user_id) end
---@param pattern string of paths
---@return integer? streams, string? message, string? code
function App:replan(pattern) end
---@param id string
---@param event? string
---@param data? any
---@return true? handed_over, string? message, string? code
function App:send(id, event, data) end
---@param name string
---@param data? any
---@return true? told, string? message, string? code
function App:tell(name, data) end
---@param seconds number
---@param task string
---@param data? any
---@param opts? { id?: string, durable?: boolean, wait?: boolean }
---@return string? id, string? message, string? code
function App:after(seconds, task, data, opts) end
---@param time number
---@param task string
---@param data? any
---@param opts? { id?: string, durable?: boolean, wait?: boolean }
---@return string? id, string? message, string? code
function App:at(time, task, data, opts) end
---@param id string
---@param opts? { wait?: boolean, running?: boolean }
---@return boolean? there_was_one, string? message, string? code
function App:cancel(id, opts) end
---@return boolean
function App:has_store() end
---@param fn fun()
---@return true?, string? message, string? code
function App:spawn(fn) end
---@return boolean leads, integer? number
function App:leads() end

---@class sluice.Store
local Store = {}

---@param key string
---@return any value a copy; nil: there is none
---@return string? message, string? code in a cluster: it is not here
function Store:get(key) end
---@param key string
---@param value any plain data
---@param opts? { wait?: boolean }
---@return true?, string? message, string? code
function Store:set(key, value, opts) end
---@param key string
---@param opts? { wait?: boolean }
---@return true?, string? message, string? code
function Store:delete(key, opts) end
---@param key string
---@param value any plain data
---@return true?, string? message, string? code
function Store:add(key, value) end
---@param key string
---@param old any plain data; nil: it is not there
---@param value any plain data; nil: it is deleted
---@return true?, string? message, string? code
function Store:cas(key, old, value) end
---@param prefix? string
---@return fun(): string?, any
function Store:each(prefix) end
