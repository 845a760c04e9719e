--- server:request in this process: what is told, in which order, and what a callback may do.
local core = require("sluice.core")
local deadline = require("spec.support.deadline")
local source = require("spec.support.source")

local HEAD = "HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nContent-Length: %d\r\n\r\n"

describe("http_out", function()
  local from, before

  before_each(function()
    collectgarbage()
    before = core.alive().memory
    from = source.listen()
  end)
  after_each(function()
    source.close_all()
    collectgarbage()
    assert.equal(before, core.alive().memory)
  end)

  -- Run a server with a script, a coroutine that may wait(condition). What is told is in
  -- `told`; `act` is called with each of it first.
  local function play(script, act)
    local told, problem = {}, nil
    local server <close> = core.server { port = 0, io_threads = 1, drain = 0 }
    assert(server:start())
    local left = deadline.after(5)
    local function wait(condition)
      while not condition() do
        assert(left() > 0, "not in time")
        coroutine.yield()
      end
    end
    local co = coroutine.create(function() script(server, told, wait) end)
    server:on(function(kind, ...)
      if kind == "stopping" then return server:drain() end
      if kind == "drained" then return false end
      if kind ~= "timer" then
        told[#told + 1] = { kind, ... }
        if act then act(server, kind, ...) end
        return
      end
      local ok, why = coroutine.resume(co)
      problem = problem or not ok and why
      if coroutine.status(co) == "dead" then return server:stop() end
      server:wake(core.now() + 0.002)
    end)
    server:wake(core.now())
    server:run()
    assert(not problem, problem)
    return told
  end

  local function request(server, o)
    o = o or {}
    o.url, o.method = o.url or from.url, o.method or "GET"
    return server:request(o)
  end

  -- The connection of a request, once it is there.
  local function accept(wait)
    local sock
    from.sock:settimeout(0)
    wait(function()
      sock = from.sock:accept()
      return sock
    end)
    sock:settimeout(0)
    local text = ""
    wait(function()
      text = text .. (select(3, sock:receive(4096)) or "")
      return text:find("\r\n\r\n", 1, true)
    end)
    return sock
  end

  local function ended(told)
    return function() return told[#told] and told[#told][1] == "http_end" end
  end

  it("tells the head, the bytes and the end", function()
    local id
    local told = play(function(server, told, wait)
      id = request(server)
      local sock = accept(wait)
      sock:send(HEAD:format(5))
      wait(function() return #told == 1 end)
      sock:send("he")
      wait(function() return #told == 2 end)
      sock:send("llo")
      wait(ended(told))
      sock:close()
    end)
    assert.same({ { "http_head", id, 200, { a = "1, 2", ["content-length"] = "5" } }, { "http_data", id, "he" },
      { "http_data", id, "llo" }, { "http_end", id } }, told)
  end)

  it("tells where a redirect leads, as a whole URL", function()
    local told = play(function(server, told, wait)
      request(server, { url = from.url .. "/a/b?c" })
      local sock = accept(wait)
      sock:send("HTTP/1.1 302 Found\r\nLocation: ../d e\r\nContent-Length: 0\r\n\r\n")
      wait(ended(told))
      sock:close()
    end)
    assert.equal(from.url .. "/d%20e", told[1][5])
  end)

  it("opens a connection and sends nothing over it, when that is all that is asked", function()
    local id, text, why
    local told = play(function(server, told, wait)
      id = request(server, { method = "CONNECT", connect = true, timeout = 5 })
      wait(ended(told))
      local sock = from.sock:accept()
      sock:settimeout(5)
      text, why = sock:receive(1)
      sock:close()
    end)
    assert.same({ { "http_end", id } }, told)
    assert.same({ nil, "closed" }, { text, why })
    from.sock:close()
    told = play(function(server, list, wait)
      id = request(server, { method = "CONNECT", connect = true, timeout = 5 })
      wait(ended(list))
    end)
    assert.same({ "http_end", id, "ECONNECT" }, { told[1][1], told[1][2], told[1][4] })
  end)

  it("tells nothing after a cancel, be it in its own callback", function()
    local id
    for _, kind in ipairs { "http_head", "http_data", "http_end", "never" } do
      local told = play(function(server, told, wait)
        id = request(server)
        local sock = accept(wait)
        sock:send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab")
        wait(function() return #told > 0 end)
        if kind == "never" then wait(ended(told)) end
        server:cancel_request(id)
        server:cancel_request(id)
        server:hold_request(id, true)
        local other = request(server) -- on the same loop, and told
        local again = accept(wait)
        again:send(HEAD:format(0))
        wait(function() return told[#told][1] == "http_end" and told[#told][2] == other end)
        again:close()
        sock:close()
      end, function(server, told_kind, told_id)
        if told_kind == kind and told_id == id then server:cancel_request(id) end
      end)
      local last
      for _, row in ipairs(told) do
        if row[2] == id then last = row[1] end
      end
      assert.equal(kind == "never" and "http_end" or kind, last)
    end
  end)

  it("leaves the bytes of a held request in the kernel, and loses none", function()
    local size, got = 24 * 1024 * 1024, 0
    play(function(server, told, wait)
      local id = request(server, { idle = 0.05 })
      local sock = accept(wait)
      local text, at = HEAD:format(size) .. ("x"):rep(size), 0
      local function push()
        local last, _, partial = sock:send(text, at + 1)
        at = last or partial or at
      end
      wait(function() push() return #told > 0 end)
      local till = core.now() + 0.3 -- the silence is its owner's: no time-out
      wait(function() push() return core.now() > till end)
      assert.is_true(got <= 512 * 1024, got .. " bytes while it was held")
      assert.is_true(at < size)
      server:hold_request(id, false)
      wait(function() push() return ended(told)() end)
      assert.same({ "http_end", id }, told[#told])
      sock:close()
    end, function(server, kind, id, bytes)
      if kind == "http_head" then server:hold_request(id, true) end
      if kind == "http_data" then got = got + #bytes end
    end)
    assert.equal(size, got)
  end)

  it("ends a request whose bytes could not be told", function()
    core.log_setup("off")
    local told = play(function(server, told, wait)
      request(server)
      local sock = accept(wait)
      sock:send(HEAD:format(2) .. "ab")
      wait(ended(told))
      sock:close()
    end, function(_, kind)
      if kind == "http_data" then error("on purpose") end
    end)
    core.log_setup()
    assert.equal("ENOMEM", told[#told][4])
  end)

  it("refuses what makes no sense, and holds nothing of it", function()
    play(function(server)
      local function code(o) return (select(3, request(server, o))) end
      assert.equal("EINVAL", code { url = "" })
      assert.equal("EINVAL", code { url = "http://" })
      assert.equal("EINVAL", code { url = "http://a/\0b" })
      assert.equal("EINVAL", code { url = "http://a/\r\nb" })
      assert.equal("EINVAL", code { url = "gopher://a/" })
      assert.equal("EINVAL", code { method = "" })
      assert.equal("EINVAL", code { method = ("X"):rep(33) })
      assert.equal("EBADFIELD", code { headers = { "A b", "c" } })
      assert.equal("EBADFIELD", code { headers = { "A", "c\nd" } })
      assert.equal("ETOOBIG", code { url = "http://a/" .. ("x"):rep(8192) })
      assert.error_matches(function() request(server, { headers = { 1, "c" } }) end, "strings are expected")
      assert.error_matches(function() request(server, { timeout = -1 }) end, "'timeout' is out of range")
      assert.error_matches(function() request(server, { body = {} }) end, "a string is expected")
      assert.error_matches(function() server:request() end, "table expected")
      server:cancel_request(77)
    end)
  end)

  it("is cut when its server is closed", function()
    play(function(server, told, wait)
      for _ = 1, 5 do request(server) end
      local sock = accept(wait)
      sock:send(HEAD:format(10) .. "half")
      wait(function() return #told > 1 end)
    end)
    local server <close> = core.server { port = 0 } -- one that never runs
    request(server)
  end)
end)
