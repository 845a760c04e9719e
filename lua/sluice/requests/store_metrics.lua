--- The figures of a store for GET /-/metrics: rows as those of sluice.requests.metrics, which are
-- there while the server has one. Keeps nothing in memory.
local NONE, US, KIB = {}, 1000000, 1024
local C, G, H = "counter", "gauge", "histogram"

local function store(field, factor)
  return function(out, data)
    local value = data.stats.store[field]
    if type(value) ~= "number" then value = value and 1 or 0 end
    out:sample(NONE, value * (factor or 1))
  end
end

return {
  { "sluice_store_commits", C, false, "Commits", store("commits"), "store" },
  { "sluice_store_commit_seconds", H, "seconds", "What commits took, also those that failed",
    function(out, data) out:histogram(NONE, data.commits, data.scale_us, US) end, "store" },
  { "sluice_store_commit_longest_seconds", G, "seconds", "The longest commit since the start",
    store("commit_seconds_max"), "store" },
  { "sluice_store_events", C, false, "Events that are on the disk", store("events"), "store" },
  { "sluice_store_failed_commits", C, false, "Commits that failed", store("failed"), "store" },
  { "sluice_store_unknown_commits", C, false, "Commits whose result was not known at first",
    store("unknown"), "store" },
  { "sluice_store_refused_writes", C, false, "Writes answered ESTORE", store("refused"), "store" },
  { "sluice_store_late_writes", C, false, "Writes answered ETIMEOUT", store("late"), "store" },
  { "sluice_store_busy_publishes", C, false, "Publishes in memory answered EBUSY",
    store("busy"), "store" },
  { "sluice_store_queued_writes", G, false, "Writes that wait for a commit",
    store("queued"), "store" },
  { "sluice_store_writes_in_flight", G, false, "Writes in a commit", store("in_flight"), "store" },
  { "sluice_store_waiting_reads", G, false, "Requests for stored events", store("reads"), "store" },
  { "sluice_store_channels", G, false, "Rows of channels", store("channels"), "store" },
  { "sluice_store_trimmed_rows", C, false, "Rows that limits deleted", store("trimmed"), "store" },
  { "sluice_store_damaged_rows", C, false, "Rows that were not as written",
    store("damaged"), "store" },
  { "sluice_store_log_bytes", G, "bytes", "Of the file's write-ahead log",
    store("wal_pages", 4 * KIB), "store" },
  { "sluice_store_in_doubt", G, false, "1: a commit's result is not known",
    store("in_doubt"), "store" },
  { "sluice_store_trouble", G, false, "1: events cannot be stored, or the log grows",
    store("trouble"), "store" },
}
