--- Rows T17 and T18: what compression saves and costs, with events of three kinds of apps (corpus/)
--- and batch = 0.05: bytes on the wire, CPU of all threads a delivery, memory a reader, each against
--- plain streams of the same channel settings.
local socket = require("socket")
local program = require("spec.bench.program")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local target = require("spec.bench.target")

local compression = {}

local RATES = { market = 400, telemetry = 400, chat = 40 }
local FORMS = { "corpus", "gzip", "zstd" }

local function stop(thing) thing:stop() end

local function sink(bench, server, form, name, streams, at_once)
  local words = { "build/bench/sink", "--port", server.port, "--path", ("/s/%s/%s"):format(form, name),
    "--streams", streams, "--at-once", at_once or streams }
  if form ~= "corpus" then table.move({ "--accept", form }, 1, 2, #words + 1, words) end
  local self = program.start({ name = "sink", words = words, cpu = 1 }, bench.dir)
  local all = program.wait_for(60, function() return self:ask("report", 10).begun == streams or nil end)
  assert(all, form .. ": not all streams have begun")
  return self
end

-- Bytes until no more come.
local function drain(crowd)
  local bytes, more = 0, 1
  while more > 0 do
    socket.sleep(0.1)
    more = crowd:ask("report", 10).bytes
    bytes = bytes + more
  end
  return bytes
end

-- One server and one crowd for each form; measure(variant) in rounds, in random order.
local function measure(bench, name, streams, events, count)
  local variants, samples = {}, {}
  for _, form in ipairs(FORMS) do
    local v = { form = form, target = target.sluice(bench.dir, bench.io_threads) }
    v.sink = sink(bench, v.target, form, name, streams)
    variants[#variants + 1], samples[form] = v, {}
  end
  for n = 0, count do
    for _, v in ipairs(stats.shuffled(variants)) do
      drain(v.sink)
      local before = v.target:cpu()
      v.target:request("POST", ("/corpus?name=%s&rate=%d&events=%d"):format(name, RATES[name], events), 60)
      local bytes = drain(v.sink)
      local cpu = v.target:cpu() - before
      if n > 0 then
        table.insert(samples[v.form], { cpu = cpu / 1e3 / events / streams, bytes = bytes / events / streams })
      end
    end
  end
  for _, v in ipairs(variants) do
    v.sink:stop()
    v.target:stop()
  end
  return samples
end

local function ratio(samples, form, field)
  local values = {}
  for i, sample in ipairs(samples[form]) do values[i] = sample[field] / samples.corpus[i][field] end
  return stats.summary(values)
end

--- T17: bytes on the wire, and CPU a delivery, to 1,000 readers.
function compression.T17(bench)
  local streams = bench:pick(1000, 50)
  for _, name in ipairs { "market", "telemetry", "chat" } do
    local events = RATES[name] * bench:pick(3, 1)
    local samples = measure(bench, name, streams, events, bench.rounds or bench:pick(5, 1))
    for _, form in ipairs { "gzip", "zstd" } do
      local bytes = ratio(samples, form, "bytes")
      local plain = stats.median(stats.map(samples.corpus, function(s) return s.bytes end))
      local row = { row = "T17", what = ("%s with %s: bytes on the wire / plain"):format(name, form),
        note = ("plain: %.0f B an event"):format(plain), bar = name == "chat" and 1 or 0.25 }
      bench:add(rounds.judge(row, bytes))
      local cpu = ratio(samples, form, "cpu")
      local us = stats.median(stats.map(samples.corpus, function(s) return s.cpu end))
      row = { row = "T17", what = ("... CPU a delivery, %d readers / plain"):format(streams), bar = 1.05,
        note = ("plain: %.2f us"):format(us) }
      bench:add(rounds.judge(row, cpu))
    end
  end
end

-- Private memory that so many readers of a form cost, each, when they have been sent something. Few ask at
-- a time: what a crowd needs while it waits leaves gaps in the heap, of a size by chance. The first are sent
-- full blocks, for which a compressor gets its memory, once a thread.
local function bytes_a_reader(bench, form, streams)
  local server <close> = bench:own(target.sluice(bench.dir, bench.io_threads), stop)
  local function dirty(n)
    local crowd = sink(bench, server.value, form, "market", n, 16)
    server.value:request("POST", "/corpus?name=market&rate=100000&events=400", 60)
    socket.sleep(bench:pick(5, 0.2)) -- what was taken in passing is given back
    return server.value.program:private_dirty(), crowd
  end
  local few, first = dirty(bench:pick(200, 20))
  local many, second = dirty(streams)
  first:stop()
  second:stop()
  return (many - few) / streams
end

--- T18: memory of a compressed reader above that of a plain one. A server's heap is not the same twice:
--- several of each.
function compression.T18(bench)
  local streams, samples = bench:pick(4000, 100), {}
  for _, form in ipairs(FORMS) do samples[form] = {} end
  for _ = 1, bench.rounds or bench:pick(5, 1) do
    for _, form in ipairs(stats.shuffled(FORMS)) do
      table.insert(samples[form], bytes_a_reader(bench, form, streams))
    end
  end
  local plain = stats.median(samples.corpus)
  for _, form in ipairs { "gzip", "zstd" } do
    local more = stats.summary(stats.map(samples[form], function(bytes) return bytes - plain end))
    bench:add(rounds.judge({ row = "T18", unit = "B", bar = 64, note = ("plain %.0f B"):format(plain),
      what = ("bytes a reader with %s, above plain"):format(form) }, more))
  end
end

return compression
