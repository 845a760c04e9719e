--- The table of nasty inputs against a running server: every row whole and cut at each of
--- its first 256 bytes, behind it a last request that tells whether the connection stayed.
---
--- The variants of a row run side by side on connections of their own; each is read until
--- the server closes. Nothing here waits for a clock: a row is over when all have ended.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local rows = require("spec.wire.http_vectors")
local server = require("spec.support.server")
local socket = require("socket")
local wire = require("spec.support.wire")

local LAST = "GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
local CUTS = 256
local SIDE_BY_SIDE = 128
local SECONDS = 5

local APP = [[
local app = require("sluice").app()
local function echo(req) return 200, ("n=%d;"):format(#(req.body or "")) end
app:get("/segment/:name", function(req) return 200, "name=" .. req.params.name .. ";" end)
app:get("/**", echo)
app:post("/**", echo)
return app
]]

--- The first answer in `text`: response, what follows it. Raises when it is not whole HTTP.
local function read_answer(text, is_head)
  local stop = select(2, text:find("\r\n\r\n", 1, true))
  assert(stop, "no whole head: " .. ("%q"):format(text:sub(1, 200)))
  local response = http.parse_head(text:sub(1, stop))
  local length = tonumber(response.headers["content-length"] or 0)
  if is_head or response.status < 200 or response.status == 204 then length = 0 end
  assert(#text >= stop + length, "the body is cut off")
  response.body = text:sub(stop + 1, stop + length)
  return response, text:sub(stop + length + 1)
end

local function read_answers(text, is_head)
  local list, interim = {}, 0
  while text ~= "" do
    local response
    response, text = read_answer(text, is_head and #list == 0)
    if response.status < 200 then interim = interim + 1 else list[#list + 1] = response end
  end
  return list, interim
end

local function statuses(list)
  local out = {}
  for i, response in ipairs(list) do out[i] = response.status end
  return table.concat(out, " ")
end

local function wanted_statuses(row)
  local out = { row.status, table.unpack(row.more or {}) }
  if row.after == "keep" then out[#out + 1] = 200 end
  return table.concat(out, " ")
end

--- What every answer of ours looks like, whatever the question was.
local function check_form(response, is_last)
  assert.truthy(response.headers.date, "no Date")
  assert.is_nil(response.headers.server)
  assert.equal(is_last and "close" or nil, (response.headers.connection or ""):match("close"))
  if response.status >= 400 and response.body ~= "" then
    assert.equal("application/json", response.headers["content-type"])
    assert.truthy(response.body:find('^{"error":{"'), response.body) -- in any order of keys
    assert.truthy(response.body:find('"code":"E%u+"'), response.body)
    assert.truthy(response.body:find('"message":"', 1, true), response.body)
  end
end

local function check_row(row, text)
  local list, interim = read_answers(text, row.is_head)
  assert.equal(wanted_statuses(row), statuses(list))
  assert.is_true(interim <= #(row.interim or {}), "an interim answer that was not asked for")
  for i, response in ipairs(list) do check_form(response, i == #list) end
  if row.n then assert.equal(("n=%d;"):format(row.n), list[1].body) end
  if row.text then assert.equal(row.text, list[1].body) end
end

--- A connection that has sent the first `cut` bytes.
local function open(port, row, cut)
  local sock = assert(wire.connect(port)).sock
  sock:settimeout(SECONDS * deadline.scale)
  local all = row.input .. LAST
  assert(sock:send(all:sub(1, cut)))
  return { sock = sock, rest = all:sub(cut + 1), pieces = {}, cut = cut }
end

--- Read what all of them get until each was closed by the server.
local function read_all(list)
  local left = deadline.after(SECONDS)
  local open_socks, by_sock = {}, {}
  for i, c in ipairs(list) do
    c.sock:settimeout(0)
    open_socks[i], by_sock[c.sock] = c.sock, c
  end
  while #open_socks > 0 and left() > 0 do
    for _, sock in ipairs((socket.select(open_socks, nil, left()))) do
      local data, err, part = sock:receive(65536)
      local c = by_sock[sock]
      c.pieces[#c.pieces + 1] = data or part
      c.ended = err == "closed"
    end
    for i = #open_socks, 1, -1 do
      if by_sock[open_socks[i]].ended then table.remove(open_socks, i) end
    end
  end
end

--- Send and read one batch of variants; raises with the cut that failed.
local function run_batch(port, row, cuts)
  local list = {}
  for i, cut in ipairs(cuts) do list[i] = open(port, row, cut) end
  -- The first pieces are in the server's sockets; asking it something on another
  -- connection lets it read them before the rest is sent.
  http.get(port, "/between")
  for _, c in ipairs(list) do c.sock:send(c.rest) end -- the server may have closed: fine
  read_all(list)
  for _, c in ipairs(list) do
    c.sock:setoption("linger", { on = true, timeout = 0 }) -- RST: no TIME_WAIT by thousands
    c.sock:close()
  end
  for _, c in ipairs(list) do
    local text = table.concat(c.pieces)
    local ok, why = pcall(function()
      assert.is_true(c.ended or false, "the server did not close")
      check_row(row, text)
    end)
    if not ok then
      error(("cut at %d: %s\ngot %q"):format(c.cut, tostring(type(why) == "table" and why.message or why),
        text:sub(1, 400)), 0)
    end
  end
end

local function run_row(port, row)
  local cuts = { #row.input + #LAST }
  for cut = 1, math.min(CUTS, #row.input) do cuts[#cuts + 1] = cut end
  for first = 1, #cuts, SIDE_BY_SIDE do
    run_batch(port, row, { table.unpack(cuts, first, math.min(first + SIDE_BY_SIDE - 1, #cuts)) })
  end
end

describe("the server, on the table of nasty inputs,", function()
  local s
  setup(function() s = server.start({ app = APP }) end)
  teardown(server.stop_all)

  for _, row in ipairs(rows) do
    it(("answers %d and %ss to %s, however it is cut"):format(row.status, row.after, row.id), function()
      run_row(s.port, row)
    end)
  end

  it("has nothing left of all that", function()
    local first = s.fds()
    for _ = 1, 50 do http.get(s.port, "/") end
    deadline.eventually(function() return s.fds() <= first end, 5, "descriptors are back")
    assert.equal(0, s.stop())
  end)
end)
