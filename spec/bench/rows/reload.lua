--- Row RELOAD: what a reload costs the app's loop with many streams open: the swap, and the
--- longest turn from the load to the last stream's hand-over (processor time of the thread).
local cjson = require("cjson")
local http = require("spec.support.http")
local program = require("spec.bench.program")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")

local reload = {}

local KEY = ("k"):rep(32)
local SECONDS = 20

local function stop(thing) thing:stop() end

local function post(port, path)
  local r = http.request(port, "POST", path, { Authorization = "Bearer " .. KEY }, "", SECONDS)
  if r.status >= 300 then error(("%s: %d %s"):format(path, r.status, r.body), 0) end
  return r.body ~= "" and cjson.decode(r.body) or nil
end

local function start_server(bench, port)
  local server = bench:own(program.start({ name = "sluice", words = { "env", "XDG_RUNTIME_DIR=" .. bench.dir,
    "build/bin/sluice", "run", "spec/bench/reload_app.lua", "--port", port, "--io-threads", bench.io_threads or 1,
    "--admin-key", KEY, "--log-level", "warn", "--no-watch", "--drain", 0 } }, bench.dir), stop)
  assert(program.wait_for(10, function() return (pcall(post, port, "/watch")) end), "the server does not listen")
  return server
end

local function open(bench, port, path, count)
  local load = bench:own(program.start({ name = "load", words = { "build/bench/load", "--port", port, "--path", path,
    "--streams", count, "--parse", 0 } }, bench.dir), stop)
  assert(load.value:ask("ready 120", 130).complete, "the streams did not open")
  return load
end

-- One reload: seconds of the swap, seconds of the longest turn until all writers have gone over.
local function once(port, writers)
  local outcome = post(port, "/-/reload")
  local longest = 0
  assert(program.wait_for(SECONDS, function()
    local told = post(port, "/longest")
    longest = math.max(longest, told.longest)
    return told.gone_over == writers
  end), "the writers did not go over")
  return outcome.swap_seconds, longest
end

function reload.RELOAD(bench)
  local plans, writers = bench:pick(10000, 200), bench:pick(1000, 50)
  local port = program.free_port()
  local server <close> = start_server(bench, port) -- luacheck: ignore
  local readers <close> = open(bench, port, "/plan/{i}", plans) -- luacheck: ignore
  local written <close> = open(bench, port, "/write/{i}", writers) -- luacheck: ignore
  local swaps, turns = {}, {}
  post(port, "/longest")
  for n = 0, bench:pick(21, 3) do
    local swap, longest = once(port, writers)
    if n > 0 then swaps[#swaps + 1], turns[#turns + 1] = swap * 1000, longest * 1000 end
  end
  local with = ("%d plans, %d writers"):format(plans, writers)
  bench:add(rounds.judge({ row = "RELOAD", unit = "ms", what = "the swap, " .. with, bar = 2,
    note = ("longest %.2f ms"):format(stats.quantile(swaps, 1)) }, stats.summary(swaps)))
  bench:add(rounds.judge({ row = "RELOAD", unit = "ms", what = "the longest turn, " .. with, bar = 5,
    note = ("longest %.2f ms"):format(stats.quantile(turns, 1)) }, stats.summary(turns)))
end

return reload
