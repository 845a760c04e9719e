--- Rows TLS and TLSIDLE: what HTTPS costs. The baseline is a loop that does nothing but SSL_write, one record of the
--- same size to each socket.
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local tls = {}

--- TLS: one event a turn, and eight joined, to 1,000 subscribers over TLS.
function tls.TLS(bench)
  local streams = bench:pick(1000, 20)
  for _, o in ipairs { { batch = 1, events = bench:pick(50, 10), what = "1 event a turn" },
    { batch = 8, events = bench:pick(400, 80), what = "8 joined" } } do
    local burst = { events = o.events, batch = o.batch, every = 40000 }
    local list = { { name = "raw", kind = "raw_tls" }, { name = "control", kind = "raw_tls" },
      { name = "sluice", kind = "sluice_tls" }, { name = "plain", kind = "sluice" } }
    for _, v in ipairs(list) do v.streams, v.burst = streams, burst end
    local variants <close> = bench:own(rounds.start(bench, list), rounds.stop)
    local samples = rounds.run(bench, variants.value, bench:pick(21, 1))
    local function median(name) return stats.median(rounds.pick(samples, name, "cpu")) end
    bench:add(rounds.judge({ row = "TLS", what = ("CPU a delivery over TLS, %s, N = %d"):format(o.what, streams),
      bar = 1.10, note = ("%.2f us against %.2f us of SSL_write; %.2f us without TLS; %.1f events a record")
        :format(median("sluice"), median("raw"), median("plain"),
          stats.median(rounds.pick(samples, "sluice", "per_send"))) },
      rounds.ratio(samples, "sluice", "raw", "cpu"), rounds.ratio(samples, "control", "raw", "cpu")))
  end
end

--- TLSIDLE: memory of a stream over TLS that has nothing to send.
function tls.TLSIDLE(bench)
  local server <close> = bench:own(target.sluice_tls(bench.dir, 1), function(s) s:stop() end)
  local function open(n)
    return bench:own(subscribers.start(bench, server.value, { path = "/s/to/one", streams = n }),
      function(s) s:stop() end)
  end
  local first <close> = open(bench:pick(500, 20)) -- what is allocated once
  local n = bench:pick(4000, 50)
  local before = server.value.program:private_dirty()
  local more <close> = open(n)
  local each = (server.value.program:private_dirty() - before) / n
  bench:add(rounds.judge({ row = "TLSIDLE", unit = "B", what = ("memory of an idle stream over TLS, N = %d"):format(n),
    bar = 20480, note = ("%d readers before"):format(first.value.streams) },
    { median = each, low = each, high = each, count = more.value.streams }))
end

return tls
