--- The commands that take a URL, over TLS: whose certificates they take, and what they say when the scheme is that of
--- another port. One server that speaks both, and one socket that answers as no HTTP server does.
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")
local tls = require("spec.support.tls")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 100, rewind = "all" })
app:stream("/s", "news")
app:post("/once", function() app:publish("news", "n", {}) return 204 end)
app:post("/p", function() return 202, { id = "e-1" } end)
return app]]

local s, folder, files

-- The words of each command for a URL, what stands at its end of the path, and what it says when it worked.
local COMMANDS = {
  tail = { "/s", "--count", "1", says = "  n  " },
  ["wait-for"] = { "/s", "n", "--timeout", "600", says = "{}\n" }, -- which is not waited for
  publish = { "/p", "n", "{}", says = "e-1\n" },
  bench = { "/s", "-c", "3", "-d", "0.1", says = "\nreaders    3 of 3" },
  doctor = { "/s", "--seconds", "1", says = "^ok    stream " },
  record = { "/s", "-", says = '"event":"n"' },
  replay = { "/p", says = "1 events sent\n" },
}

local function words_of(name, base)
  local row = COMMANDS[name]
  if name == "replay" then return { SLUICE, name, folder .. "/r.jsonl", "--to", base .. row[1] } end
  return { SLUICE, name, base .. row[1], table.unpack(row, 2) }
end

-- Begin all of them; the function that is returned waits: { name = { code, text } }. What would go on is ended when it
-- has said what it says.
local function begin_all(base, more, env)
  local running, found = {}, {}
  for name in pairs(COMMANDS) do
    local words = words_of(name, base)
    for _, word in ipairs(more or {}) do words[#words + 1] = word end
    running[name] = process.spawn(words, { env = env })
  end
  return function()
    for name, p in pairs(running) do
      if name == "record" then
        deadline.eventually(function() return p:code() or p:log():find('"event":"n"', 1, true) end, 20, "an event")
        p:signal("INT")
      end
      found[name] = { p:wait(40), p:log() }
    end
    return found
  end
end

local function all_work(found)
  for name, result in pairs(found) do
    local code = name == "doctor" and result[1] or 0 -- other checks may find something
    if name == "doctor" then assert.matches("\nok    version ", result[2]) end -- which curl has looked at
    assert.equal(code, result[1], name .. ": " .. result[2])
    assert.matches(COMMANDS[name].says, result[2], 1, name ~= "doctor")
  end
end

-- All but doctor, which prints its findings, say one line on standard error, and end with 1.
local function all_say(pattern, base, more)
  local found = begin_all(base, more)()
  for name, result in pairs(found) do
    assert.equal(1, result[1], name .. ": " .. result[2])
    assert.matches(pattern, result[2])
    assert.falsy(result[2]:find("SSL routines", 1, true), name .. ": " .. result[2])
  end
end

describe("commands that take a URL", function()
  setup(function()
    files, folder = tls.files(), process.temp_dir()
    s = server.start { app = APP, tls = true }
    assert.equal(0, (process.run { "curl", "-sfk", "-X", "POST", s.url .. "/once" }))
    process.write_file(folder .. "/r.jsonl", '{"t":0,"event":"n","data":"{}"}\n')
    process.write_file(folder .. "/none.pem", "no certificate\n")
  end)
  teardown(function()
    process.stop_all()
    source.close_all()
    process.remove_dir(folder)
  end)

  it("trust what --cacert or SSL_CERT_FILE names, and with --insecure anything", function()
    local running = { begin_all(s.url, { "--cacert", files.ca }), begin_all(s.url, nil, { SSL_CERT_FILE = files.ca }),
      begin_all(s.url, { "--insecure" }) }
    for _, finish in ipairs(running) do all_work(finish()) end
  end)

  it("trust nothing else, and say what there is to do", function()
    local other = tls.make(folder, "other")
    for _, more in ipairs { {}, { "--cacert", other.ca } } do
      all_say("certificate[^\n]* %(%-%-cacert FILE trusts what [^\n]+, %-%-insecure any%)\n", s.url, more)
    end
  end)

  it("refuse a file that is none, and both at once", function()
    local list, wanted = {}, {}
    for name in pairs(COMMANDS) do
      for text, more in pairs { ["No such file"] = { "--cacert", folder .. "/gone.pem" },
        ["none.pem: there is no certificate in it"] = { "--cacert", folder .. "/none.pem" },
        ["exclude each other"] = { "--cacert", files.ca, "--insecure" } } do
        local words = words_of(name, s.url)
        for _, word in ipairs(more) do words[#words + 1] = word end
        list[#list + 1], wanted[#wanted + 1] = words, text
      end
    end
    for i, row in ipairs(process.run_beside(list)) do
      assert.equal(2, row[1], list[i][2] .. row[2])
      assert.matches(wanted[i], row[2], 1, true)
    end
  end)

  it("say that https:// leads to a port without TLS", function()
    all_say("speaks no TLS on this port: the [^\n]+http://", ("https://127.0.0.1:%d"):format(s.plain_port))
  end)

  it("say that http:// leads to a port with TLS, whatever that answers", function()
    all_say("begins with https://", (s.url:gsub("^https", "http")))
    local alert = source.listen() -- as OpenSSL's own server does
    local words = words_of("tail", alert.url)
    local p = process.spawn(words, {})
    local c = alert:accept()
    c:send("\21\3\1\0\2\2\70")
    c:close()
    assert.equal(1, p:wait(10))
    local wanted = "no HTTP: where the server speaks TLS on this port, the address begins with https://\n"
    assert.matches(wanted, p:log(), 1, true)
  end)
end)
