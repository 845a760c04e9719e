---@meta sluice.testing
--- For editors (see init.lua): require("sluice.testing").
-- luacheck: ignore

---@class sluice.testing.Options
---@field env? table<string, string> the app's environment variables; it sees no others
---@field flags? table settings, named as the flags of `sluice run`
---@field seed? integer 1: equal seeds give equal ids, jitter and math.random
---@field now? number seconds since 1970 at the start
---@field files? table<string, string> texts of files beside the app
---@field http? table<string, sluice.testing.HttpAnswer> answers of other servers by URL
---@field waits? boolean|number every publish lets others run, where it may; for so many seconds
---@field nodes? integer so many of one cluster, with a simulated Redis
---@field sockets? boolean true: a server in a process of its own, and real time

---@class sluice.testing.DiskOptions
---@field commit? number seconds that a commit takes (0.002)
---@field early? boolean true: events are in the file when their commit begins, not when it ends
---@field full? boolean|integer true: nothing more is taken; bytes that all files may have
---@field failing? "write"|"sync"|false these fail with an I/O error
---@field hung? boolean true: no commit ends

---@class sluice.testing.RedisOptions
---@field restart? true|number another process, over what it has kept; so many seconds later
---@field promote? true a replica takes its place
---@field isolated? integer[] with promote: nodes that stay with the old one, until t:heal()
---@field lose? integer with one of these: so many of the last events are gone
---@field pause? boolean|number true: commands wait until false; for so many seconds
---@field latency? number seconds from a command to its answer (0)
---@field full? boolean it is out of memory
---@field fsync? "everysec"|"always" what a restart may lose: as it is at first, or nothing

---@class sluice.testing.RequestOptions
---@field user? string|sluice.User becomes req.user; roles may be a list, which becomes a set
---@field headers? table<string, string>
---@field json? any the body, with its content type
---@field body? string|fun(): string|number|false|nil
---@field last_event_id? string
---@field compress? "auto"|"gzip"|"zstd" of t:connect: what it accepts
---@field buffer? integer bytes that a stream's socket takes unread
---@field method? "GET"|"POST" of t:connect: a stream by POST
---@field mode? "poll" of t:connect: by long-polls
---@field token? string of t:connect by polls: of a client that has polled before

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
---@param n integer
---@return sluice.testing.Test the same test, at that node of its cluster
function Test:node(n) end
---@param ... integer numbers of nodes that reach Redis no more
function Test:partition(...) end
function Test:heal() end
---@param options sluice.testing.RedisOptions
function Test:redis(options) end
function Test:crash() end
---@param seconds number that its process is stopped
function Test:freeze(seconds) end
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
---@alias sluice.testing.MailAnswer { status?: integer, message?: string, refused?: table<string, string> }
---@param answer sluice.testing.MailAnswer|fun(mail: table): sluice.testing.MailAnswer?, string?, string?
function Test:mail(answer) end
---@return { from: string, to: string[], subject: string, text?: string, html?: string, headers: table, id: string, url: string, user?: string, raw: string, at: number }[]
function Test:mails() end
---@param name string of the source: its key, its table, or its option `name`
---@return sluice.testing.Source
function Test:source(name) end
---@param level? "debug"|"info"|"warn"|"error"
---@return string[]
function Test:log(level) end
---@param after? integer how many lines of the log to leave out
---@return string?
function Test:last_error(after) end

---@class sluice.testing.Source the server that a source of the app reads
local Source = {}

---@param entry table fields by name of redis.stream; columns of postgres.listen
---@return string id
function Source:push(entry) end
---@param why? string as the log has it
function Source:fail(why) end
function Source:recover() end
---@param n? integer entries that were not read; nil: nobody knows how many
function Source:lose(n) end

---@class sluice.testing.Stream
---@field status integer
---@field headers table<string, string>
---@field body string of a refusal
---@field json? any of a refusal
---@field hello? table
---@field id? string the client's
---@field error? string which guard put another user in
---@field token? string by polls: that the last answer brought
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
---@param n integer the node of the cluster at which it comes back
---@param options? sluice.testing.RequestOptions
---@return sluice.testing.Stream
function Stream:hop(n, options) end

return testing
