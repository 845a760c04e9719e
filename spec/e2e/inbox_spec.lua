--- Inboxes on a real server with a folder, killed again and again: two devices get each notification once and in
--- order, what was acknowledged stays away, and a step of an escalation whose webhook was under way is done again.
--- (All else in virtual time: spec/kit/inbox_spec.lua.)
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")
local sse = require("spec.support.sse")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:guard("/**", function(req)
  req.user = req.headers["x-user"] and { id = req.headers["x-user"] } or nil
  return true
end)
local inbox = require("sluice.inbox").new(app, { escalate = { critical = {
  { after = 0.2, via = "webhook", url = sluice.env("PAGER_URL") } } } })
inbox:stream("/n")
inbox:routes("/n")
app:post("/send", function(req)
  local body = req:json()
  return sluice.receipt(inbox:send(body.to, { message = body.message, severity = body.severity }))
end)
return app
]]

describe("an inbox on a real server", function()
  local folder, pager, s

  before_each(function()
    folder, pager = process.temp_dir(), source.listen()
  end)
  after_each(function()
    server.stop_all()
    pager:close()
    process.remove_dir(folder)
  end)

  local function start()
    s = server.start { app = APP, args = { "--data", folder .. "/data", "--drain", "0.1" },
      env = { PAGER_URL = pager.url .. "/page" } }
  end

  local function post(path, body)
    local answer = http.post(s.port, path, json.encode(body),
      { ["Content-Type"] = "application/json", ["X-User"] = "bob" })
    return answer.status, json.decode(answer.body)
  end

  local function send(message, severity)
    local status, body = post("/send", { to = "bob", message = message, severity = severity })
    assert.equal(202, status)
    return body.id
  end

  -- A device: what it was sent over all its connections.
  local function device()
    local d = { got = {}, acked = {}, last = nil }
    function d.open()
      d.c = sse.connect(s.port, "/n", { headers = { ["X-User"] = "bob" }, last_event_id = d.last })
    end
    function d.read_until(name, test)
      local left = deadline.after(20)
      repeat
        local e = assert(d.c:next_event(left()))
        assert.are_not.equal("reset", e.event)
        if e.id and e.id ~= "" then d.last = e.id end
        local data = e.data ~= "" and json.decode(e.data) or {}
        if e.event == "notification" then d.got[#d.got + 1] = data.message end
        if e.event == "notification-ack" then d.acked[#d.acked + 1] = data.id end
      until e.event == name and (not test or test(data))
    end
    function d.close() d.c:close() end
    return d
  end

  it("loses nothing and repeats nothing over kill -9, on two devices", function()
    local phone, laptop, ids, want, n = device(), device(), {}, {}, 0
    start()
    for round = 1, 4 do
      phone.open()
      if round % 2 == 1 then laptop.open() end
      for _ = 1, 30 do
        n = n + 1
        want[n], ids[n] = "m" .. n, send("m" .. n)
      end
      local function is_last(data) return data.message == want[n] end
      phone.read_until("notification", is_last)
      if round % 2 == 1 then laptop.read_until("notification", is_last) end
      if round % 2 == 1 then
        laptop.close()
        phone.close()
      end
      if round == 2 then
        local status, body = post("/n/ack", { ids = { table.unpack(ids, 1, 50) } })
        assert.same({ 200, 50, 10 }, { status, body.acknowledged, body.unread })
        phone.read_until("notification-ack", function() return #phone.acked == 50 end)
      end
      if round % 2 == 0 then phone.close() end
      s.kill()
      start()
    end
    phone.open()
    laptop.open()
    local last = send("last")
    want[n + 1] = "last"
    for _, d in ipairs { phone, laptop } do
      d.read_until("notification", function(data) return data.id == last end)
      assert.same(want, d.got)
      assert.equal(50, #d.acked)
      d.close()
    end
    local fresh = device()
    fresh.open()
    fresh.read_until("notification", function(data) return data.id == last end)
    assert.same({ 71, "m51" }, { #fresh.got, fresh.got[1] })
    fresh.close()
  end)

  it("does a step again whose webhook the process did not survive, and records it once", function()
    start()
    local id = send("fire", "critical")
    local first = pager:accept()
    assert.same({ "POST", "/page" }, { first.method, first.path })
    assert.matches("^" .. id:gsub("%-", "%%-") .. "%-%d+%-1$", first.headers["idempotency-key"])
    s.kill()
    first:close()
    start()
    local second = pager:accept()
    local body = json.decode(second.body)
    assert.same(json.decode(first.body), body)
    assert.same({ "bob", 1, "fire" }, { body.user, body.step, body.notification.message })
    second:send("HTTP/1.1 204 No Content\r\n\r\n")
    local d = device()
    d.open()
    d.read_until("escalation", function(data) return data.id == id and data.step == 1 and data.ok end)
    d.close()
    s.kill()
    start()
    local after = send("second fire", "critical")
    local third = pager:accept() -- and none of the first one again
    assert.matches("^" .. after:gsub("%-", "%%-") .. "%-%d+%-1$", third.headers["idempotency-key"])
    third:send("HTTP/1.1 204 No Content\r\n\r\n")
  end)
end)
