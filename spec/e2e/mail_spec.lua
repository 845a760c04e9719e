--- sluice.mail on a real server: against one whose every reply is the spec's, and against exim.
local deadline = require("spec.support.deadline")
local exim = require("spec.support.exim")
local json = require("sluice.json")
local live = require("spec.support.live")
local server = require("spec.support.server")
local smtp = require("spec.support.smtp")

local APP = [[
local mail = require("sluice.mail")
app:channel("news", { history = 10 })
app:stream("/news", "news")
app:post("/news", function() app:publish("news", "story", {}) end)
app:get("/quick", function() return "quick" end)
app:post("/send", function(req)
  local ok, sent, message, code, refused = pcall(mail.send, req:json())
  if not ok then return { raised = tostring(sent) } end
  return sent or { message = message, code = code, refused = refused }
end)
]]

local s

-- Ask the app to send and do not wait: a function that waits for what it says.
local function send(o)
  o.from, o.subject = o.from or "shop@example.org", o.subject or "A subject"
  o.text = o.text or "text\n.dot\n..two dots\n"
  local c = live.post_later(s, "/send", json.encode(o))
  return function()
    local answer = assert(c:response(20))
    c:close()
    assert(answer.status == 200, answer.body)
    return json.decode(answer.body)
  end
end

describe("sluice.mail", function()
  local m

  setup(function() s = live.start(APP) end)
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

describe("sluice.mail and exim", function()
  local mx

  setup(function()
    s = live.start(APP)
    mx = exim.start()
  end)
  teardown(function()
    server.stop_all()
    if mx then mx.stop() end
  end)

  it("get on over STARTTLS, signed in, with texts of any kind", function()
    local text = ("x"):rep(3000) .. "\n.\n.dot\nGrüße \u{1F600}\n\n"
    local sent = send({ url = mx.url, tls = "starttls", verify = false, user = "ann", password = "secret",
      to = "in@example.org", from = "Jörg <shop@example.org>", subject = ("Grüße "):rep(30), text = text,
      html = "<b>hi</b>" })()
    assert.same({ "in@example.org" }, sent.accepted, json.encode(sent))
    local mail = mx.mails()[1]
    assert.truthy(mail:find("Message-ID: " .. sent.id, 1, true), mail)
    assert.truthy(mail:find("esmtpsa", 1, true), "not over TLS and signed in: " .. mail)
    for line in mail:match("Date: .*$"):gmatch("[^\n]+") do
      assert.is_true(#line <= 90, line) -- exim writes the length of a field in front of it
    end
    local whole = mail:gsub("=\n", "")
    assert.truthy(whole:find(("x"):rep(3000) .. "\n.\n.dot\nGr=C3=BC=C3=9Fe =F0=9F=98=80\n", 1, true), mail)
  end)

  it("do not without the password, nor over a certificate that no one signed", function()
    local answer = send({ url = mx.url, to = "in@example.org" })()
    assert.same({ "EREFUSED", 550 }, { answer.code, answer.refused[1].status })
    answer = send({ url = mx.url, tls = "starttls", verify = false, user = "ann", password = "wrong",
      to = "in@example.org" })()
    assert.equal("EREFUSED", answer.code, json.encode(answer))
    assert.truthy(answer.message:find("535", 1, true), answer.message)
    answer = send({ url = mx.url, tls = "starttls", to = "ann@example.org" })()
    assert.equal("ECONNECT", answer.code)
    assert.truthy(answer.message:find("certificate", 1, true), answer.message)
  end)

  it("tell recipients apart, and try again when one is greylisted", function()
    local to = { "nobody@example.org", "grey@example.org", "ann@example.org" }
    local told = send { url = mx.url, to = to, retries = 20 }
    deadline.eventually(function() return #mx.mails() >= 2 end, 10, "a first mail")
    local file = assert(io.open(mx.folder .. "/greylisted", "w"))
    file:close()
    local sent = told()
    assert.same({ "ann@example.org", "grey@example.org" }, sent.accepted)
    assert.same({ { address = "nobody@example.org", status = 550, message = "no such user" } }, sent.refused)
    assert.equal("EREFUSED", send({ url = mx.url, to = "ann@example.org", subject = "spam" })().code)
  end)
end)
