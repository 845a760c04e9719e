--- sluice.runs on a real server against an upstream whose every byte is the spec's, in the style of OpenAI's API:
--- many tokens and readers, a reload and cuts in the middle; stop; upstreams that die, stall and answer late; kill -9.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")
local sse = require("spec.support.sse")
local socket = require("socket")

local APP = [[
local sluice = require("sluice")
local client = require("sluice.client")
local app = sluice.app()
local runs = require("sluice.runs").new(app, { durable = %s })
app:guard("/**", function(req)
  req.user = { id = req.headers["x-user"] or "alice" }
  return true
end)
runs:define("answer", function(run, args)
  local ask = { json = { messages = args.messages, stream = true }, timeout = args.timeout }
  for event in run:from(client.events(sluice.env("LLM_URL"), ask)) do
    if event.text == "[DONE]" then return end
    if type(event.data) ~= "table" then error("the model sent what is no JSON", 0) end
    run:text(event.data.choices[1].delta.content or "")
  end
  error("the model broke off", 0)
end)
runs:stream("/s")
runs:routes("/r")
return app
]]
local HEADERS = { ["Content-Type"] = "application/json" }
local FULL = os.getenv("SLUICE_SPEC_FULL") ~= nil

describe("runs on a real server", function()
  local s, up

  before_each(function() up = source.listen() end)
  after_each(function()
    server.stop_all()
    source.close_all()
  end)

  local function start(options)
    options = options or {}
    options.app, options.env = APP:format(options.data ~= nil), { LLM_URL = up.url .. "/v1/chat/completions" }
    options.args, options.data = options.data and { "--data", options.data } or nil, nil
    s = server.start(options)
  end

  local function ask(id, more)
    local body = { id = id, args = { messages = { { role = "user", content = "hi" } } } }
    for name, value in pairs(more or {}) do body.args[name] = value end
    local answer = http.post(s.port, "/r", json.encode(body), HEADERS)
    assert.equal(202, answer.status, answer.body)
  end

  local function watch(id, last)
    return { stream = sse.connect(s.port, "/s/" .. id, { last_event_id = last }), text = {}, ids = {} }
  end

  -- Read what is there; the reader's text is kept over cuts.
  local function read(reader, seconds)
    while true do
      local e, why = reader.stream:next_event(seconds or 0.01)
      if not e then return why end
      if e.event == "text" then
        assert.is_nil(reader.ids[e.id], "twice: " .. tostring(e.id))
        reader.ids[e.id] = true
        local text = json.decode(e.data).text
        assert.truthy(utf8.len(text))
        reader.text[#reader.text + 1] = text
      elseif e.event and e.event:find("^run%-") then
        reader.ends = reader.ends or {}
        table.insert(reader.ends, { name = e.event, data = json.decode(e.data) })
      else
        assert.not_equal("reset", e.event)
      end
    end
  end

  local function finish(reader)
    deadline.eventually(function()
      local why = read(reader, 0.2)
      return why ~= "timeout"
    end, 20, "the stream ends")
    assert.equal(1, #reader.ends)
    return table.concat(reader.text), reader.ends[1]
  end

  local function come_back(id, reader, from_start)
    reader.stream.wire:close()
    local last = not from_start and reader.stream.last_id or nil
    if from_start then reader.text, reader.ids = {}, {} end
    reader.stream = sse.connect(s.port, "/s/" .. id, { last_event_id = last })
  end

  local function chunk(text)
    return ("data: %s\n\n"):format(json.encode { choices = { { delta = { content = text } } } })
  end

  local function reload(n)
    s.signal("HUP")
    s.wait_log("reload #" .. n)
  end

  it("give every reader every token, over cuts, refreshes and reloads, from one request", function()
    start()
    math.randomseed(1)
    local letters, tokens = { "a", "é", "漢", "😀", "x " }, {}
    local function letter() return letters[math.random(#letters)] end
    for i = 1, FULL and 50000 or 5000 do tokens[i] = letter() .. letter() end
    ask("one")
    local upstream = up:accept()
    assert.same({ "POST", "/v1/chat/completions" }, { upstream.method, upstream.path })
    assert.is_true(json.decode(upstream.body).stream)
    upstream:stream()
    local readers, pending, reloads = { watch("one"), watch("one"), watch("one") }, "", 0
    for i, token in ipairs(tokens) do
      pending = pending .. chunk(token)
      if i % 50 == 0 then
        -- cut anywhere, in the middle of a character too
        local n = math.random(0, #pending)
        assert(upstream:send(pending:sub(1, n)))
        pending = pending:sub(n + 1)
        for _, reader in ipairs(readers) do read(reader, 0) end
      end
      if i % 700 == 0 then come_back("one", readers[1]) end
      if i % 900 == 0 then come_back("one", readers[2], true) end
      if i == 2000 then readers[4] = watch("one") end
      if i % 1500 == 0 and reloads < 3 then
        reloads = reloads + 1
        reload(reloads + 1)
      end
    end
    assert(upstream:send(pending .. "data: [DONE]\n\n"))
    upstream:close()
    readers[5] = watch("one")
    local want = table.concat(tokens)
    for i, reader in ipairs(readers) do
      local text, ending = finish(reader)
      assert.is_true(text == want, ("reader %d has %d bytes of %d"):format(i, #text, #want))
      assert.equal("run-complete", ending.name)
    end
    assert.is_nil(up:try_accept(0.05))
    assert.is_true(reloads > 1)
  end)

  it("read an answer of http.stream from one request over reloads, also a declared one", function()
    s = server.start { env = { LLM_URL = up.url }, app = (APP:format("false"):gsub("runs:define.-\nend%)\n", [[
      runs:define("answer", function(run)
        local answer <close> = assert(require("sluice.http").stream { url = sluice.env("LLM_URL") })
        if answer.status ~= 200 then error("status " .. answer.status, 0) end
        for piece in run:from(answer) do run:text(piece) end
      end)
    ]])) }
    ask("one")
    local c = up:accept()
    c:stream("one ")
    local reader = watch("one")
    for n, word in ipairs { "two ", "three ", "four" } do
      reload(n + 1)
      assert(c:send(word))
      read(reader, 0.3)
    end
    c:close()
    local text, ending = finish(reader)
    assert.same({ "one two three four", "run-complete" }, { text, ending.name })
    assert.is_nil(up:try_accept(0.05))
  end)

  it("close the upstream of one that is stopped, also before it has answered", function()
    start()
    for _, has_begun in ipairs { true, false } do
      local id = "stop-" .. tostring(has_begun)
      ask(id)
      local upstream = up:accept()
      local reader = watch(id)
      if has_begun then
        upstream:stream(chunk("hello"))
        deadline.eventually(function()
          read(reader)
          return reader.text[1]
        end, 5, "the first word")
      end
      local before = socket.gettime()
      assert.equal(204, http.request(s.port, "DELETE", "/r/" .. id, {}).status)
      assert.is_true(upstream:gone(5))
      local took = socket.gettime() - before
      assert.is_true(took < 0.5 * deadline.scale, ("closed after %.3f s"):format(took)) -- 0.1, on a machine of its own
      assert.equal("run-stopped", select(2, finish(reader)).name)
    end
  end)

  it("keep a request that waits for its head over a reload", function()
    start()
    ask("one")
    local upstream = up:accept()
    reload(2)
    reload(3)
    upstream:stream(chunk("late") .. "data: [DONE]\n\n")
    local text, ending = finish(watch("one"))
    assert.same({ "late", "run-complete" }, { text, ending.name })
    assert.is_nil(up:try_accept(0.05))
  end)

  it("report an upstream that breaks off, stalls, or talks nonsense", function()
    start()
    local function fails(id, more, act)
      ask(id, more)
      local upstream = up:accept()
      act(upstream)
      local text, ending = finish(watch(id))
      assert.equal("run-failed", ending.name)
      assert.is_nil(up:try_accept(0.05))
      return text .. "|" .. ending.data.error
    end
    assert.matches("^half|the model broke off", fails("fin", nil, function(c)
      c:stream(chunk("half"))
      c:close()
    end))
    assert.matches("^half|.", fails("rst", nil, function(c)
      c:stream(chunk("half"))
      local reader = watch("rst") -- a reset takes what was not read with it
      deadline.eventually(function()
        read(reader)
        return reader.text[1]
      end, 5, "the first word")
      c:reset()
    end))
    assert.matches("^half|.", fails("stall", { timeout = 0.3 }, function(c) c:stream(chunk("half")) end))
    assert.matches("^half|the model sent what is no JSON", fails("garbage", nil, function(c)
      c:stream(chunk("half") .. "data: {broken\n\n")
    end))
    assert.matches("^|.*answered 401", fails("refused", nil, function(c) c:finish(401) end))
  end)

  it("ask again after a 429, when it says, and go on behind an id", function()
    start()
    ask("one")
    local reader = watch("one")
    up:accept():finish(429, "", { ["Retry-After"] = "1" })
    deadline.eventually(function()
      read(reader)
      return reader.ends
    end, 5, "run-waiting")
    assert.equal("run-waiting", reader.ends[1].name)
    reader.ends = nil
    local upstream = up:accept(10)
    upstream:stream("retry: 50\nid: 7\n" .. chunk("first "))
    upstream:close()
    upstream = up:accept(10)
    assert.equal("7", upstream.headers["last-event-id"])
    upstream:stream("id: 8\n" .. chunk("second") .. "data: [DONE]\n\n")
    local text = finish(reader)
    assert.equal("first second", text)
  end)

  it("go on after kill -9 where the upstream has ids, and else fail and say so", function()
    for _, has_ids in ipairs { true, false } do
      local folder = process.temp_dir() .. "/data"
      start { data = folder }
      ask("one")
      local upstream, reader = up:accept(), watch("one")
      local n = 0
      local function said(text)
        n = n + 1
        return (has_ids and ("id: %d\n"):format(n) or "") .. chunk(text)
      end
      upstream:stream(said("a\u{1F600}b ") .. said("c ") .. said("d "))
      deadline.eventually(function()
        read(reader)
        return table.concat(reader.text):find("c ", 1, true)
      end, 5, "some words")
      s.kill()
      upstream:close()
      local last = reader.stream.last_id
      start { data = folder }
      local words = { "a\u{1F600}b ", "c ", "d ", "e" }
      if has_ids then
        upstream = up:accept(10)
        local from = math.tointeger(upstream.headers["last-event-id"])
        assert.is_true(from >= 2)
        upstream:stream()
        n = from
        for i = from + 1, 4 do upstream:send(said(words[i])) end
        upstream:send("id: 9\ndata: [DONE]\n\n")
      end
      reader.stream = sse.connect(s.port, "/s/one", { last_event_id = last })
      local text, ending = finish(reader)
      assert.equal(has_ids and "run-complete" or "run-failed", ending.name)
      assert.equal(table.concat(words):sub(1, #text), text)
      if has_ids then assert.equal(table.concat(words), text) end
      assert.equal(text, (finish(watch("one"))))
      server.stop_all()
    end
  end)
end)
