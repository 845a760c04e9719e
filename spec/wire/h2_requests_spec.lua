--- What goes over HTTP/1.1 goes over HTTP/2 as well: the requests of spec/wire/front/ on streams of one connection,
--- judged by the same model, with heads and bodies in frames of any size, padded, between each other; and what of
--- the table of nasty inputs HTTP/2 can say at all. SEED=n repeats a draw, `make test-full` draws 2,000 new ones.
local answers = require("spec.wire.front.answers")
local deadline = require("spec.support.deadline")
local dice = require("spec.wire.front.dice")
local draw = require("spec.wire.front.draw")
local h2 = require("spec.support.h2")
local model = require("spec.wire.front.model")
local rows = require("spec.wire.http_vectors")
local server = require("spec.support.server")
local site = require("spec.wire.front.site")
local spell = require("spec.wire.front.spell")

local chance, pick, random = dice.chance, dice.pick, math.random

-- What HTTP/2 says in other ways, or refuses (spec/wire/h2_spec).
local NOT_SAID = { host = true, connection = true, ["keep-alive"] = true, ["transfer-encoding"] = true, upgrade = true,
  ["proxy-connection"] = true }

-- ---- Frames -------------------------------------------------------------------------------

local function padded(flags, payload)
  if not chance(0.1) then return flags, payload end
  local n = random(0, 255)
  return flags | h2.PADDED, string.char(n) .. payload .. ("\0"):rep(n)
end

--- A head, in as many pieces as may be.
local function send_head(s, fields, is_last)
  local c, block = s.client, s.client.encode(fields)
  local flags = is_last and h2.END_STREAM or 0
  local parts = {}
  while #block > 2 and #parts < 6 and chance(0.2) do
    local n = random(1, #block - 1)
    parts[#parts + 1], block = block:sub(1, n), block:sub(n + 1)
  end
  parts[#parts + 1] = block
  local first, payload = padded(flags | (#parts == 1 and h2.END_HEADERS or 0), parts[1])
  c:frame("HEADERS", first, s.id, payload)
  for i = 2, #parts do c:frame("CONTINUATION", i == #parts and h2.END_HEADERS or 0, s.id, parts[i]) end
end

--- A part of what is left of a body, if its windows have room. True: it is over.
local function send_part(one)
  local s, c = one.stream, one.stream.client
  local room = math.min(s.room, c.room, c.frame_max) - 256
  if room <= 0 and one.left ~= "" then return false end
  local n = math.min(room, chance(0.5) and random(1, 300) or 16384)
  local part = one.left:sub(1, n)
  one.left = one.left:sub(#part + 1)
  local over = one.left == "" and (one.said == #one.body or chance(0.8))
  local flags, payload = over and h2.END_STREAM or 0, part
  if room > 0 then flags, payload = padded(flags, payload) end
  one.said = one.said + #part
  s.room, c.room = s.room - #payload, c.room - #payload
  c:frame("DATA", flags, s.id, payload)
  return over
end

-- ---- Requests -----------------------------------------------------------------------------

--- The fields of a drawn request, as HTTP/2 writes them.
local function fields_of(r, scheme)
  local list = spell.fields(r)
  local out = { { ":method", r.method }, { ":scheme", scheme }, { ":path", spell.line(r)[2] } }
  for _, f in ipairs(list) do
    if f[1] == "Host" then table.insert(out, 4, { ":authority", f[2] }) end
  end
  for _, f in ipairs(list) do
    local name = f[1]:lower()
    if not NOT_SAID[name] then out[#out + 1] = { name, (f[2]:gsub("^[ \t]+", ""):gsub("[ \t]+$", "")) } end
  end
  return out
end

local function open(c, at)
  local r = draw.request(at, true)
  r.minor, r.form, r.connection, r.host = 1, "origin", nil, r.host or "localhost"
  local e = model.expect(r, at)
  e.minor, e.keeps = 2, nil
  local one = { r = r, e = e, stream = c:stream(), body = r.body or "", left = r.body or "", said = 0 }
  one.stream.method = r.method
  one.over = not r.body or (#r.body == 0 and chance(0.5))
  if r.expect and not one.over then e.interim = 1 end -- an empty one is still to come
  send_head(one.stream, fields_of(r, c.scheme), one.over)
  return one
end

local function has_hello(one)
  return one.e.stream and not one.e.ends and one.stream.body:find("\nevent: hello\n.-\n\n") ~= nil
end

local function is_done(one)
  return one.gone or one.stream.ended ~= nil or has_hello(one)
end

--- What is wrong with the answer: nil, or a sentence.
local function judge(one)
  local s, e = one.stream, one.e
  if one.gone then return nil end
  if s.ended == "reset" then
    return not (s.code == "PROTOCOL_ERROR" and e.statuses[400]) and "reset: " .. s.code or nil
  end
  local head = {}
  for i, f in ipairs(s.fields) do head[i] = ("\r\n%s: %s"):format(f[1], f[2]) end
  local a = { status = s.status, headers = s.headers, head = table.concat(head), body = s.body,
    interim = s.interim or 0 }
  local ok, problem = pcall(answers.judge, { expected = { e }, whole = 1, closed = true,
    reader = { list = { a }, text = "", partial = function() end } })
  if not ok then return type(problem) == "table" and problem.why or tostring(problem) end
end

-- ---- Connections --------------------------------------------------------------------------

--- Send on with one of those that are not whole yet.
local function step(list)
  local one = pick(list)
  local s = one.stream
  if one.over or one.gone then return end
  if chance(0.01) then
    s:reset()
    one.gone = true
  elseif s.ended == "reset" then
    one.over = true
  elseif not (one.r.waits and #one.body == #one.left and not (s.interim or s.status)) then
    one.over = send_part(one)
  end
end

local function all(list, is)
  for _, one in ipairs(list) do
    if not is(one) then return false end
  end
  return true
end

local function tell(seed, i, one, problem)
  return ("seed %d, request %d: %s\n%s %s, %d bytes of %d sent"):format(seed, i, problem, one.r.method,
    spell.path(one.r), one.said, #one.body)
end

--- The requests of one draw: nil, or what is wrong with the first that is wrong.
local function run(at, seed)
  math.randomseed(seed)
  local c = assert(h2.connect(at.port, { encoder = chance(0.5), window = pick { false, false, 3000, 20000 } or nil }))
  local list, left = {}, deadline.after(20)
  for i = 1, 1 + dice.few(0.8, 12) do
    list[i] = open(c, at)
    for _ = 1, dice.few(0.5, 5) do step(list) end
    while c:next(0) do end
  end
  while not all(list, function(one) return one.over or one.gone end) and left() > 0 do
    step(list)
    while c:next(0) do end
  end
  local done, why = c:wait_for(function() return all(list, is_done) end, left)
  for i, one in ipairs(list) do
    local problem = not is_done(one) and "no whole answer: " .. tostring(why) or judge(one)
    if problem then return tell(seed, i, one, problem) end
  end
  if not done or c.goaway then return ("seed %d: GOAWAY %s"):format(seed, c.goaway and c.goaway.code or "none") end
  c:close()
end

-- ---- The table of nasty inputs ------------------------------------------------------------

--- A row as fields of HTTP/2 and a body: nil where it is about what HTTP/2 has not.
local function translate(row)
  local method, target, lines, body = row.input:match("^(%S+) ([/*]%S*) HTTP/1%.1\r\n(.-)\r\n\r\n(.*)$")
  if not method or row.more or method == "CONNECT" then return nil end
  local out, rest, length = { { ":method", method }, { ":scheme", "http" }, { ":path", target } }, {}, 0
  for line in (lines .. "\r\n"):gmatch("(.-)\r\n") do
    local name, value = line:match("^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$")
    name = name and name:lower()
    if not name or (NOT_SAID[name] and name ~= "host") or name == "te" then return nil end
    if name == "host" and #out == 3 and #rest == 0 then
      out[4] = { ":authority", value }
    elseif name == "host" and out[4] and out[4][2] == value then
      return nil -- is no second one
    else
      if name == "content-length" then length = math.tointeger(tonumber(value)) or 0 end
      rest[#rest + 1] = { name, value }
    end
  end
  if #body < length then return nil end
  for _, field in ipairs(rest) do out[#out + 1] = field end
  return out, body:sub(1, length)
end

--- What a row is answered: the stream, at its end, and its status or the name of an error.
local function ask(c, row, fields, body)
  local one = c:stream()
  one.method = row.is_head and "HEAD" or nil
  local block, flags = c.encode(fields), body == "" and h2.END_STREAM or 0
  c:frame("HEADERS", flags | (#block <= 16384 and h2.END_HEADERS or 0), one.id, block:sub(1, 16384))
  for at = 16385, #block, 16384 do
    c:frame("CONTINUATION", at + 16384 > #block and h2.END_HEADERS or 0, one.id, block:sub(at, at + 16383))
  end
  if body ~= "" then one:send(body, true) end
  assert(one:wait("end", 5), row.id)
  return one, one.ended == "reset" and one.code or one.status
end

-- ---- The spec -----------------------------------------------------------------------------

local function seeds()
  local seed = math.tointeger(tonumber(os.getenv("SEED")))
  if seed then return seed, seed end
  if not os.getenv("SLUICE_SPEC_FULL") then return 1, os.getenv("SLUICE_PRELOAD") and 20 or 60 end
  local first = os.time() % 1000000 * 2000
  return first, first + 1999
end

describe("over HTTP/2", function()
  teardown(server.stop_all)

  it("drawn requests are answered as the model says, and nothing is left of them", function()
    local s = site.start { tls = true, h2 = false }
    finally(s.clean)
    local before, first, last = s.fds(), seeds()
    for seed = first, last do
      local problem = run(s, seed)
      if problem then error(problem .. "\nrepeat it with SEED=" .. seed, 0) end
    end
    deadline.eventually(function() return s.fds() <= before end, 5, "descriptors are back")
    assert.equal(0, s.stop())
  end)

  it("the table of nasty inputs is answered as over HTTP/1.1, where it can be said", function()
    local s = server.start { tls = false, env = { SLUICE_H2C = "yes" }, app = [[
      local app = require("sluice").app()
      local function echo(req) return 200, ("n=%d;"):format(#(req.body or "")) end
      app:get("/segment/:name", function(req) return 200, "name=" .. req.params.name .. ";" end)
      app:get("/**", echo)
      app:post("/**", echo)
      return app]] }
    local n = 0
    for _, row in ipairs(rows) do
      local fields, body = translate(row)
      if fields then
        n = n + 1
        local c = assert(h2.connect(s.port))
        local one, got = ask(c, row, fields, body)
        assert.is_true(got == row.status or (got == "PROTOCOL_ERROR" and row.status == 400),
          ("%s: %s, not %d"):format(row.id, tostring(got), row.status))
        if row.n then assert.equal(("n=%d;"):format(row.n), one.body, row.id) end
        if row.text then assert.equal(row.text, one.body, row.id) end
        assert(c:sync(), row.id) -- the connection goes on
        c:close()
      end
    end
    assert.is_true(n > 60, n)
  end)
end)
