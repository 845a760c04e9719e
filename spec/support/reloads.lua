--- An app that is reloaded while it is used, for spec/e2e/reload_spec.lua: how its files are
--- written, the ways in which they can be broken, and how a reload is asked for.
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local socket = require("socket")

local reloads = {}

reloads.KEY = ("k"):rep(32)

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local rules = require("rules")
local count = app:state("count", { n = 0 })

app:channel("c/:n", { history = 200 })
app:stream("/constant/:n", "c/:n")
app:stream("/plan/:n", function(req) return "c/" .. req.params.n end)
app:stream("/writer/:n", function(req, client)
  client.meta.n = client.meta.n or 0
  local _ <close> = setmetatable({}, { __close = function() count().closed = (count().closed or 0) + 1 end })
  while true do
    if not client:send("e", { n = client.meta.n + 1 }) then return end
    client.meta.n = client.meta.n + 1
    sluice.sleep(0.1)
  end
end)

app:post("/publish/:c/:n", function(req)
  count().n = count().n + 1
  return sluice.receipt(app:publish("c/" .. req.params.c, "e", { n = tonumber(req.params.n), v = rules.v }))
end)
app:get("/slow/:ms", function(req)
  local before = rules.v
  sluice.sleep(tonumber(req.params.ms) / 1000)
  return { before = before, after = rules.v, ms = tonumber(req.params.ms) }
end)
app:get("/version", function() return { v = rules.v, generation = app:stats().generation } end)
app:get("/stats", function()
  collectgarbage()
  collectgarbage()
  return { heap = math.floor(collectgarbage("count") * 1024), stats = app:stats(), count = count() }
end)
app:every(1, { name = "tick" }, function()
  app:publish("ticks", "tick", { at = sluice.now() })
end)
app:channel("ticks", { history = 1000, rewind = "all" })
app:stream("/ticks", "ticks")
]]

-- What makes a load fail, and the phase and words that tell it.
reloads.BROKEN = {
  { "load", "unexpected symbol", "local x = = 1" },
  { "load", "on purpose", 'error("on purpose")' },
  { "load", "computed for", "while true do end" },
  { "load", "computed for", "while true do pcall(function() while true do end end) end" },
  { "load", "has an effect", 'app:publish("c/1", "e", {})' },
  { "load", "require cycle", 'require("cycle_a")' },
  { "migrate", "no migrate function", 'app:state("count", {}, { version = 2 })', 'app:state("count", { n = 0 })' },
  { "load", "is registered already", 'app:get("/version", function() end)' },
}

reloads.FILES = { ["cycle_a.lua"] = 'return require("cycle_b")', ["cycle_b.lua"] = 'return require("cycle_a")' }

--- The app's files in a version, or broken.
function reloads.files(version, broken)
  local text = APP
  if broken and broken[4] then
    -- the line is another one, not one more
    local at, stop = text:find(broken[4], 1, true)
    text = text:sub(1, at - 1) .. broken[3] .. text:sub(stop + 1)
  elseif broken then
    text = text .. broken[3] .. "\n"
  end
  return { ["app.lua"] = text .. "\nreturn app\n", ["rules.lua"] = ("return { v = %d }\n"):format(version) }
end

--- Write the app's files into a folder, each by a new file under the old name.
function reloads.write(folder, files)
  for name, text in pairs(files) do
    process.write_file(folder .. "/" .. name .. ".new", text)
    assert(os.rename(folder .. "/" .. name .. ".new", folder .. "/" .. name))
  end
end

--- Write texts into a file one after the other, so many seconds apart: an editor at work.
function reloads.save(path, seconds, texts)
  for _, text in ipairs(texts) do
    process.write_file(path, text)
    socket.sleep(seconds)
  end
end

--- Do nothing while nothing is there to be read.
function reloads.idle() socket.sleep(0.005) end

local HEADERS = { Authorization = "Bearer " .. reloads.KEY }

--- Send POST /-/reload on a connection of its own; read with reloads.outcome(connection).
function reloads.ask(port, query)
  local c = assert(http.connect(port))
  c:send(http.request_text("POST", "/-/reload" .. (query or ""), HEADERS, "", "127.0.0.1:" .. port))
  return c
end

--- The outcome of a reload: table, status.
function reloads.outcome(c, seconds)
  local response = assert(c:response(seconds or 15))
  c:close()
  return assert(json.decode(response.body), response.body), response.status
end

--- Ask and wait.
function reloads.now(port, query)
  return reloads.outcome(reloads.ask(port, query))
end

--- What GET /-/reload says.
function reloads.status(port)
  local response = http.get(port, "/-/reload", HEADERS)
  assert(response.status == 200, response.body)
  return json.decode(response.body)
end

return reloads
