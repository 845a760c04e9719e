--- The figures of a cluster for GET /-/metrics: rows as those of sluice.requests.metrics, which are
-- there while the server is in one. Keeps nothing in memory.
local STATES = { "away", "proving", "catching up", "live" }
local C, G = "counter", "gauge"

local function stat(field)
  return function(out, data)
    local cluster = data.stats.cluster
    out:sample({ node = cluster.node }, cluster[field])
  end
end

local function row(name, kind, help, field, unit)
  return { "sluice_cluster_" .. name, kind, unit or false, help, stat(field), "cluster" }
end

-- By the code that the publisher got.
local function refused(out, data)
  local cluster, left = data.stats.cluster, data.stats.cluster.refused
  for _, one in ipairs({ { "EBUSY", "busy" }, { "EFULL", "full" }, { "ESTORE", "store" } }) do
    local n = cluster["refused_" .. one[2]]
    out:sample({ node = cluster.node, code = one[1] }, n)
    left = left - n
  end
  out:sample({ node = cluster.node, code = "other" }, left)
end

local function states(out, data)
  local cluster = data.stats.cluster
  for _, state in ipairs(STATES) do
    out:sample({ node = cluster.node, state = state }, cluster.state == state and 1 or 0)
  end
end

return {
  { "sluice_cluster_state", G, false, "1 of the state that the node is in", states, "cluster" },
  row("away_seconds", G, "How long the node has not been live; or 0", "away_seconds", "seconds"),
  row("position", G, "The number up to which the node has read", "pos"),
  row("lag_events", G, "Entries that Redis is known to have and the node has not read", "lag"),
  row("read_lag_seconds", G, "From Redis to here: the entry read last", "read_lag_seconds",
    "seconds"),
  row("round_trip_seconds", G, "To Redis and back: the last beat", "round_trip_seconds", "seconds"),
  row("leader", G, "1: timers, services and tasks of the cluster run on this node", "leads"),
  row("unlike", G, "1: some nodes have other channels than this one", "unlike"),
  row("led", G, "1: some node leads, as far as this one knows", "led"),
  row("writable", G, "1: what is published here can be stored", "writable"),
  row("nodes", G, "Nodes that were there lately", "nodes"),
  row("warm_channels", G, "Channels that the node keeps", "warm"),
  row("published_events", C, "Publishes that have a number", "published"),
  { "sluice_cluster_refused_publishes", C, false, "Publishes that were refused, by their code",
    refused, "cluster" },
  row("unknown_publishes", C, "Publishes answered ETIMEOUT", "unknown"),
  row("resent_publishes", C, "Publishes sent again, which had not been stored", "resent"),
  row("cold_events", C, "Events that nobody here follows", "cold"),
  row("loads", C, "Channels loaded", "loads"),
  row("joins", C, "How often the node proved its numbering anew", "joins"),
  row("holes", C, "How often entries were gone before the node had read them", "holes"),
  row("epochs", C, "Numberings that ended", "epochs"),
  row("marks", C, "Channels marked because of events that were lost", "marks"),
  row("bad_entries", C, "Entries that made no sense, and were passed over", "bad_entries"),
  row("bad_notices", C, "Notices of nodes that made no sense, and were passed over", "bad_notices"),
  row("evictions", C, "How often Redis was found to have deleted keys", "evictions"),
  row("reaped_nodes", C, "Nodes that this one found to be dead, while it led", "reaped"),
  row("kind_conflicts", C, "Events of another kind than their channel has here", "conflicts"),
}
