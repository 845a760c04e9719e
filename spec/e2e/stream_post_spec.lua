--- Streams by POST, as bytes on a socket: how the body may come, and who may send it.
local deadline = require("spec.support.deadline")
local live = require("spec.support.live")
local wire = require("spec.support.wire")

local s

--- The answer so far, when this is in it.
local function exchange(bytes, wanted)
  local w = assert(wire.connect(s.port))
  for _, part in ipairs(bytes) do
    w:send(part)
    if part:find("100-continue", 1, true) then
      assert(w:fill(5 * deadline.scale))
      assert.truthy(w:take(#w.buffer):find("HTTP/1.1 100 Continue", 1, true))
    end
  end
  while not w.buffer:find(wanted, 1, true) do
    assert(w:fill(5 * deadline.scale), wanted .. " is not in: " .. w.buffer)
  end
  return w.buffer, w
end

local function head(...)
  return "POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    .. table.concat({ ... }, "\r\n") .. "\r\n\r\n"
end

describe("a stream by POST", function()
  setup(function()
    s = live.start([[
      app:channel("room/:id", { history = 10, rewind = 10 })
      app:stream("/ask", { method = "POST" }, function(req)
        return "room/" .. req:json({ room = "string" }).room
      end)
      app:stream("/plan", { method = "POST" }, "room/plan")]])
  end)
  teardown(live.stop_all)

  it("takes a body with a length, in chunks, in pieces, and after 100 Continue", function()
    local body = '{"room":"a"}'
    local length = "Content-Length: " .. #body
    for name, bytes in pairs {
      whole = { head(length) .. body },
      pieces = { head(length):sub(1, 20), head(length):sub(21) .. body:sub(1, 3), body:sub(4) },
      chunks = { head("Transfer-Encoding: chunked"), "4\r\n" .. body:sub(1, 4) .. "\r\n",
        ("%x\r\n%s\r\n0\r\n\r\n"):format(#body - 4, body:sub(5)) },
      continue = { head(length, "Expect: 100-continue"), body },
    } do
      local text, w = exchange(bytes, "event: hello")
      assert.truthy(text:find("^HTTP/1.1 200 OK\r\n"), name .. ": " .. text)
      assert.truthy(text:find("text/event-stream", 1, true))
      w:close()
    end
  end)

  it("is opened without Lua when its plan is constant, and needs no body", function()
    local _, w = exchange({ "POST /plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" }, "event: hello")
    w:close()
  end)

  it("is refused before its body when it is too large, of a foreign page, or wants no events", function()
    for status, field in pairs { [413] = "Content-Length: 99999999", [403] = "Origin: https://evil.example",
      [406] = "Accept: application/json" } do
      local given = { field }
      if status ~= 413 then given[2] = "Content-Length: 0" end
      local text, w = exchange({ head(table.unpack(given)) }, "\r\n\r\n")
      assert.equal(status, tonumber(text:match("^HTTP/1.1 (%d+)")), text)
      w:close()
    end
  end)

  it("stays away from a stream that it was told to stop", function()
    local text, w = exchange({ head("Content-Length: 0", "Last-Event-ID: stop") }, "\r\n\r\n")
    assert.truthy(text:find("^HTTP/1.1 204 "), text)
    w:close()
  end)

  it("has Allow for the other methods, and no HEAD", function()
    for _, method in ipairs { "GET", "HEAD", "PUT" } do
      local request = method .. " /ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
      local text, w = exchange({ request }, "\r\n\r\n")
      assert.truthy(text:find("^HTTP/1.1 405 "), text)
      assert.truthy(text:find("\r\nAllow: OPTIONS, POST\r\n", 1, true) or text:find("\r\nAllow: POST", 1, true), text)
      w:close()
    end
  end)
end)
