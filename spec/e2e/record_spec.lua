--- `sluice record` and `sluice replay` as processes: what comes is written down and comes again, in
--- order, whatever it is; what goes wrong is told.
local deadline = require("spec.support.deadline")
local eventstream = require("sluice.eventstream")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")
local sse = require("spec.support.sse")
local tree = require("spec.support.tree")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"

-- Everything that a stream may hold: what a reader sees of it.
local HUGE = ("x"):rep(900000)
local ODD = {
  { event = "a", data = "one", id = "1" },
  { event = "message", data = "two\nlines\n", id = "1" }, -- without an id line of its own
  { event = "a", data = "", id = "1" },
  { event = "b", data = "\0\1\t\226\128\168\255x\27", id = ' odd "id" \\ \195\188:,' },
  { event = "big", data = HUGE, id = ' odd "id" \\ \195\188:,' },
  { event = "none", data = '{"a":1.0,  "b":"\\u00e9"}', id = "" }, -- takes the id away
  { event = "last", data = ": no comment", id = "z" },
}

local function to_stream(list)
  local out, id = {}, ""
  for i, e in ipairs(list) do
    local name = e.event ~= "message" and "event: " .. e.event .. "\n" or ""
    out[i] = name .. "data: " .. e.data:gsub("\n", "\ndata: ") .. "\n" .. (e.id ~= id and "id: " .. e.id .. "\n" or "")
      .. "\n"
    id = e.id
  end
  return table.concat(out)
end

-- What is no UTF-8 is for a browser, and in a file, this.
local SEEN = {}
for i, e in ipairs(ODD) do
  SEEN[i] = { event = e.event, id = e.id, data = e.data:gsub("\255", "\239\191\189") }
end

local function parse(text)
  local list = eventstream.new():feed(text)
  for i, e in ipairs(list) do list[i] = { event = e.event, data = e.data, id = e.id } end
  return list
end

local function spawn(words) return process.spawn(words, {}) end

local folder, path
local function lines()
  local list = {}
  local whole = (process.read_file(path) or ""):match("^.*\n") or "" -- without one that is being written
  for line in whole:gmatch("([^\n]*)\n") do list[#list + 1] = assert(json.decode(line)) end
  return list
end

-- A recorder, which has asked: its process, and the connection.
local function record(s, ...)
  local p = spawn({ SLUICE, "record", s.url .. "/feed", path, ... })
  return p, s:accept()
end

local function until_lines(n)
  deadline.eventually(function()
    return select(2, (process.read_file(path) or ""):gsub("\n", "")) >= n
  end, 10, n .. " lines")
end

local function replay(...)
  return process.run({ SLUICE, "replay", path, ... })
end

local function serve(...)
  local p = spawn({ SLUICE, "replay", path, "--serve", "--port", "0", ... })
  local port
  deadline.eventually(function()
    port = p:log():match("http://127.0.0.1:(%d+)/")
    return port
  end, 10)
  return p, math.tointeger(tonumber(port))
end

local function write_lines(...) process.write_file(path, table.concat({ ... }, "\n") .. "\n") end

before_each(function()
  folder = process.temp_dir()
  path = folder .. "/feed.jsonl"
end)
after_each(function()
  process.stop_all()
  source.close_all()
  process.remove_dir(folder)
end)

describe("sluice record", function()
  it("writes what comes, and what replay makes of it is the same", function()
    local s = source.listen()
    local p, c = record(s)
    c:stream(to_stream(ODD))
    until_lines(#ODD)
    p:signal("INT")
    assert.equal(0, p:wait(10))
    assert.matches(("%d events"):format(#ODD), p:log())
    local code, text = process.run({ SLUICE, "replay", path, "--speed", "1000" })
    assert.equal(0, code)
    assert.same(SEEN, parse(text))
  end)

  it("goes on after a cut, from the last id, and notes what was lost", function()
    local s = source.listen()
    local p, c = record(s, "--header", "X-API-Key: k")
    assert.equal("k", c.headers["x-api-key"])
    c:stream('retry: 100\nevent: hello\nid: e-1\ndata: {"client":"c","epoch":"e"}\n\nid: e-2\ndata: a\n\ndata: cut o')
    until_lines(1)
    c:reset()
    c = s:accept(10)
    assert.same({ "e-2", "k" }, { c.headers["last-event-id"], c.headers["x-api-key"] })
    c:stream('event: hello\nid: e-2\ndata: {"client":"c","epoch":"e"}\n\nevent: reset\ndata: {"reason":"trimmed"}\n\n'
      .. 'id: e-9\ndata: b\n\nevent: bye\nid: stop\ndata: {"reason":"stop"}\n\n')
    c:close()
    assert.equal(0, p:wait(10))
    local list = lines()
    assert.same({ 3, "a", "e-2", "reset", "b", "e-9" },
      { #list, list[1].data, list[1].id, list[2].note, list[3].data, list[3].id })
    assert.is_nil(list[2].event)
    assert.matches("1 resets", p:log())
  end)

  it("takes a source's own event named reset for an event", function()
    local s = source.listen()
    local p, c = record(s)
    c:stream("event: reset\ndata: x\n\n")
    until_lines(1)
    assert.equal("reset", lines()[1].event)
    p:signal("INT")
    assert.equal(0, p:wait(10))
  end)

  it("leaves whole lines, whenever it is interrupted", function()
    local s = source.listen()
    for n = 1, 3 do
      os.remove(path)
      local p, c = record(s)
      c:stream(("data: " .. ("y"):rep(70000) .. "\n\n"):rep(40 * n))
      until_lines(n)
      p:signal("INT")
      assert.equal(0, p:wait(10))
      assert.equal("\n", process.read_file(path):sub(-1))
      assert.is_true(#lines() >= n)
      c:close()
    end
  end)

  it("overwrites nothing unless it is told to, and makes no file for nothing", function()
    write_lines("mine")
    local code, text = process.run({ SLUICE, "record", "http://127.0.0.1:1/", path })
    assert.equal(1, code)
    assert.matches("is there already: %-%-force overwrites it", text)
    assert.equal(1, (process.run({ SLUICE, "record", "--force", "http://127.0.0.1:1/", path })))
    assert.equal("mine\n", process.read_file(path))
    local s = source.listen()
    local p, c = record(s, "--force")
    c:finish(204)
    assert.equal(0, p:wait(10))
    assert.equal("", process.read_file(path))
    p = spawn({ SLUICE, "record", s.url, folder .. "/new" })
    s:accept():finish(404)
    s:accept():finish(404, '{"error":{"message":"there is none"}}') -- asked once more for its words
    assert.equal(1, p:wait(10))
    assert.matches("answered 404: there is none\n$", p:log())
    assert.is_nil(lfs.attributes(folder .. "/new"))
  end)

  it("says when the disk is full", function()
    local s = source.listen()
    path = "/dev/full"
    local p, c = record(s, "--force")
    c:stream("data: x\n\n")
    assert.equal(1, p:wait(10))
    assert.matches("sluice: No space left on device", p:log())
    path = folder .. "/x"
  end)

  it("records a Sluice, which replay then publishes to another", function()
    local first = server.start { app = [[
      local app = require("sluice").app()
      app:channel("c", { history = 100, rewind = "all" })
      app:stream("/s", "c")
      app:get("/go", function()
        for n = 1, 20 do app:publish("c", "e" .. n % 3, { n = n }) end
        app:publish("c", "text", "a\nb") app:publish("c", "text", "")
      end)
      return app]] }
    local p = spawn({ SLUICE, "record", first.url .. "/s", path })
    process.run({ "curl", "-s", first.url .. "/go" })
    until_lines(22)
    p:signal("INT")
    assert.equal(0, p:wait(10))
    local second = server.start { app = [[
      local sluice = require("sluice")
      local app = sluice.app()
      local function key(req) return req.headers["X-API-Key"] == "k" or 401 end
      require("sluice.hub").new(app, { rewind = "all" }):routes("/api", { publish = key, admin = key })
      return app]] }
    local to = second.url .. "/api/broadcast"
    local code, text = replay("--speed", "10", "--to", to)
    assert.equal(1, code)
    assert.matches("feed.jsonl:1: .* answered 401", text)
    code, text = replay("--speed", "10", "--to", to, "--header", "X-API-Key: k")
    assert.equal(0, code, text)
    assert.matches("22 events sent", text)
    local c = sse.connect(second.port, "/api/connect")
    assert(c:wait_for("hello"))
    for _, wanted in ipairs(lines()) do
      local event = assert(c:next_event())
      assert.same({ wanted.event, wanted.data }, { event.event, event.data })
    end
    c:close()
  end)
end)

describe("sluice replay", function()
  it("keeps the spacing, divided by the speed", function()
    write_lines('{"t":100,"data":"a"}', '{"t":101,"note":"reset"}', '{"t":110,"data":"b"}', '{"t":115,"data":"c"}')
    local _, port = serve("--speed", "10")
    local c = sse.connect(port, "/")
    local began = deadline.now()
    assert.equal("a", c:next_event().data)
    assert.equal("b", c:next_event().data)
    local first = select(2, deadline.since(began))
    assert.equal("c", c:next_event().data)
    local quiet, second = deadline.since(began)
    assert.is_true(first >= 0.9 and second >= 1.4 and quiet < 12, first .. " " .. second)
    c:close()
  end)

  it("serves it to each reader from the start, ids included, and goes on behind an id", function()
    local s = source.listen()
    local p, c = record(s)
    c:stream(to_stream(ODD))
    until_lines(#ODD)
    p:signal("INT")
    p:wait(10)
    local _, port = serve("--speed", "1000")
    for _ = 1, 2 do
      local code, text = process.run({ "curl", "-sN", ("http://127.0.0.1:%d/any"):format(port) })
      assert.equal(0, code)
      assert.same(SEEN, parse(text))
    end
    local behind = sse.connect(port, "/", { last_event_id = ODD[4].id })
    assert.equal("big", behind:next_event().event) -- it has the id of the one before
    assert.equal("none", behind:next_event().event)
    behind:close()
    assert.equal(204, sse.connect(port, "/", { last_event_id = "z" }).status)
    -- a reader that takes nothing holds up nobody
    local deaf = sse.connect(port, "/", { rcvbuf = 4096 })
    assert.same(SEEN, parse(select(2, process.run({ "curl", "-sN", ("http://127.0.0.1:%d/"):format(port) }))))
    deaf:close()
    -- recorded again, it is the same
    local again = folder .. "/again.jsonl"
    local q = spawn({ SLUICE, "record", ("http://127.0.0.1:%d/"):format(port), again })
    assert.equal(0, q:wait(20))
    local texts = {}
    for i, name in ipairs { path, again } do texts[i] = process.read_file(name):gsub('{"t":[%d.]+', "") end
    assert.equal(texts[1], texts[2])
    -- a file that goes away ends nobody but who comes then
    os.remove(path)
    assert.equal(503, sse.connect(port, "/").status)
    assert.equal(503, sse.connect(port, "/", { last_event_id = "z" }).status)
  end)

  it("answers this machine's own names only, and nothing but GET", function()
    write_lines('{"t":0,"data":"a"}')
    local _, port = serve()
    local url = ("http://127.0.0.1:%d/"):format(port)
    local function status(...)
      return (select(2, process.run({ "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", ... })))
    end
    assert.equal("421", status("-H", "Host: evil.example", url))
    assert.equal("405", status("-X", "DELETE", url))
    assert.equal("431", status("-H", "X: " .. ("x"):rep(20000), url))
    local function allowed(origin)
      local _, text = process.run({ "curl", "-si", "-H", "Origin: " .. origin, url })
      return text:match("Access%-Control%-Allow%-Origin: ([^\r]+)")
    end
    assert.equal("http://localhost:3000", allowed("http://localhost:3000"))
    assert.is_nil(allowed("http://evil.example"))
  end)

  it("tells bad lines with file and line, plays the others, and ends with 1", function()
    write_lines('{"t":0,"data":"a"}', "nonsense", "", '{"t":-1,"data":"b"}', '{"t":1,"event":"x\\ny","data":""}',
      '{"t":1,"data":{"n":1}}', '[1]', '{"t":0.1,"event":"z","data":"c"}')
    local code, text = replay("--speed", "100")
    assert.equal(1, code)
    for n, why in pairs { [2] = "not JSON", [4] = "t is a number", [5] = "event has a line end",
      [6] = "data is a string", [7] = "a JSON object" } do
      assert.matches(("feed.jsonl:%d: %s"):format(n, why), text)
    end
    assert.matches("data: a\n\nevent: z\ndata: c\n\n$", text)
  end)

  it("plays what the page about it shows", function()
    write_lines(tree.read("doc/demo.md"):match("```json\n(.-)\n```"))
    local code, text = replay("--speed", "1000")
    assert.equal(0, code, text)
    local list = parse(text)
    assert.same({ 2, "price-update", "two\nlines" }, { #list, list[1].event, list[2].data })
  end)

  it("ends at Ctrl-C with 130 and no traceback, also before anything has begun", function()
    write_lines('{"t":0,"data":"a"}')
    local p = serve()
    p:signal("INT")
    assert.equal(130, p:wait(10))
    assert.matches("^serving [^\n]+\n$", p:log())
    local pipe = folder .. "/pipe"
    process.run({ "mkfifo", pipe })
    p = spawn({ SLUICE, "replay", pipe })
    local writer = spawn({ "sh", "-c", ("exec 3>%s; echo open; exec sleep 60"):format(pipe) })
    deadline.eventually(function() return writer:log() == "open\n" end, 10, "the pipe is read")
    p:signal("INT")
    assert.equal(130, p:wait(10))
    assert.equal("", p:log())
  end)

  it("refuses what makes no sense", function()
    write_lines('{"t":0,"note":"reset"}')
    assert.matches("holds no event", select(2, replay()))
    assert.equal(1, (replay()))
    assert.equal(1, (process.run({ SLUICE, "replay", folder })))
    assert.equal(1, (process.run({ SLUICE, "replay", folder .. "/none" })))
    for _, words in ipairs { { "--speed", "0" }, { "--speed", "x" }, { "--serve", "--to", "http://x/" },
      { "--port", "70000", "--serve" }, { "--header", "nonsense", "--to", "http://x/" } } do
      assert.equal(2, (replay(table.unpack(words))), words[1])
    end
    write_lines('{"t":0,"data":"a"}')
    local taken = source.listen()
    assert.matches("cannot listen on 127.0.0.1:%d+: .*%-%-port takes another, 0 a free one\n$",
      select(2, replay("--serve", "--port", tostring(taken.port))))
    assert.equal(1, (replay("--to", "http://127.0.0.1:1/")))
    local code, text = process.run(("{ %s replay %s; echo ended $? >&2; } | true"):format(SLUICE, path))
    assert.same({ 0, true }, { code, text:find("ended [01]") ~= nil }, text)
  end)
end)
