---@meta sluice
--- Definitions for editors (LuaCATS): what `require` gives for sluice and for its modules. Never
--- loaded by Sluice; point your server's library setting at the folder that holds `sluice/`.
--- spec/unit/meta_spec.lua and spec/kit/meta_spec.lua compare the names here with the names there.
-- luacheck: ignore

---@alias sluice.Shape table<string, string|table> kinds: any array boolean integer number object string, "?" = optional
---@alias sluice.Fields table<string, string|number|boolean>
---@alias sluice.Guard fun(req: sluice.Request): (true|integer), any, table?
---@alias sluice.Handler fun(req: sluice.Request): any, any, any
---@alias sluice.Plan string|sluice.PlanTable|fun(req: sluice.Request, client: sluice.Client): any, any, any

---@class sluice.User
---@field id string one segment of a channel name
---@field name? string
---@field roles? table<string, boolean>
---@field expires? number seconds since 1970: then its streams end
---@field via? "key"|"jwt"|"session"|"ticket" by sluice.auth
---@field claims? table of a token
---@field session? string the id of a session

---@class sluice.PlanTable
---@field channels (string|table)[] names, or { name, keys=, types=, max_rate=, rewind= }; in a constant plan ":id" comes from the path
---@field keys? string[]
---@field types? string[]
---@field max_rate? number events per second and key of its states
---@field rewind? integer|"all"|"latest"
---@field heartbeat? number seconds
---@field control? boolean false: no hello, reset, sync and bye
---@field meta? table plain data, kept with the client
---@field query? { keys?: string, types?: string, max_rate?: string } names of the query parameters

---@class sluice.Policy
---@field history? integer|"latest"|{ count?: integer, bytes?: integer }
---@field ttl? number|false seconds; false: events do not age
---@field key? string field of the data
---@field max_keys? integer
---@field rewind? integer|"all"|"latest"
---@field max_rate? number|false events per second and key of a state
---@field batch? number|false seconds for which events are collected
---@field slow? "reset"|"close"
---@field durable? boolean events are on the disk before publish returns
---@field read? fun(user: sluice.User?, params: table, client: sluice.Client): boolean

---@class sluice.Event
---@field channel string
---@field event string
---@field data any
---@field id? string
---@field key? string
---@field time? number

---@class sluice.EveryOptions
---@field name? string
---@field jitter? number
---@field overlap? "skip"|"queue"
---@field while_subscribed? string
---@field now? boolean

---@class sluice.ServeOptions
---@field host? string
---@field port? integer
---@field io_threads? integer
---@field heartbeat? number
---@field drain? number
---@field max_body? integer|string
---@field max_connections? integer
---@field memory? integer|string
---@field head_timeout? number
---@field body_timeout? number
---@field idle_timeout? number
---@field request_timeout? number
---@field stall_timeout? number
---@field trust_proxy? boolean
---@field data? string folder of what is durable
---@field allow_host? string[]|string
---@field allow_hosts? string[] the same
---@field handler_budget? number seconds of computing
---@field lua_memory? integer|string
---@field socket? string
---@field admin_key? string
---@field watch? boolean reload when a file of the app changes
---@field log_level? "debug"|"info"|"warn"|"error"|"off"
---@field log_format? "text"|"json"
---@field demo? boolean
---@field signals? boolean

---@class sluice
---@field _VERSION string
local sluice = {}

---@return sluice.App
function sluice.app() end
---@param target string|sluice.App
---@param options? sluice.ServeOptions
---@return true?, string? message, string? code
function sluice.serve(target, options) end
---@param seconds number
function sluice.sleep(seconds) end
function sluice.checkpoint() end
---@return number
function sluice.now() end
---@param text? string a time like 2026-12-01T03:00:00Z
---@return number? seconds, string? message, string? code
function sluice.time(text) end
---@param time? number
---@return string
function sluice.timestamp(time) end
---@return string
function sluice.id() end
---@param name string
---@param default? string
---@return string
function sluice.env(name, default) end
---@return boolean
function sluice.is_demo() end
---@return integer?, any, any
function sluice.receipt(id, subscribers, duplicate, field) end

---@class sluice.Log
sluice.log = {}
---@param fields? sluice.Fields
function sluice.log.debug(message, fields) end
---@param fields? sluice.Fields
function sluice.log.info(message, fields) end
---@param fields? sluice.Fields
function sluice.log.warn(message, fields) end
---@param fields? sluice.Fields
function sluice.log.error(message, fields) end

---@class sluice.Json
---@field null userdata
sluice.json = {}
---@return string? text, string? message, string? code
function sluice.json.encode(value) end
---@param text string
---@param max_depth? integer
---@return any value, string? message, string? code
function sluice.json.decode(text, max_depth) end
---@param t? table
---@return table
function sluice.json.array(t) end

---@class sluice.App
local App = {}

---@param ... sluice.Guard|sluice.Handler
function App:get(path, ...) end
---@param ... sluice.Guard|sluice.Handler
function App:post(path, ...) end
---@param ... sluice.Guard|sluice.Handler
function App:put(path, ...) end
---@param ... sluice.Guard|sluice.Handler
function App:patch(path, ...) end
---@param ... sluice.Guard|sluice.Handler
function App:delete(path, ...) end
---@param path string
---@param ... sluice.Guard|sluice.Plan|{ heartbeat?: number, method?: "GET"|"POST" }
function App:stream(path, ...) end
---@param pattern string
---@param ... sluice.Guard
function App:guard(pattern, ...) end
---@param prefix string
---@param folder string
function App:static(prefix, folder) end
---@param pattern string
---@param rule { origins: string[], credentials?: boolean, max_age?: number }
function App:cors(pattern, rule) end
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
---@param fn fun()
function App:service(name, fn) end
---@param kind "start"|"stop"|"reload"|"connect"|"disconnect"|"error"|"subscribe"|"unsubscribe"|"published"
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
---@param opts? { key?: string, ttl?: number, idempotency?: string, remove?: boolean, update?: boolean, wait?: boolean }
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
---@param opts? { wait?: boolean }
---@return boolean? there_was_one, string? message, string? code
function App:cancel(id, opts) end
---@return boolean
function App:has_store() end
---@param fn fun()
---@return true?, string? message, string? code
function App:spawn(fn) end

---@class sluice.Store
local Store = {}

---@param key string
---@return any value a copy; nil: there is none
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
---@param prefix? string
---@return fun(): string?, any
function Store:each(prefix) end

---@class sluice.Request
---@field method string
---@field path string
---@field params table<string, string>
---@field query table<string, string>
---@field headers table<string, string> in any case
---@field cookies table<string, string>
---@field body string
---@field ip string
---@field host string
---@field id string
---@field user? sluice.User put there by a guard
local Request = {}

---@param wanted? sluice.Shape
---@param opts? { any_case?: boolean }
---@return table
function Request:json(wanted, opts) end
---@param name string
---@return string[]?
function Request:list(name) end
---@param name string
---@param min? number
---@param max? number
---@return number?
function Request:number(name, min, max) end
---@param status integer
---@param body? any
---@param headers? table
function Request:abort(status, body, headers) end

---@class sluice.Lag
---@field lag_events integer that still have to be sent
---@field lag_bytes integer

---@class sluice.Counts: sluice.Lag
---@field published integer events
---@field published_bytes integer
---@field delivered integer events, each once per stream that was sent it
---@field delivered_bytes integer
---@field conflated integer values that newer ones replaced before a reader's turn
---@field dropped integer events that slow readers lost, reported to them by a reset
---@field resets integer
---@field reset_reasons table<"trimmed"|"slow"|"restart"|"epoch"|"future"|"unknown_id"|"denied"|"failover", integer>
---@field behind integer streams that lag
---@field held_bytes integer

---@class sluice.ChannelStats: sluice.Counts
---@field kind "log"|"state"|"keyed"
---@field subscribers integer
---@field held integer events in the history, or values of a state
---@field last? string id of the newest event

---@class sluice.Stats: sluice.Counts
---@field requests integer
---@field accepted integer connections so far
---@field connections integer
---@field streams integer
---@field clients integer
---@field active_users integer
---@field channels integer
---@field slow integer how often a reader lost events by being slow
---@field loop_lag_ms number
---@field epoch string
---@field generation integer
---@field generations_alive integer
---@field handler_errors table<string, integer> by generation
---@field reloads_total? table<string, integer> by outcome
---@field reload_seconds? number of the last one
---@field store? sluice.StoreStats nil without a store

---@class sluice.StoreStats
---@field commits integer
---@field events integer
---@field commit_seconds number mean
---@field commit_seconds_max number
---@field failed integer commits
---@field unknown integer commits whose result was not known at first
---@field refused integer writes answered ESTORE
---@field late integer writes answered ETIMEOUT
---@field busy integer publishes in memory that found the numbers below a commit used up
---@field queued integer
---@field in_flight integer
---@field reads integer
---@field channels integer rows
---@field trimmed integer rows
---@field wal_pages integer
---@field damaged integer rows
---@field in_doubt boolean
---@field trouble? string

---@class sluice.ClientStats: sluice.Lag
---@field events integer sent so far
---@field bytes integer
---@field resets integer
---@field behind_for number seconds
---@field channel? string where most of its lag is

---@class sluice.Slow: sluice.ClientStats
---@field client sluice.Client

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
---@param reason? "age"|"denied"|"drain"|"error"|"expired"|"moved"|"overload"|"revoked"|"slow"|"stop"
---@return true?, string? message, string? code
function Client:close(reason) end
---@return sluice.ClientStats? figures, string? message, string? code
function Client:stats() end
---@param event? string
---@param data? any
---@return true?, string? message, string? code
function Client:stop(event, data) end

---@class sluice.HttpOptions
---@field url? string
---@field method? string
---@field headers? table<string, string|number>
---@field body? string
---@field json? any
---@field timeout? number seconds for one attempt
---@field retries? integer
---@field max_bytes? integer
---@field redirects? integer
---@field verify? boolean
---@field sign? { secret: string, id?: string } Standard Webhooks

---@class sluice.HttpResponse
---@field status integer
---@field headers table<string, string> in any case
---@field body string
---@field json fun(): any, string?, string?

---@class sluice.Http require("sluice.http")
local http = {}
---@param o sluice.HttpOptions
---@return sluice.HttpResponse?, string? message, string? code
function http.request(o) end
---@param url string
---@param o? sluice.HttpOptions
---@return sluice.HttpResponse?, string? message, string? code
function http.get(url, o) end
---@param url string
---@param o? sluice.HttpOptions
---@return sluice.HttpResponse?, string? message, string? code
function http.post(url, o) end
---@param o sluice.HttpOptions|{ idle?: number } without retries and max_bytes
---@return sluice.HttpStream?, string? message, string? code
function http.stream(o) end

---@class sluice.HttpStream
---@field status integer
---@field headers table<string, string> in any case
---@field problem? string why it broke off
---@field code? string
local HttpStream = {}
---@return fun(): string?
function HttpStream:chunks() end
function HttpStream:close() end

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

---@class sluice.ClientOptions
---@field events? string[]
---@field keys? string[]
---@field headers? table<string, string|number>
---@field last_event_id? string
---@field timeout? number seconds without a byte
---@field json? any
---@field body? string
---@field method? "GET"|"POST"

---@class sluice.ClientEvent
---@field event string
---@field data any a table when the text is a JSON object or list
---@field text string
---@field id? string

---@class sluice.EventsClient require("sluice.client")
local client = {}
---@param url string
---@param o? sluice.ClientOptions
---@return fun(): sluice.ClientEvent?
function client.events(url, o) end
---@param url string
---@param o? sluice.ClientOptions
---@return sluice.Connection?, string? message, string? code
function client.connect(url, o) end

---@class sluice.Connection
---@field status integer 200 or 204
local Connection = {}
---@return fun(): sluice.ClientEvent?
function Connection:events() end
function Connection:close() end

---@class sluice.Crypto require("sluice.crypto")
local crypto = {}
---@param text string
---@return string digest 32 bytes
function crypto.sha256(text) end
---@param key string
---@param text string
---@return string digest 32 bytes
function crypto.hmac_sha256(key, text) end
---@param n integer
---@return string bytes
function crypto.random(n) end
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end
---@param bytes string
---@return string
function crypto.base64url(bytes) end
---@param text string
---@return string? bytes
function crypto.from_base64url(text) end
---@param bytes string
---@return string digits
function crypto.hex(bytes) end
---@param alg "HS256"|"RS256"|"ES256"
---@param source string|table a secret, a public key as PEM, or a JWK
---@return sluice.Key?, string? message, string? code
function crypto.key(alg, source) end
---@param password string
---@return string? hash, string? message, string? code
function crypto.hash(password) end
---@param secret? string
---@param hash? string
---@return boolean?, string? message, string? code
function crypto.verify(secret, hash) end

---@class sluice.Key
---@field alg "HS256"|"RS256"|"ES256"
local Key = {}
---@param text string
---@param signature string bytes
---@return boolean
function Key:verify(text, signature) end

---@class sluice.AuthKey
---@field id string the user's
---@field hash string SHA-256 of the key, in hexadecimal digits
---@field roles? string[]
---@field name? string
---@field key? string the key's name
---@field expires? number|string

---@class sluice.AuthIssuer
---@field issuer string
---@field audience string|string[]
---@field alg "HS256"|"RS256"|"ES256"
---@field key? string|table a secret, a public key as PEM, or a JWK
---@field jwks? string|table a URL, the path of a file, or a table with keys
---@field user? fun(claims: table): table?, string? { id, name, roles, expires }, or nil and why not
---@field scope? string
---@field typ? string
---@field leeway? number seconds

---@class sluice.AuthSession
---@field secret string|string[]
---@field ttl? number seconds
---@field cookie? string
---@field same_site? "Lax"|"Strict"|"None"
---@field secure? boolean

---@class sluice.AuthOptions
---@field keys? sluice.AuthKey[]|string|fun(key: string): table?
---@field jwt? sluice.AuthIssuer[]
---@field session? sluice.AuthSession
---@field tickets? { ttl?: number }|boolean
---@field header? string
---@field query? string|boolean
---@field failures? { rate?: number, per?: number }|false
---@field audit? boolean
---@field durable? boolean
---@field keep? number seconds
---@field name? string

---@class sluice.AuthModule require("sluice.auth")
local auth = {}
---@param app sluice.App
---@param o sluice.AuthOptions
---@return sluice.Auth
function auth.new(app, o) end

---@class sluice.Auth
local Auth = {}
---@return sluice.Guard
function Auth:user() end
---@return sluice.Guard
function Auth:optional() end
---@param ... string
---@return sluice.Guard
function Auth:role(...) end
---@param name string
---@param o? { rate?: number, per?: number, by?: "user"|"ip" }
---@return sluice.Guard
function Auth:limit(name, o) end
---@return sluice.Guard
function Auth:idempotent() end
---@param user { id: string, name?: string, roles?: table, expires?: number }
---@return table<string, string> headers
function Auth:sign_in(user) end
---@param req sluice.Request
---@return table<string, string> headers
function Auth:sign_out(req) end
---@param user sluice.User
---@return string? ticket, string? message, string? code
function Auth:ticket(user) end
---@param password string
---@return string? hash, string? message, string? code
function Auth:hash(password) end
---@param password? string
---@param hash? string
---@return boolean?, string? message, string? code
function Auth:verify(password, hash) end
---@param what { user?: string, key?: string, session?: string }
---@return integer? streams, string? message, string? code
function Auth:revoke(what) end
---@param prefix string
---@param ... sluice.Guard
function Auth:routes(prefix, ...) end

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
---@param o? sluice.SystemOptions
---@return sluice.System
function system.new(app, o) end

---@class sluice.System
local System = {}
---@return sluice.SystemSample
function System:sample() end

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
---@param o? sluice.RoomsOptions
---@return sluice.Rooms
function rooms.new(app, o) end

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

---@class sluice.HubOptions
---@field name? string "hub"
---@field history? integer|{ count?: integer, bytes?: integer }
---@field rewind? integer|"all"
---@field durable? boolean
---@field read? fun(user: sluice.User?, params: table, client: sluice.Client): boolean

---@class sluice.HubGuards
---@field publish sluice.Guard|sluice.Guard[]
---@field admin sluice.Guard|sluice.Guard[]
---@field connect? sluice.Guard|sluice.Guard[]

---@class sluice.HubBody
---@field user? string|integer an id: for this user only
---@field client? string an id: for this connection only
---@field idempotency? string the same key publishes once

---@class sluice.HubNotification: sluice.HubBody
---@field message string
---@field severity? "info"|"warning"|"high"|"critical"
---@field title? string

---@class sluice.HubAlert: sluice.HubBody
---@field message string
---@field severity? "info"|"warning"|"high"|"critical"
---@field category? string

---@class sluice.HubDataUpdate: sluice.HubBody
---@field id string|number
---@field type string
---@field changes? table

---@class sluice.HubHeartbeat: sluice.HubBody
---@field status? string

---@class sluice.HubEvent: sluice.HubBody
---@field eventType string
---@field data? any

---@class sluice.HubMaintenance: sluice.HubBody
---@field startTime string
---@field message? string
---@field countdown? number[] seconds before startTime
---@field preview? boolean

---@class sluice.HubModule require("sluice.hub")
local hub = {}
---@param app sluice.App
---@param o? sluice.HubOptions
---@return sluice.Hub
function hub.new(app, o) end

---@class sluice.Hub
local Hub = {}
---@param body sluice.HubNotification
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:notification(body) end
---@param body sluice.HubAlert
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:alert(body) end
---@param body sluice.HubDataUpdate
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:data_update(body) end
---@param body? sluice.HubHeartbeat
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:heartbeat(body) end
---@param body sluice.HubEvent
---@return string? id, integer|string subscribers, boolean|string? duplicate, string? field
function Hub:send(body) end
---@param body sluice.HubMaintenance
---@return string|table|nil id, integer|string? subscribers, boolean|string? duplicate, string? field
function Hub:maintenance(body) end
---@param prefix string
---@param guards sluice.HubGuards
function Hub:routes(prefix, guards) end

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
---@param o? sluice.ChangesOptions
---@return sluice.Changes
function changes.new(app, o) end

---@class sluice.Changes
local Changes = {}
---@param type string
---@return sluice.Entity
function Changes:entity(type) end
---@param type string
---@return string
function Changes:channel(type) end
---@param o sluice.ChangesSource
function Changes:sqlite(o) end

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

---@class sluice.AlertsOptions
---@field name? string "alerts"
---@field channel? string the name; with the segment :subject each subject has its own
---@field event? string "alert"
---@field subject? string "subject": the field that has it
---@field history? integer|{ count?: integer, bytes?: integer }
---@field rewind? integer|"all"|"latest"
---@field durable? boolean default: whether the app has a store
---@field max_subjects? integer 50000
---@field read? fun(user: sluice.User?, params: table, client: sluice.Client?): boolean

---@class sluice.AlertRule
---@field field? string "temperature", "sensors.temperature"
---@field above? number|fun(subject: string): number?
---@field below? number|fun(subject: string): number?
---@field clear? number|fun(subject: string): number?
---@field when? fun(sample: table, subject: string, firing: boolean): boolean?
---@field hold? number seconds
---@field cooldown? number seconds
---@field severity? "info"|"warning"|"high"|"critical"
---@field category? string
---@field message? string|fun(value: any, subject: string): string

---@class sluice.AlertSilence
---@field after? number seconds
---@field severity? "info"|"warning"|"high"|"critical"
---@field category? string
---@field message? string|fun(value: nil, subject: string): string

---@class sluice.AlertsModule require("sluice.alerts")
local alerts = {}
---@param app sluice.App
---@param o? sluice.AlertsOptions
---@return sluice.Alerts
function alerts.new(app, o) end

---@class sluice.Alerts
local Alerts = {}
---@param name string
---@param rule sluice.AlertRule
function Alerts:rule(name, rule) end
---@param name string
---@param rule? sluice.AlertSilence
function Alerts:silence(name, rule) end
---@param subject string|integer
---@param sample table
---@param opts? { wait?: boolean }
---@return true?, string? message, string? code, string? field
function Alerts:check(subject, sample, opts) end
---@param subject? string
---@return table[]
function Alerts:active(subject) end
---@param id string
---@param user? sluice.User|string
---@return true?, string? message, string? code, string? field
function Alerts:ack(id, user) end
---@param subject string|integer
---@return true?, string? message, string? code, string? field
function Alerts:forget(subject) end
---@param subject string|integer
---@return string? channel, string? message, string? code, string? field
function Alerts:channel(subject) end
---@param path string
---@param ... sluice.Guard
function Alerts:stream(path, ...) end
---@param prefix string
---@param ... sluice.Guard
function Alerts:routes(prefix, ...) end

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
---@param o? sluice.DemoOptions
---@return sluice.Demo
function demo.new(app, o) end

---@class sluice.Demo
local Demo = {}
---@param name string
---@param fn fun(n: integer, random: fun(from?: number|any[], to?: number): any): string?, string?, table?, table?
function Demo:producer(name, fn) end
---@param file string what `sluice record` wrote
---@param o? sluice.DemoReplay
function Demo:replay(file, o) end
---@param channel string
function Demo:use_cases(channel) end
---@param o? sluice.DemoStart
---@return sluice.DemoStatus?, string? message, string? code, string? field
function Demo:start(o) end
---@return sluice.DemoStatus?, string? message, string? code
function Demo:stop() end
---@return sluice.DemoStatus?, string? message, string? code
function Demo:status() end
---@param prefix string
---@param ... sluice.Guard
function Demo:routes(prefix, ...) end

---@class sluice.EventStreamOptions
---@field line_max? integer bytes
---@field event_max? integer bytes of data
---@field last_id? string where the stream before this one ended

---@class sluice.EventStreamEvent
---@field event string
---@field data string
---@field id string
---@field retry? integer milliseconds

---@class sluice.EventStreamModule require("sluice.eventstream")
local eventstream = {}
---@param o? sluice.EventStreamOptions
---@return sluice.EventStream
function eventstream.new(o) end

---@class sluice.EventStream
---@field last_id string
---@field retry? integer milliseconds
local EventStream = {}
---@param bytes string
---@return sluice.EventStreamEvent[] events, string? problem, string? code
function EventStream:feed(bytes) end

---@class sluice.testing.Options
---@field env? table<string, string> the app's environment variables; it sees no others
---@field flags? table settings, named as the flags of `sluice run`
---@field seed? integer 1: equal seeds give equal ids, jitter and math.random
---@field now? number seconds since 1970 at the start
---@field files? table<string, string> texts of files beside the app
---@field http? table<string, sluice.testing.HttpAnswer> answers of other servers by URL
---@field waits? boolean|number every publish lets others run, where it may; for so many seconds
---@field sockets? boolean true: a server in a process of its own, and real time

---@class sluice.testing.DiskOptions
---@field commit? number seconds that a commit takes (0.002)
---@field early? boolean true: events are in the file when their commit begins, not when it ends
---@field full? boolean|integer true: nothing more is taken; bytes that all files may have
---@field failing? "write"|"sync"|false these fail with an I/O error
---@field hung? boolean true: no commit ends

---@class sluice.testing.RequestOptions
---@field user? string|sluice.User becomes req.user; roles may be a list, which becomes a set
---@field headers? table<string, string>
---@field json? any the body, with its content type
---@field body? string
---@field last_event_id? string
---@field buffer? integer bytes that a stream's socket takes unread
---@field method? "GET"|"POST" of t:connect: a stream by POST

---@class sluice.testing.Response
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string
---@field json? any
---@field error? string what the log says about a 500; which guard put another user in

---@class sluice.testing.Event
---@field event string
---@field data any JSON, read; or the text when it is none
---@field id? string
---@field text string as it came
---@field at number seconds since 1970

---@alias sluice.testing.HttpAnswer { status?: integer, headers?: table, json?: any, body?: string, events?: table[] }|fun(request: table): table?, string?, string?

---@class sluice.testing require("sluice.testing")
local testing = {}

---@param target string|{ source: string, files?: table<string, string> }|sluice.App
---@param options? sluice.testing.Options
---@return sluice.testing.Test
function testing.start(target, options) end
---@param url string "http://host:port" of a server that runs
---@return sluice.testing.Test
function testing.remote(url) end

---@class sluice.testing.Test
local Test = {}

---@param path string
---@param options? sluice.testing.RequestOptions
---@return sluice.testing.Stream
function Test:connect(path, options) end
---@param path string
---@param options? sluice.testing.RequestOptions
---@return sluice.testing.Response
function Test:get(path, options) end
---@return sluice.testing.Response
function Test:post(path, options) end
---@return sluice.testing.Response
function Test:put(path, options) end
---@return sluice.testing.Response
function Test:patch(path, options) end
---@return sluice.testing.Response
function Test:delete(path, options) end
---@param channel string
---@param event? string
---@param data? any
---@param opts? table
---@return string|true|nil id, integer|string subscribers, boolean|string duplicate
function Test:publish(channel, event, data, opts) end
---@param seconds number
function Test:advance(seconds) end
---@return number seconds since the test began
function Test:elapsed() end
function Test:settle() end
---@param seconds number
---@param done fun(): any
---@return any what it returned
function Test:wait(seconds, done) end
---@param source? string
---@return true?, string? message, table? outcome
function Test:reload(source) end
function Test:restart() end
function Test:kill() end
function Test:cut() end
---@param options sluice.testing.DiskOptions
function Test:disk(options) end
function Test:stop() end
---@param n integer
function Test:seed(n) end
---@param name string
---@return table
function Test:state(name) end
---@param name string
---@return sluice.Store
function Test:store(name) end
---@param url string
---@param answer sluice.testing.HttpAnswer
function Test:http(url, answer) end
---@return { method: string, url: string, headers: table, body?: string, json?: any, at: number }[]
function Test:requests() end
---@param level? "debug"|"info"|"warn"|"error"
---@return string[]
function Test:log(level) end
---@param after? integer how many lines of the log to leave out
---@return string?
function Test:last_error(after) end

---@class sluice.testing.Stream
---@field status integer
---@field headers table<string, string>
---@field body string of a refusal
---@field json? any of a refusal
---@field hello? table
---@field id? string the client's
---@field error? string which guard put another user in
local Stream = {}

---@param event? string nil: the next of any name, but for control events
---@param timeout? number 5 seconds
---@param match? table|fun(data: any, e: sluice.testing.Event): boolean
---@return sluice.testing.Event
function Stream:wait_for(event, timeout, match) end
---@param event? string nil: of any name, but for control events
---@param seconds? number 1
function Stream:expect_none(event, seconds) end
---@param event? string
---@return sluice.testing.Event[]
function Stream:events(event) end
---@param event? string
---@return integer
function Stream:count(event) end
---@return string
function Stream:transcript() end
---@return string? id
function Stream:last_id() end
function Stream:drop() end
function Stream:close() end
---@param seconds? number for ever without
function Stream:stall(seconds) end
---@param options? sluice.testing.RequestOptions
---@return sluice.testing.Stream
function Stream:reconnect(options) end

return sluice
