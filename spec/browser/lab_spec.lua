--- sluice.js in Chromium through the six profiles of `sluice lab`: each number once and in order, or a reset says that
--- some are lost.
local browser = require("spec.support.browser")
local lab = require("spec.support.lab")
local process = require("spec.support.process")
local server = require("spec.support.server")

local PROFILES = { "mobile-3g", "train", "office-proxy", "flaky-wifi", "satellite", "restarting-backend" }
local FAULTS = os.getenv("SLUICE_SPEC_FULL") and { "cut", "stall", "away", "cut", "away", "cut" } or { "away", "cut" }
local MORE = 3 -- numbers behind each fault

local APP = [[
local app = require("sluice").app()
local i = 0
app:channel("numbers", { history = %d })
app:stream("/numbers", "numbers")
app:cors("/numbers", { origins = { "*" } })
app:get("/", function() return 200, "<!doctype html><title>Lab</title>", { ["Content-Type"] = "text/html" } end)
app:every(0.1, { name = "count" }, function()
  i = i + 1
  app:publish("numbers", "number", { n = i })
end)
return app
]]

local READ = [[async (urls) => {
  const { connect } = await import("/sluice.js");
  window.logs = urls.map((url) => {
    const log = [];
    connect(url, { eventTypes: ["number"], onMessage: (e) => log.push(e.data.n), onReset: () => log.push(0) });
    return log;
  });
}]]

local function judge(log, name)
  local last, lost, resets = nil, false, 0
  for _, n in ipairs(log) do
    if n == 0 then
      lost, resets = true, resets + 1
    else
      if last and not lost then assert.equal(last + 1, n, name) end
      assert.is_true(not last or n > last, name)
      last, lost = n, false
    end
  end
  return resets
end

describe("a page on a bad network", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function()
    b.stop()
    process.stop_all()
  end)

  for what, history in pairs({ ["with all that was missed"] = 100000, ["with a short history"] = 2 }) do
    it("gets each number once, or a reset, through every profile: " .. what, function()
      local s = server.start { app = APP:format(history) }
      local labs, urls = {}, {}
      for i, name in ipairs(PROFILES) do
        labs[i] = lab.start(s.url .. "/numbers", { "--profile", name, "--seed", tostring(10 + i) })
        urls[i] = labs[i].url
      end
      local page = b.open(s.url .. "/")
      page.eval(READ, urls)
      page.wait("() => window.logs.every((log) => log.length > 0)", 60)
      for _, fault in ipairs(FAULTS) do
        for i in ipairs(labs) do labs[i].post(fault, fault ~= "cut" and { seconds = 1 } or nil) end
        local had = page.eval("window.logs.map((log) => log.length)")
        page.wait(("(had) => window.logs.every((log, i) => log.length > had[i] + %d)"):format(MORE), 60, had)
      end
      local resets = 0
      for i, log in ipairs(page.eval("window.logs")) do
        resets = resets + judge(log, PROFILES[i])
        if history > 1000 then assert.equal(log[#log] - log[1] + 1, #log, PROFILES[i]) end
      end
      assert.equal(history > 1000, resets == 0)
      page.close()
      process.stop_all("lab")
    end)
  end
end)
