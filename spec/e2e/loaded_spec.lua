--- All of Sluice's Lua is loaded when a server starts: a module that is first needed later would
--- come from files that were installed meanwhile, of another version.
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local server = require("spec.support.server")
local tree = require("spec.support.tree")

--- What no server needs: tests and the command line, and what is never loaded.
local APART = { "^sluice%.testing", "^sluice%.command%.", "^sluice%.test$", "^sluice%.main$", "^sluice%.meta" }

local APP = [[
local first = {}
for name in pairs(package.loaded) do first[name] = true end
local function later()
  local list = {}
  for name in pairs(package.loaded) do
    if name:find("^sluice") and not first[name] then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end
app:channel("prices/*", { history = "latest", key = "k", max_rate = 5, read = function() return true end })
app:channel("log", { history = 10 })
app:stream("/log", "log")
app:stream("/prices", function() return { channels = { { "prices/a", keys = { "x" } } }, meta = { a = 1 } } end)
app:stream("/written", function(_, client)
  client:subscribe("log")
  client:send("hi", { n = 1 })
  client:set { max_rate = 2 }
  sluice.sleep(30)
end)
app:guard("/guarded/**", function() return true end)
app:cors("/**", { origins = { "https://a.example" } })
app:static("/files", ".")
app:event_type("e", { fields = { n = "integer?" } })
app:state("s", { n = 0 })
app:task("later", function() end)
app:every(0.05, function() app:publish("log", "tick", { n = 1 }) end)
app:service("feed", function() sluice.sleep(60) end)
for _, kind in ipairs { "connect", "disconnect", "error", "reload", "start" } do app:on(kind, function() end) end
app:on("subscribe", "log", function() end)
app:on("published", "log", function() end)
app:on("stop", function() sluice.log.info("AT THE END", { later = table.concat(later(), " ") }) end)
app:get("/guarded/x", function(req) return 200, { q = req.query.a, c = req.cookies.b } end)
app:get("/breaks", function() error { code = 7 } end)
app:get("/aborts", function(req) req:abort(409, "no") end)
app:get("/acts", function(req)
  app:after(0.01, "later")
  app:spawn(function() sluice.checkpoint() end)
  assert(app:history("log"))
  app:replan("/prices")
  return 200, { stats = app:stats().clients, slowest = #app:slowest() }
end)
app:get("/asks", function(req)
  local client = require("sluice.client")
  local stream = client.connect("http://" .. req.headers.host .. "/log")
  local event = stream:events()()
  stream:close()
  local answer = require("sluice.http").get("http://" .. req.headers.host .. "/guarded/x")
  require("sluice.system")
  return 200, { status = answer.status, event = event.event }
end)
app:get("/later", function()
  local all = {}
  for name in pairs(package.loaded) do all[#all + 1] = name end
  return 200, { later = later(), all = all }
end)
]]

describe("the modules of Sluice", function()
  after_each(server.stop_all)

  it("are loaded before an app is, and none comes later in its life", function()
    local s = live.start(APP, { args = { "--drain", "0.2" } })
    live.connect(s, "/log")
    live.connect(s, "/prices")
    live.connect(s, "/written")
    for path, status in pairs { ["/guarded/x?a=1"] = 200, ["/breaks"] = 500, ["/aborts"] = 409, ["/acts"] = 200,
      ["/files/app.lua"] = 200, ["/none"] = 404 } do
      assert.equal(status, http.get(s.port, path).status, path)
    end
    local asked = http.get(s.port, "/asks")
    assert.same({ 200, { status = 200, event = "tick" } }, { asked.status, json.decode(asked.body) })
    local loaded = json.decode(http.get(s.port, "/later").body)
    assert.same({}, loaded.later)
    local known = {}
    for _, name in ipairs(loaded.all) do known[name] = true end
    local missing = {}
    for _, path in ipairs(tree.files("^lua/sluice/.*%.lua$")) do
      local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
      local apart = false
      for _, pattern in ipairs(APART) do apart = apart or name:find(pattern) ~= nil end
      if not apart and not known[name] then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
    local text = process.read_file(s.folder .. "/app.lua")
    process.write_file(s.folder .. "/app.lua", (text:gsub("return app%s*$", "oh no")))
    s.signal("HUP")
    s.wait_log("reload failed in load")
    process.write_file(s.folder .. "/app.lua", (text:gsub('app:get%("/aborts".-end%)\n', "")))
    s.signal("HUP")
    s.wait_log("reload #2")
    assert.equal(404, http.get(s.port, "/aborts").status)
    assert.same({}, json.decode(http.get(s.port, "/later").body).later)
    s.stop()
    assert.matches('AT THE END[^\n]*later":""', s.log())
  end)
end)
