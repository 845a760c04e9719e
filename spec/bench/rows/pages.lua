--- Row PAGE: what sluice.js costs a page of Chromium, beside the browser's own EventSource and two clients of
--- others. Without Chromium, or the clients, it is skipped.
local lfs = require("lfs")
local browser = require("spec.support.browser")
local rounds = require("spec.bench.rounds")
local server = require("spec.support.server")
local stats = require("spec.bench.stats")

local pages = {}

local OTHERS = { "fetch-event-source", "eventsource-client" }

local function measure(bench, o)
  local modules = lfs.currentdir() .. "/build/node"
  if not browser.installed() or not lfs.attributes(modules .. "/node_modules/eventsource-client") then
    io.stdout:write("skipped: ", bench.current, " (no Chromium, or no build/node: .ci/setup test spec/browser)\n")
    return
  end
  local s <close> = bench:own(server.start { path = "spec/bench/page_app.lua" },
    function(it) it.stop() end)
  local b <close> = bench:own(browser.start(), browser.finish)
  o.url, o.modules = "http://127.0.0.1:" .. s.value.port, modules
  return b.value.run("spec/bench/page.mjs", o, 600)
end

local function ratio(samples, name, field)
  local values = {}
  for i, sample in ipairs(samples[name]) do values[i] = sample[field] / samples.EventSource[i][field] end
  return stats.summary(values)
end

-- What clients of others are, and what EventSource is in figures.
local function note(samples, field, unit)
  local own = stats.median(stats.map(samples.EventSource, function(s) return s[field] end))
  return ("EventSource %.2f %s; %s %.2f x, %s %.2f x"):format(own, unit, OTHERS[1],
    ratio(samples, OTHERS[1], field).median, OTHERS[2], ratio(samples, OTHERS[2], field).median)
end

--- PAGE: the size (minified, gzip -9), what the page's thread spends an event at 10,000 a second, JSON read,
--- and the time from the call to the first event on an idle server.
function pages.PAGE(bench)
  local events = bench:pick(50000, 2000)
  local got = measure(bench, { rounds = bench.rounds or bench:pick(7, 1), firsts = bench:pick(20, 3), events = events })
  if not got then return end
  local samples, size = got.samples, got.size
  for name, list in pairs(samples) do
    for _, sample in ipairs(list) do assert(sample.seen == events, name .. " has got " .. sample.seen) end
  end
  bench:add(rounds.judge({ row = "PAGE", what = "sluice.js in bytes", unit = "B", bar = 5120,
    note = ("%s %d B, %s %d B"):format(OTHERS[1], size[OTHERS[1]], OTHERS[2], size[OTHERS[2]]) },
    stats.summary { size["sluice.js"] }))
  bench:add(rounds.judge({ row = "PAGE", what = "... CPU an event, 10,000 a second / EventSource", bar = 1.5,
    note = note(samples, "cpu", "us") }, ratio(samples, "sluice.js", "cpu")))
  bench:add(rounds.judge({ row = "PAGE", what = "... time to the first event / EventSource", bar = 2.5,
    note = note(samples, "first", "ms") }, ratio(samples, "sluice.js", "first")))
end

return pages
