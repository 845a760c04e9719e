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
  row("leader", G, "1: timers, services and tasks of the cluster run on this node", "leads"),
  row("nodes", G, "Nodes that were there lately", "nodes"),
  row("warm_channels", G, "Channels that the node keeps", "warm"),
  row("published_events", C, "Publishes that have a number", "published"),
  row("refused_publishes", C, "Publishes that were surely not stored", "refused"),
  row("unknown_publishes", C, "Publishes answered ETIMEOUT", "unknown"),
  row("resent_publishes", C, "Publishes sent again, which had not been stored", "resent"),
  row("cold_events", C, "Events that nobody here follows", "cold"),
  row("loads", C, "Channels loaded", "loads"),
  row("joins", C, "How often the node proved its numbering anew", "joins"),
  row("holes", C, "How often entries were gone before the node had read them", "holes"),
  row("epochs", C, "Numberings that ended", "epochs"),
  row("marks", C, "Channels marked because of events that were lost", "marks"),
  row("bad_entries", C, "Entries that made no sense, and were passed over", "bad_entries"),
  row("kind_conflicts", C, "Events of another kind than their channel has here", "conflicts"),
}
