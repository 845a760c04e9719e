--- The figures of a server for GET /-/metrics, made when a scraper asks. All but histograms are
-- those of app:stats() (doc/metrics.md), by I/O thread and by declared pattern of
-- channels: how many lines there are depends on the app and the threads, never on channels, users
-- or clients. Keeps nothing in memory.
local cluster_metrics = require("sluice.requests.cluster_metrics")
local collector = require("sluice.base.collector")
local exposition = require("sluice.requests.exposition")
local file = require("sluice.base.file")
local store_metrics = require("sluice.requests.store_metrics")

local metrics = {}

local NONE, US, TICKS, KIB = {}, 1000000, 100, 1024

-- ---- How a row's values are found ------------------------------------------------------------

-- One value of app:stats(), or of a table of it.
local function stat(field, factor)
  return function(out, data) out:sample(NONE, data.stats[field] * (factor or 1)) end
end

local function thread_name(i) return { thread = "io" .. i - 1 } end

local function by_thread(field)
  return function(out, data)
    for i, row in ipairs(data.threads) do out:sample(thread_name(i), row[field]) end
  end
end

local function by_pattern(field)
  return function(out, data)
    for _, row in ipairs(data.patterns) do out:sample({ pattern = row.pattern }, row[field]) end
  end
end

local function thread_times(field)
  return function(out, data)
    for i, row in ipairs(data.threads) do
      out:histogram(thread_name(i), row[field], data.scale_us, US)
    end
  end
end

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function each_reason(out, counts)
  for _, reason in ipairs(sorted(counts)) do out:sample({ reason = reason }, counts[reason]) end
end

local function replays(out, data)
  for i, row in ipairs(data.threads) do
    out:histogram(thread_name(i), row.replays, data.scale_events, 1) end
end

local function turns(out, data)
  out:histogram({ thread = "app" }, data.app_turns, data.scale_us, US)
  thread_times("turns")(out, data)
end

local function responses(out, data)
  for i, row in ipairs(data.threads) do
    for class, n in ipairs(row.answered) do
      out:sample({ thread = "io" .. i - 1, class = class .. "xx" }, n)
    end
  end
end

-- Of all threads, by reason.
local function by_reason(field)
  return function(out, data)
    local sums = {}
    for _, row in ipairs(data.threads) do
      for reason, n in pairs(row[field]) do sums[reason] = (sums[reason] or 0) + n end
    end
    each_reason(out, sums)
  end
end

local function pattern_resets(out, data)
  for _, row in ipairs(data.patterns) do
    local sum = 0
    for _, n in pairs(row.resets) do sum = sum + n end
    out:sample({ pattern = row.pattern }, sum)
  end
end

local function reloads(out, data)
  for _, result in ipairs({ "ok", "failed" }) do
    local sum = 0
    for _, n in pairs((data.stats.reloads_total or {})[result] or {}) do sum = sum + n end
    out:sample({ result = result }, sum)
  end
end

local function of(field)
  return function(out, data)
    if data[field] then out:sample(NONE, data[field]) end
  end
end

-- ---- The families ----------------------------------------------------------------------------

local C, G, H, I = "counter", "gauge", "histogram", "info"

-- name, type, unit or false, help, what adds its samples; and whose it is where not all have one
local FAMILIES = {
  { "sluice_build", I, false, "Version of Sluice", function(out, data)
    out:sample({ version = data.version }, 1) end },
  { "sluice_epoch", I, false, "The numbering that ids begin with", function(out, data)
    out:sample({ epoch = data.stats.epoch }, 1) end },
  { "sluice_connections", G, false, "Connections that are open", by_thread("connections") },
  { "sluice_connections_limit", G, false, "The value of --max-connections", of("max_connections") },
  { "sluice_accepted_connections", C, false, "Connections so far", by_thread("accepted") },
  { "sluice_streams", G, false, "Streams that are open", by_thread("streams") },
  { "sluice_clients", G, false, "Clients that the app knows", stat("clients") },
  { "sluice_active_users", G, false, "Users, or addresses without one, that have a stream",
    stat("active_users") },
  { "sluice_requests", C, false, "Requests so far", by_thread("requests") },
  { "sluice_responses", C, false, "Answers and heads of streams, by class of status", responses },
  { "sluice_response_seconds", H, "seconds",
    "From a request to its answer or the head of its stream, measured in milliseconds",
    thread_times("answers") },
  { "sluice_streams_ended", C, false, "Streams that ended, by reason", by_reason("ended") },
  { "sluice_refused", C, false, "Requests and streams over a limit of their address or user",
    function(out, data)
      for _, name in ipairs(sorted(data.stats.refused)) do
        out:sample({ limit = name }, data.stats.refused[name])
      end
    end },
  { "sluice_publish_latency_seconds", H, "seconds",
    "From app:publish until the sockets of streams that had caught up took the event",
    thread_times("latency") },
  { "sluice_replay_events", H, false,
    "Events that streams were sent from their opening until they had caught up", replays },
  { "sluice_loop_turn_seconds", H, "seconds", "Turns of the loops of the threads", turns },
  { "sluice_loop_lag_seconds", G, "seconds",
    "The longest that the app was busy at a time, or late, in the last ten seconds",
    stat("loop_lag_ms", 0.001) },
  { "sluice_published_events", C, false, "Events that app:publish accepted", stat("published") },
  { "sluice_published_bytes", C, "bytes", "These, as they go on the wire",
    stat("published_bytes") },
  { "sluice_delivered_events", C, false, "Events handed to sockets, once per stream",
    by_thread("delivered") },
  { "sluice_delivered_bytes", C, "bytes", "These, with control events",
    by_thread("delivered_bytes") },
  { "sluice_conflated_events", C, false, "Values that newer ones replaced before a turn came",
    stat("conflated") },
  { "sluice_dropped_events", C, false, "Events that slow readers lost, with a reset",
    stat("dropped") },
  { "sluice_resets", C, false, "Resets sent to streams, by reason", function(out, data)
    each_reason(out, data.stats.reset_reasons) end },
  { "sluice_slow_readers", C, false, "How often the slow policy of a channel acted",
    by_thread("slow") },
  { "sluice_lagging_streams", G, false, "Streams whose sockets are full", stat("behind") },
  { "sluice_lag_events", G, false, "Events that the stream lags that lags most",
    stat("lag_events") },
  { "sluice_lag_bytes", G, "bytes", "Bytes that the stream lags that lags most",
    stat("lag_bytes") },
  { "sluice_channels", G, false, "Channels that hold or held events", stat("channels") },
  { "sluice_held_bytes", G, "bytes", "Memory of the events of all channels", stat("held_bytes") },
  { "sluice_held_limit_bytes", G, "bytes", "The value of --memory", of("memory") },
  { "sluice_compressions", C, false, "Blocks that were compressed", by_thread("compressions") },
  { "sluice_compression_input_bytes", C, "bytes", "Sent compressed, once per stream: before",
    by_thread("compressed_from") },
  { "sluice_compression_output_bytes", C, "bytes", "Sent compressed, once per stream: after",
    by_thread("compressed_to") },
  { "sluice_pattern_channels", G, false, "Channels by declared pattern", by_pattern("channels") },
  { "sluice_pattern_subscribers", G, false, "Subscriptions of streams", by_pattern("subscribers") },
  { "sluice_pattern_published_events", C, false, "Events published", by_pattern("published") },
  { "sluice_pattern_published_bytes", C, "bytes", "Bytes published",
    by_pattern("published_bytes") },
  { "sluice_pattern_delivered_events", C, false, "Events delivered", by_pattern("delivered") },
  { "sluice_pattern_delivered_bytes", C, "bytes", "Bytes delivered",
    by_pattern("delivered_bytes") },
  { "sluice_pattern_conflated_events", C, false, "Values replaced", by_pattern("conflated") },
  { "sluice_pattern_dropped_events", C, false, "Events that slow readers lost",
    by_pattern("dropped") },
  { "sluice_pattern_resets", C, false, "Resets", pattern_resets },
  { "sluice_pattern_held_events", G, false, "Events in histories and values", by_pattern("held") },
  { "sluice_pattern_held_bytes", G, "bytes", "Bytes of these", by_pattern("held_bytes") },
  { "sluice_pattern_lagging_streams", G, false, "Subscriptions that lag", by_pattern("behind") },
  { "sluice_pattern_lag_events", G, false, "Events of the one that lags most",
    by_pattern("lag_events") },
  { "sluice_pattern_lag_bytes", G, "bytes", "Bytes of the one that lags most",
    by_pattern("lag_bytes") },
  { "sluice_pattern_over_budget_channels", G, false, "Channels that are over their budget",
    by_pattern("over_budget") },
  { "sluice_pattern_budget_alarms", C, false, "How often a channel came to be over its budget",
    by_pattern("budget_alarms") },
  { "sluice_generation", G, false, "Number of the running code", stat("generation") },
  { "sluice_generations_alive", G, false, "Generations that run: 2 while one ends",
    stat("generations_alive") },
  { "sluice_reloads", C, false, "Reloads by result", reloads },
  { "sluice_reload_seconds", G, "seconds", "What the last reload took", function(out, data)
    out:sample(NONE, data.stats.reload_seconds or 0) end },
  { "sluice_handler_errors", C, false, "Errors of handlers and other code of the app",
    of("errors") },
  { "sluice_lua_heap_bytes", G, "bytes", "The Lua heap", of("heap") },
  { "sluice_lua_collections", C, false, "Cycles that Lua's collector has finished",
    of("collections") },
  { "sluice_tls_handshakes", C, false, "Handshakes of TLS", by_thread("tls_handshakes") },
  { "sluice_tls_resumed_handshakes", C, false, "Of these, by a ticket", by_thread("tls_resumed") },
  { "sluice_tls_failed_handshakes", C, false, "Others, by reason", by_reason("tls_failed") },
  { "sluice_tls_certificate_expiry_seconds", G, "seconds",
    "When the first certificate ends, since 1970", of("tls_expires") },
  { "process_cpu_seconds", C, "seconds", "Processor time", of("cpu") },
  { "process_resident_memory_bytes", G, "bytes", "Resident memory", of("resident") },
  { "process_max_fds", G, false, "The limit of open descriptors", of("max_descriptors") },
  { "process_start_time_seconds", G, "seconds", "When the server started, since 1970",
    of("started") },
}

for _, rows in ipairs({ store_metrics, cluster_metrics }) do
  table.move(rows, 1, #rows, #FAMILIES + 1, FAMILIES)
end

-- ---- The text --------------------------------------------------------------------------------

-- Of this process, from /proc; nil where that is not to be read.
local function of_process(data)
  local line = file.read("/proc/self/stat", 4096) or ""
  local fields = {}
  for word in (line:match("^.*%) (.*)") or ""):gmatch("%S+") do
    fields[#fields + 1] = tonumber(word) or 0
  end
  if fields[12] then data.cpu = (fields[12] + fields[13]) / TICKS end
  local status = file.read("/proc/self/status", 8192) or ""
  local resident = tonumber(status:match("VmRSS:%s*(%d+)"))
  if resident then data.resident = resident * KIB end
end

local function figures(runtime)
  local data = runtime.server:metrics()
  data.stats = runtime.server:stats()
  for name, value in pairs(runtime:figures()) do data.stats[name] = value end
  data.errors, data.started = runtime.errors_total, runtime.started
  data.heap = math.floor(collectgarbage("count") * KIB)
  data.collections = collector.cycles
  of_process(data)
  return data
end

--- All figures.
-- @tparam sluice.Runtime runtime
-- @tparam string|nil accept the request's Accept
-- @treturn string text
-- @treturn string its Content-Type
function metrics.text(runtime, accept)
  local is_open = exposition.wants_open(accept)
  local out, data = exposition.new(is_open), figures(runtime)
  for _, row in ipairs(FAMILIES) do
    local name, kind, unit, help, add, needs = table.unpack(row)
    if not needs or data.stats[needs] then
      out:family(name, kind, help, unit)
      add(out, data)
    end
  end
  return out:text(), exposition.type(is_open)
end

metrics.FAMILIES = FAMILIES

return metrics
