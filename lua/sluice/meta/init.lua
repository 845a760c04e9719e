---@meta sluice
--- Definitions for editors (LuaCATS): what `require` gives for sluice and its modules, a file each.
--- Never loaded by Sluice; point your server's library setting at the folder that holds `sluice/`.
--- spec/unit/meta_spec.lua and spec/kit/meta_spec.lua compare the names here with those there.
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
---@field compress? "auto"|"gzip"|"zstd"|false of a constant plan; else an option of app:stream
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
---@field budget? integer|false bytes a minute; more is an alarm
---@field slow? "reset"|"close"
---@field durable? boolean events are on the disk before publish returns
---@field shared? boolean false: each node of a cluster has its own, and events have no id
---@field read? fun(user: sluice.User?, params: table, client: sluice.Client): boolean

---@class sluice.Limits
---@field max_streams_per_address? integer at a time; 0: any number
---@field max_streams_per_user? integer
---@field max_requests_per_address? integer a minute
---@field max_requests_per_user? integer
---@field exempt? string[] addresses and networks

---@class sluice.Event
---@field channel string
---@field event string
---@field data any
---@field id? string
---@field key? string
---@field time? number
---@field own? boolean
---@field removed? boolean
---@field missed? boolean

---@class sluice.EveryOptions
---@field name? string
---@field jitter? number
---@field overlap? "skip"|"queue"
---@field while_subscribed? string
---@field now? boolean
---@field per? "cluster"|"node" once in a cluster, or on each of its nodes

---@class sluice.ServeOptions
---@field host? string
---@field port? integer
---@field io_threads? integer
---@field io_uring? "auto"|"on"|"off"
---@field heartbeat? number
---@field drain? number
---@field max_body? integer|string
---@field max_connections? integer
---@field max_streams_per_address? integer 0: any number, whatever the app says
---@field max_streams_per_user? integer
---@field max_requests_per_address? integer a minute
---@field max_requests_per_user? integer
---@field limits_exempt? string[]|string addresses and networks
---@field memory? integer|string
---@field metrics_host? string
---@field metrics_port? integer
---@field agent_port? integer for HAProxy's agent-check
---@field tls_cert? string[]|string files: HTTPS
---@field tls_key? string[]|string files
---@field tls_port? integer
---@field tls_host? string
---@field tls_redirect? boolean
---@field h2c? boolean HTTP/2 on the plain port
---@field tls? "dev"
---@field head_timeout? number
---@field body_timeout? number
---@field idle_timeout? number
---@field request_timeout? number
---@field stall_timeout? number
---@field trace? boolean
---@field trust_proxy? boolean
---@field data? string folder of what is durable
---@field cluster? string Redis of all nodes
---@field cluster_name? string
---@field cluster_password_file? string
---@field cluster_ca? string
---@field cluster_cert? string
---@field cluster_key? string
---@field cluster_sni? string
---@field cluster_durable? string
---@field cluster_safe? string
---@field cluster_feed? integer|string
---@field cluster_node? string
---@field allow_host? string[]|string
---@field allow_hosts? string[] the same
---@field handler_budget? number seconds of computing
---@field lua_memory? integer|string
---@field socket? string
---@field admin_key? string
---@field watch? boolean reload when a file of the app changes
---@field log_level? "debug"|"info"|"warn"|"error"|"off"
---@field listen_fd? "auto"|integer|integer[]|string descriptors that listen already
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
---@return string? traceparent of the request that this code runs for
function sluice.traceparent() end
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

return sluice
