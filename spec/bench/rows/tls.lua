--- Rows TLS and H2, TLSIDLE and H2IDLE, SHAKE: what HTTPS and HTTP/2 cost. The baseline is a loop that does nothing
--- but SSL_write, one record of the same size to each socket; of handshakes it is nginx.
local h2 = require("spec.support.h2")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local tls = {}

-- One event a turn, and eight joined, to 1,000 subscribers; kind: of the server.
local function deliveries(bench, row, kind, words, bar)
  local streams = bench:pick(1000, 20)
  for _, o in ipairs { { batch = 1, events = bench:pick(50, 10), what = "1 event a turn" },
    { batch = 8, events = bench:pick(400, 80), what = "8 joined" } } do
    local burst = { events = o.events, batch = o.batch, every = 40000 }
    local list = { { name = "raw", kind = "raw_tls" }, { name = "control", kind = "raw_tls" },
      { name = "sluice", kind = kind }, { name = "plain", kind = "sluice" } }
    for _, v in ipairs(list) do v.streams, v.burst = streams, burst end
    local variants <close> = bench:own(rounds.start(bench, list), rounds.stop)
    local samples = rounds.run(bench, variants.value, bench:pick(21, 1))
    local function median(name) return stats.median(rounds.pick(samples, name, "cpu")) end
    bench:add(rounds.judge({ row = row, what = ("CPU a delivery over %s, %s, N = %d"):format(words, o.what, streams),
      bar = bar, note = ("%.2f us against %.2f us of SSL_write; %.2f us without TLS; %.1f events a record")
        :format(median("sluice"), median("raw"), median("plain"),
          stats.median(rounds.pick(samples, "sluice", "per_send"))) },
      rounds.ratio(samples, "sluice", "raw", "cpu"), rounds.ratio(samples, "control", "raw", "cpu")))
  end
end

--- TLS: HTTP/1.1 over TLS.
function tls.TLS(bench) deliveries(bench, "TLS", "sluice_tls", "TLS", 1.10) end

--- H2: HTTP/2 over TLS, a connection each.
function tls.H2(bench) deliveries(bench, "H2", "sluice_h2", "HTTP/2 and TLS", 1.15) end

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

-- So many connections with so many streams each, until the last has its hello; they stay open.
local function open_many(port, connections, each)
  local list = {}
  for i = 1, connections do
    local c = assert(h2.connect(port))
    for j = 1, each do c.last = c:open("GET", ("/s/to/%d"):format(i * each + j)) end
    assert(c.last:wait(function(s) return s.body:find("event: hello", 1, true) end, 10))
    list[i] = c
  end
  return list
end

--- H2IDLE: memory of one more idle stream on a connection that is there.
function tls.H2IDLE(bench)
  local server <close> = bench:own(target.sluice(bench.dir, 1, false, nil, false, nil, { "--h2c", "yes" }),
    function(s) s:stop() end)
  local port, connections, each = server.value.port, bench:pick(40, 4), 100
  local function private(n)
    local before = server.value.program:private_dirty()
    local list = open_many(port, connections, n)
    return server.value.program:private_dirty() - before, list
  end
  local _, first = private(each) -- what is allocated once
  local few, second = private(1)
  local many, third = private(each)
  local more = (many - few) / (connections * (each - 1))
  for _, list in ipairs { first, second, third } do for _, c in ipairs(list) do c:close() end end
  bench:add(rounds.judge({ row = "H2IDLE", unit = "B", bar = 1536,
    what = ("memory of one more idle stream on an HTTP/2 connection, %d of %d"):format(connections, each),
    note = ("a connection with one: %.0f B"):format(few / connections) },
    { median = more, low = more, high = more, count = connections * each }))
end

-- Handshakes in so many seconds: CPU in us each of the server.
local function shake(v, seconds)
  local before = v.target:cpu()
  local pipe = assert(io.popen(("openssl s_time -connect 127.0.0.1:%d %s -time %d 2>&1"):format(v.target.tls_port,
    v.how, seconds)))
  local text = pipe:read("a")
  pipe:close()
  local count = tonumber(text:match("(%d+) connections in %d+ real seconds"))
  return { cpu = (v.target:cpu() - before) / 1e3 / assert(count, text) }
end

--- SHAKE: CPU of a handshake, full and resumed, against nginx on the same certificate.
function tls.SHAKE(bench)
  if not target.has_nginx() then return bench:progress("no nginx") end
  for _, how in ipairs { { "-new", "full" }, { "-reuse -tls1_2", "resumed" } } do -- of 1.3 it resumes none
    local list = {}
    for _, v in ipairs { { "raw", "nginx_tls" }, { "control", "nginx_tls" }, { "sluice", "sluice_tls" } } do
      list[#list + 1] = { name = v[1], how = how[1], target = target[v[2]](bench.dir, 1) }
    end
    local variants <close> = bench:own(list, rounds.stop)
    local samples = rounds.run(bench, variants.value, bench:pick(9, 1),
      function(v) return shake(v, bench:pick(2, 1)) end)
    bench:add(rounds.judge({ row = "SHAKE", bar = 1.1, what = ("CPU a handshake, %s, against nginx"):format(how[2]),
      note = ("%.0f us against %.0f us"):format(stats.median(rounds.pick(samples, "sluice", "cpu")),
        stats.median(rounds.pick(samples, "raw", "cpu"))) },
      rounds.ratio(samples, "sluice", "raw", "cpu"), rounds.ratio(samples, "control", "raw", "cpu")))
  end
end

return tls
