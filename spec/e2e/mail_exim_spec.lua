--- sluice.mail and a real mail server.
local deadline = require("spec.support.deadline")
local exim = require("spec.support.exim")
local json = require("sluice.json")
local mailing = require("spec.support.mailing")
local server = require("spec.support.server")

local s

local function send(o) return mailing.send(s, o) end

describe("sluice.mail and exim", function()
  local mx

  setup(function()
    s = mailing.start()
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
