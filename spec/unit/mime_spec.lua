--- What a mail looks like on the wire, read back by a parser written apart.
local crypto = require("sluice.crypto")
local mime = require("sluice.out.mime")

-- Fields by name in lower case, unfolded, and the body.
local function parse(text)
  local head, body = text:match("^(.-)\r\n\r\n(.*)$")
  local fields = {}
  for name, value in (head:gsub("\r\n([ \t])", "%1") .. "\r\n"):gmatch("([%w-]+): ?(.-)\r\n") do
    assert(not fields[name:lower()], name .. " is there twice")
    fields[name:lower()] = value
  end
  return fields, body
end

local function decode_words(text)
  text = text:gsub("%?= =%?", "?==?")
  return (text:gsub("=%?UTF%-8%?B%?([%w+/=]*)%?=", function(word)
    local bytes = crypto.from_base64url((word:gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" })))
    assert(utf8.len(bytes), "a character is cut")
    return bytes
  end))
end

local function decode_quoted(text)
  return (text:gsub("=\r\n", ""):gsub("=(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function compose(o)
  local all = { from = "a@b.org", to = "c@d.org", subject = "s", text = "t", id = "i", date = 0 }
  for name, value in pairs(o or {}) do all[name] = value end
  return mime.compose(all)
end

describe("a mail", function()
  it("is the same to the byte for the same message", function()
    assert.equal("Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <i@b.org>\r\nFrom: a@b.org\r\nTo: c@d.org\r\n"
      .. "Subject: s\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
      .. "charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\nt\r\n", compose().text)
  end)

  it("has ASCII lines of at most 78 bytes, from which its texts can be read", function()
    math.randomseed(tonumber(os.getenv("SEED")) or 7)
    local pieces = { "a", "word", " ", "=", "=?UTF-8?B?", "ü", "\u{1F600}", ".", '"', "\\", ",", "<b>",
      "From ", ("x"):rep(90) }
    local function random(n, more)
      local out = {}
      for i = 1, math.random(0, n) do
        local at = math.random(#pieces + #more)
        out[i] = pieces[at] or more[at - #pieces]
      end
      return table.concat(out)
    end
    for _ = 1, 400 do
      local subject, name, text = random(30, {}), random(4, {}), random(80, { "\n", "\n.", "\t", " \n", "\r\n", "\0" })
      local mail, message = compose { subject = subject, text = text, html = math.random(2) == 1 and text or nil,
        to = { { name = #name > 0 and #name < 200 and name or nil, address = "c@d.org" }, "e@f.org" } }
      assert(mail, message)
      for line in mail.text:gmatch("(.-)\r\n") do
        assert.is_true(#line <= 78 and not line:find("[^\t -~]"), line)
      end
      assert.falsy(mail.text:gsub("\r\n", ""):find("[\r\n]"))
      local fields, body = parse(mail.text)
      assert.equal(subject, decode_words(fields.subject))
      assert.truthy(fields.to:find("<c@d.org>, e@f.org$") or fields.to == "c@d.org, e@f.org", fields.to)
      local boundary = fields["content-type"]:match('boundary="(.-)"')
      if boundary then
        local first = "--" .. boundary .. "\r\n"
        assert.equal(first, body:sub(1, #first))
        fields, body = parse(body:sub(#first + 1, body:find("\r\n--" .. boundary, 1, true) - 1))
      end
      if fields["content-transfer-encoding"] == "quoted-printable" then body = decode_quoted(body) end
      -- line ends at the end of a part say nothing
      local wanted = text:gsub("\r\n", "\n"):gsub("\r", "\n"):gsub("\n+$", "")
      assert.equal(wanted, (body:gsub("\r\n", "\n"):gsub("\n+$", "")))
    end
  end)

  it("keeps the line ends of a text that has a form in HTML beside it", function()
    for text, wanted in pairs { ["a"] = "a", ["a\n"] = "a\r\n", ["a\r\n\r\n"] = "a\r\n\r\n", ["\n\nü\n\n\n"] =
      "\r\n\r\n=C3=BC\r\n\r\n\r\n" } do
      local _, body = parse(compose({ text = text, html = "<b>" .. text }).text)
      local parts = {}
      for part in body:gmatch("\r\n\r\n(.-)\r\n%-%-=_") do parts[#parts + 1] = part end
      assert.same({ wanted, "<b>" .. wanted }, parts)
      local alone = select(2, parse(compose({ text = text }).text))
      assert.equal(text == "a" and "a\r\n" or wanted, alone)
    end
  end)

  it("is written within a moment, however large its texts are", function()
    for _, text in ipairs { ("漢"):rep(10 << 18), ("Grüße, "):rep(15):rep(10 << 12, "\n"), (".\n"):rep(5 << 20),
      ("y"):rep(10 << 20) } do
      local from = os.clock()
      assert(compose { text = text })
      assert.is_true(os.clock() - from < 4, os.clock() - from .. " s of a processor")
    end
  end)

  it("names nobody that nobody should see", function()
    local mail = compose { to = {}, bcc = { "x@y.org", "x@y.org" } }
    assert.same({ "x@y.org" }, mail.to)
    assert.falsy(mail.text:find("x@y", 1, true))
    assert.truthy(mail.text:find("\r\nTo: undisclosed-recipients:;\r\n", 1, true))
  end)

  it("refuses addresses that are none", function()
    for _, bad in ipairs { "a", "a@", "@b", "a@b c", "a b@c", "a@b,c@d", "a@-b", "a..b@c", ".a@c", "a.@c", "a@b..c",
      "ü@b.org", "a@ü.org", "<>", "a@b>", "a@b\0", ("a"):rep(65) .. "@b", "a@" .. ("b."):rep(130) .. "c", "Ann <a@b> x",
      7, {}, { name = 7 }, { address = "a@b", name = "\n" }, { address = "a@b", name = "\xff" } } do
      local mail, message = compose { to = { bad } }
      assert.is_nil(mail, tostring(bad))
      assert.truthy(message:find("^to: "), message)
    end
    for _, good in ipairs { "a@b", "a.b+c@d-e.org", "Ann <a@b.org>", '"Q, \\"X\\"" <a@b.org>', "a@[127.0.0.1]",
      "o'neil!#$%&*/=?^_`{|}~-@b.org", { address = "a@b.org" }, { name = "Ann\\", address = "a@b.org" } } do
      assert(compose { to = { good } })
    end
  end)
end)
