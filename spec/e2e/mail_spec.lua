--- sluice.mail on a real server, against one whose every reply is the spec's (mail_exim_spec: exim).
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local mailing = require("spec.support.mailing")
local server = require("spec.support.server")
local smtp = require("spec.support.smtp")

local APP = [[
app:channel("news", { history = 10 })
app:stream("/news", "news")
app:post("/news", function() app:publish("news", "story", {}) end)
app:get("/quick", function() return "quick" end)
app:task("mail", function(o) mail.send(o) end)
app:post("/task", function(req) app:after(0, "mail", req:json(), { id = "m" }) end)
app:delete("/task", function() return { app:cancel("m", { running = true }) } end)
]]

local s

local function send(o) return mailing.send(s, o) end

describe("sluice.mail", function()
  local m

  setup(function() s = mailing.start(APP) end)
  teardown(server.stop_all)
  before_each(function() m = smtp.listen() end)
  after_each(smtp.close_all)

  it("says what a server expects, and what it got from it", function()
    local told = send { url = m.url, to = { "Ann <ann@example.org>", "bob@example.org" }, bcc = "eve@example.org" }
    local c = m:accept()
    assert.is_true(c:serve { rcpt = { "250 fine", "550-5.1.1 not\r\n550 5.1.1 here" } })
    assert.equal("shop@example.org", c.from)
    assert.same({ "ann@example.org", "bob@example.org", "eve@example.org" }, c.to)
    assert.truthy(c.text:find("\nTo: Ann <ann@example.org>,\n bob@example.org\n", 1, true), c.text)
    assert.falsy(c.text:find("eve@", 1, true))
    assert.truthy(c.text:find("\n\ntext\n.dot\n..two dots\n$"), c.text)
    local sent = told()
    assert.same({ { "ann@example.org", "eve@example.org" },
      { { address = "bob@example.org", status = 550, message = "5.1.1 here" } } }, { sent.accepted, sent.refused })
    assert.equal(c.text:match("\nMessage%-ID: (%S+)\n"), sent.id)
  end)

  -- What comes of a conversation.
  local function outcome(steps, greeting, o)
    o = o or {}
    o.url, o.to = m.url, o.to or "ann@example.org"
    local told = send(o)
    m:accept(greeting):serve(steps)
    return told()
  end

  it("says why nobody got it, and whether for good", function()
    for _, row in ipairs {
      { "EUPSTREAM", "421 busy", {}, "421 busy" },
      { "EREFUSED", "450 5.7.1 who are you", { mail = "550 5.7.1 not you" } },
      { "EREFUSED", "550 5.7.1 not you", { mail = "550 5.7.1 not you" } },
      { "EUPSTREAM", "451 4.7.1 greylisted", { rcpt = "451 4.7.1 greylisted" } },
      { "EREFUSED", "550 no such user", { rcpt = "550 no such user" } },
      { "EUPSTREAM", "452 full", { data = "452 full" } },
      { "EREFUSED", "554 spam", { text = "554 spam" } },
      { "EUPSTREAM", "451 later", { text = "451 later" } },
    } do
      local code, words, steps, greeting = table.unpack(row)
      local answer = outcome(steps, greeting)
      assert.equal(code, answer.code, words)
      if words ~= "450 5.7.1 who are you" then assert.truthy(answer.message:find(words, 1, true), answer.message) end
      assert.equal("ann@example.org", answer.refused[1].address)
    end
  end)

  it("says that a server broke off, wherever it does", function()
    local function drop() return nil end
    for _, step in ipairs { "helo", "mail", "rcpt", "data", "text" } do
      assert.equal("EUPSTREAM", outcome({ [step] = drop }).code, step)
    end
    assert.equal("EUPSTREAM", outcome({ data = function(c)
      c:say("354 go on")
      c:line()
      return nil
    end }).code)
    m.sock:close()
    assert.equal("ECONNECT", send({ url = m.url, to = "a@b.org" })().code)
  end)

  it("gives up a server that says nothing, and nobody else waits meanwhile", function()
    local told = send { url = m.url, to = "ann@example.org", timeout = 2 }
    local reader = live.connect(s, "/news")
    local c = m:accept(false)
    for _ = 1, 20 do
      local from = deadline.now()
      assert.equal("quick", s.get("/quick").body)
      s.post("/news", "")
      assert(reader:next_event(5))
      assert.is_true(deadline.since(from) < 1)
    end
    assert.equal("ETIMEOUT", told().code)
    c:close()
    reader:close()
  end)

  it("gives up a server that never answers the text, and nobody else waits meanwhile", function()
    local told = send { url = m.url, to = { "ann@example.org", "bob@example.org" }, timeout = 4 }
    local reader = live.connect(s, "/news")
    local answer
    m:accept():serve { rcpt = { "250 fine", "550 no" }, text = function()
      for _ = 1, 20 do
        local from = deadline.now()
        assert.equal("quick", s.get("/quick").body)
        s.post("/news", "")
        assert(reader:next_event(5))
        assert.is_true(deadline.since(from) < 1)
      end
      answer = told()
      return nil
    end }
    assert.equal("ETIMEOUT", answer.code)
    local refused = {}
    for _, one in ipairs(answer.refused) do refused[one.address] = one.status or "no answer" end
    assert.same({ ["ann@example.org"] = "no answer", ["bob@example.org"] = 550 }, refused)
    reader:close()
  end)

  it("is cut at once when its coroutine is closed, wherever it stands", function()
    for _, step in ipairs { "greeting", "rcpt", "text" } do
      s.post("/task", json.encode { url = m.url, from = "shop@example.org", to = "ann@example.org", subject = "A",
        text = "text", timeout = 60 })
      local c = m:accept(step ~= "greeting" and "220 mail.test ready")
      local function cancel()
        local from = deadline.now()
        assert.equal("[true]", http.request(s.port, "DELETE", "/task").body)
        while c:line() do end -- until the connection has gone
        assert.is_true(deadline.since(from) < 2, deadline.since(from) .. " s")
      end
      if step == "greeting" then cancel() else assert.is_false(c:serve { [step] = cancel }) end
    end
  end)

  it("holds no stop up, whatever a server thinks about", function()
    local before = s
    s = mailing.start(APP)
    send { url = m.url, to = "ann@example.org", timeout = 60 }
    send { url = m.url, to = "ann@example.org", timeout = 60 }
    m:accept(false)
    m:accept():serve { text = function()
      local from = deadline.now()
      assert.equal(0, s.stop())
      assert.is_true(deadline.since(from) < 8, deadline.since(from) .. " s")
      return nil
    end }
    s = before
  end)

  it("sends many at a time, and those that wait for others count the time", function()
    local told = {}
    for i = 1, 40 do told[i] = send { url = m.url, to = "ann@example.org", timeout = 3 } end
    for _ = 1, 32 do m:accept(false) end
    for i = 1, 40 do
      local answer = told[i]()
      assert.equal("ETIMEOUT", answer.code, json.encode(answer))
    end
    local after = send { url = m.url, to = "ann@example.org" }
    while true do
      local c = m:accept()
      if c:serve() then break end -- not one of those that were given up
    end
    assert.same({ "ann@example.org" }, after().accepted)
  end)

  it("signs in with what the server offers of what it has, and sends nothing unsigned", function()
    local user = { user = "shop@example.org", password = "secret" }
    for offer, said in pairs { ["GSSAPI PLAIN LOGIN"] = "AUTH PLAIN", ["GSSAPI NTLM CRAM-MD5"] = "AUTH CRAM-MD5" } do
      local told = send { url = m.url, to = "ann@example.org", user = user.user, password = user.password }
      local c = m:accept()
      assert.is_true(c:serve { helo = "250-mail.test\r\n250 AUTH " .. offer })
      assert.same({ "ann@example.org" }, told().accepted)
      assert.equal(said, c.heard[2])
    end
    for _, helo in ipairs { "250 mail.test", "250-mail.test\r\n250 AUTH GSSAPI NTLM" } do
      local told = send { url = m.url, to = "ann@example.org", user = user.user, password = user.password }
      local c = m:accept()
      c:serve { helo = helo }
      local answer = told()
      assert.equal("ECONNECT", answer.code)
      assert.truthy(answer.message:find("sign in", 1, true), answer.message)
      assert.same({}, c.to)
    end
    local answer = outcome({ helo = "250-mail.test\r\n250 AUTH PLAIN", auth = "535 who?" }, nil, user)
    assert.equal("EREFUSED", answer.code)
  end)

  it("takes a mail that is refused for refused, whatever was said to recipients", function()
    local to = { "ann@example.org", "bob@example.org" }
    local answer = outcome({ rcpt = { "250 fine", "550 no" }, text = "550 no" }, nil, { to = to })
    assert.equal("EREFUSED", answer.code)
    local refused = {}
    for _, one in ipairs(answer.refused) do refused[one.address] = one.status end
    assert.same({ ["ann@example.org"] = 550, ["bob@example.org"] = 550 }, refused)
  end)

  it("waits for no answer to QUIT", function()
    for _, steps in ipairs { {}, { rcpt = "550 no" } } do
      local told = send { url = m.url, to = "ann@example.org" }
      local c = m:accept()
      local took
      steps.quit = function()
        local from = deadline.now()
        assert.equal("quick", s.get("/quick").body)
        told()
        took = deadline.since(from)
        return "221 bye"
      end
      assert.is_true(c:serve(steps))
      assert.is_true(took < 5, took .. " s")
    end
  end)

  it("tries again what may pass, only for whom it may, and with the same id", function()
    local told = send { url = m.url, to = { "ann@example.org", "bob@example.org", "eve@example.org" }, retries = 3 }
    local first = m:accept()
    first:serve { rcpt = { "250 fine", "451 later", "550 no" } }
    m:accept("421 busy"):serve()
    local second = m:accept()
    second:serve()
    assert.same({ "bob@example.org" }, second.to)
    assert.equal(first.text, second.text)
    local sent = told()
    assert.same({ "ann@example.org", "bob@example.org" }, sent.accepted)
    assert.same({ "eve@example.org", 550 }, { sent.refused[1].address, sent.refused[1].status })
    told = send { url = m.url, to = "ann@example.org", retries = 3 }
    m:accept():serve { mail = "550 no" }
    assert.equal("EREFUSED", told().code)
    told = send { url = m.url, to = "ann@example.org", retries = 100, deadline = 0.3 }
    for _ = 1, 100 do
      m.sock:settimeout(deadline.after(1)())
      local sock = m.sock:accept()
      if not sock then break end
      sock:send("421 busy\r\n")
      sock:close()
    end
    assert.equal("EUPSTREAM", told().code)
  end)

  it("needs TLS and a good certificate where it is told to", function()
    local answer = outcome({}, nil, { tls = "starttls" })
    assert.equal("ECONNECT", answer.code)
    assert.truthy(answer.message:find("STARTTLS", 1, true), answer.message)
  end)

  it("refuses what would break out of a line, by name", function()
    for name, o in pairs {
      subject = { subject = "a\r\nBcc: eve@example.org" },
      to = { to = "ann@example.org>\r\nRCPT TO:<eve@example.org" },
      from = { from = "Shop\n <shop@example.org>" },
      cc = { cc = { { name = "a\nb", address = "a@b.org" } } },
      ["headers: 'X-A'"] = { headers = { ["X-A"] = "b\nc" } },
      ["headers: 'X A?'"] = { headers = { ["X A\n"] = "b" } },
      ["headers: 'Subject' is said by the option subject"] = { headers = { Subject = "b" } },
      id = { id = "a@b" },
    } do
      o.url, o.to = m.url, o.to or "ann@example.org"
      local answer = send(o)()
      assert.equal("EBADFIELD", answer.code, name)
      assert.truthy(answer.message:find("mail.send(): " .. name, 1, true), answer.message)
    end
    assert.equal("EBADFIELD", send({ url = m.url, to = {} })().code)
    for part, o in pairs { ["smtp://host:587"] = { url = "http://x" }, ["SMTP_URL"] = {}, ["unknown option 'tou'"] =
      { url = m.url, tou = "x" }, ["tls is"] = { url = m.url, tls = "yes" }, ["needs smtp://"] =
      { url = "smtps://x", tls = "none" } } do
      o.to = "a@b.org"
      local answer = send(o)()
      assert.truthy(answer.raised and answer.raised:find(part, 1, true), json.encode(answer))
    end
  end)
end)
