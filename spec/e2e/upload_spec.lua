--- Uploads into a server that runs, reloads, drains and gets stuck: flat memory, whole or told.
--- SLUICE_SPEC_FULL=1 sends 100 MB.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local proxies = require("spec.support.proxies")
local server = require("spec.support.server")

local MIB = 1 << 20
local SIZE = os.getenv("SLUICE_SPEC_FULL") and 100 * MIB or 24 * MIB
local GROWTH_MAX = os.getenv("SLUICE_PRELOAD") and 1 << 40 or 4 * MIB -- a sanitizer keeps what was freed

local APP = [[
local sluice = require("sluice")
local core = require("sluice.core")
local app = sluice.app()
app:put("/file", { body = "stream", max = 1 << 40 }, function(req)
  local path = req.query.path
  local file <close> = assert(io.open(path .. ".part", "wb"))
  local n, most = 0, 0
  for piece in req:chunks() do
    assert(file:write(piece))
    n, most = n + #piece, math.max(most, #piece)
  end
  file:close()
  os.rename(path .. ".part", path)
  return { n = n, most = most, version = VERSION }
end)
app:put("/stuck", { body = "stream", max = 1 << 40 }, function(req)
  for piece in req:chunks() do if piece:find("!", 1, true) then while true do end end end
end)
app:get("/alive", function() return core.alive() end)
app:get("/version", function() return { version = VERSION } end)
return app
]]

local function app_of(version) return (APP:gsub("VERSION", version)) end

describe("an upload", function()
  local s, path

  before_each(function()
    s = server.start { app = app_of(1), args = { "--drain", "4" } }
    path = s.folder .. "/upload"
  end)
  after_each(server.stop_all)

  local function begin(target, size, port)
    local c = assert(http.connect(port or s.port))
    c:send(("PUT %s?path=%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"):format(target, path, size))
    return c
  end

  local function part(n) return (("%015d\n"):format(n)):rep(MIB // 16) end

  local function read(name)
    local text = process.read_file(name)
    return text or ""
  end

  it("of many megabytes takes no memory", function()
    local warm = begin("/file", MIB)
    warm:send(part(0))
    assert.equal(200, warm:response(20).status)
    local before, most = s.rss(), 0
    local c, chunked = begin("/file", SIZE), assert(http.connect(s.port))
    chunked:send("PUT /file?path=" .. path .. "2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    for i = 1, SIZE // MIB do
      assert(c:send(part(i)))
      assert(chunked:send(("%x\r\n%s\r\n"):format(MIB, part(i))))
      most = math.max(most, s.rss())
    end
    chunked:send("0\r\n\r\n")
    for _, answer in ipairs { assert(c:response(20)), assert(chunked:response(20)) } do
      assert.same({ 200, SIZE }, { answer.status, json.decode(answer.body).n })
    end
    assert.is_true(most - before < GROWTH_MAX, (most - before) // 1024 .. " KiB more")
    local text = read(path)
    assert.equal(SIZE, #text)
    for i = 1, SIZE // MIB do assert.is_true(text:sub((i - 1) * MIB + 1, i * MIB) == part(i), "part " .. i) end
    assert.is_true(text == read(path .. "2"))
    assert.equal(0, s.stop())
  end)

  it("in the middle of a reload is finished by the code that began it", function()
    local c = begin("/file", 2 * MIB)
    c:send(part(1))
    deadline.eventually(function() return #read(path .. ".part") > 0 end, 10, "it is being written")
    process.write_file(s.folder .. "/app.lua", app_of(2))
    s.signal("HUP")
    deadline.eventually(function()
      return json.decode(http.get(s.port, "/version").body).version == 2
    end, 10, "the new code serves")
    c:send(part(2))
    local answer = assert(c:response(20))
    assert.same({ 200, 2 * MIB, 1 }, { answer.status, json.decode(answer.body).n, json.decode(answer.body).version })
    c:close()
  end)

  it("that outlasts a reload for long gets an answer, and leaves no whole file", function()
    local c = begin("/file", 2 * MIB)
    c:send(part(1))
    deadline.eventually(function() return #read(path .. ".part") > 0 end, 10, "it is being written")
    process.write_file(s.folder .. "/app.lua", app_of(2))
    s.signal("HUP")
    local answer = assert(c:response(30))
    assert.same({ 503, "close" }, { answer.status, answer.headers.connection })
    assert.truthy(answer.body:find("a reload ended the handler", 1, true), answer.body)
    assert.equal("", read(path))
    c:close()
  end)

  it("that ends in a drain is taken; one that does not is cut off", function()
    local c, never = begin("/file", 2 * MIB), begin("/file", 3 * MIB)
    c:send(part(1))
    deadline.eventually(function() return #read(path .. ".part") > 0 end, 10, "it is being written")
    s.signal("TERM")
    s.wait_log("stopping")
    c:send(part(2))
    local answer = assert(c:response(20))
    assert.same({ 200, 2 * MIB }, { answer.status, json.decode(answer.body).n })
    assert.equal("closed", select(2, c:drain()))
    local text, why = never:drain(30)
    assert.equal("closed", why)
    assert.falsy(text:find("200 OK", 1, true))
    -- a second signal would end it at once
    assert.equal(0, deadline.eventually(function() return s.code() end, 10, "it has ended"))
  end)

  it("whose handler gets stuck is ended, and others go on", function()
    local c, other = begin("/stuck", 2 * MIB), begin("/file", 2 * MIB)
    other:send(part(1))
    c:send("!" .. part(1))
    local answer = assert(c:response(20))
    assert.same({ 500, "close" }, { answer.status, answer.headers.connection })
    other:send(part(2))
    assert.equal(200, assert(other:response(20)).status)
    c:close()
    other:close()
  end)

  local behind_nginx = proxies.installed("nginx") and it or pending
  behind_nginx("comes through nginx while it is sent, with proxy_request_buffering off", function()
    local front = proxies.start("nginx", s.port, { edit = {
      ["location / {"] = "location / { client_max_body_size 0; proxy_request_buffering off;" } })
    local c = begin("/file", 2 * MIB, front.port)
    c:send(part(1))
    deadline.eventually(function() return #read(path .. ".part") > 0 end, 10, "it is being written")
    c:send(part(2))
    local answer = assert(c:response(20))
    assert.same({ 200, 2 * MIB }, { answer.status, json.decode(answer.body).n })
    c = begin("/file", 2 * MIB, front.port)
    c:send(part(1))
    deadline.eventually(function() return #read(path .. ".part") > 0 end, 10, "it is being written again")
    c:close()
    front.stop()
  end)

  it("leaves nothing in memory, however it ends", function()
    local function alive() return json.decode(http.get(s.port, "/alive").body) end
    local before, fds = alive(), s.fds()
    for i = 1, 40 do
      local c = begin("/file", 2 * MIB)
      if i % 4 > 0 then c:send(part(1):sub(1, i * 3000)) end
      if i % 3 == 0 then c:reset() elseif i % 3 == 1 then c:finish() else c:close() end
    end
    deadline.eventually(function()
      collectgarbage()
      return s.fds() <= fds and alive().memory <= before.memory + 20000
    end, 20, "all is freed")
    assert.equal(0, s.stop())
  end)
end)
