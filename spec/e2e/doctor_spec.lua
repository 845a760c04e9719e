--- `sluice doctor` on real proxies, and through our own lab: it finds each fault that is planted, says what
--- helps, and finds none in the configurations of doc/operating.md. (The other proxies: SLUICE_SPEC_FULL.)
local deadline = require("spec.support.deadline")
local fixes = require("sluice.command.doctor.fixes")
local json = require("sluice.json")
local lab = require("spec.support.lab")
local lfs = require("lfs")
local process = require("spec.support.process")
local proxies = require("spec.support.proxies")
local server = require("spec.support.server")
local source = require("spec.support.source")
local tree = require("spec.support.tree")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"
local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"
local PAGE = "https://www.example"

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 100 })
app:stream("/api/news", "news")
app:stream("/api/closed", function() return 403 end)
app:cors("/api/news", { origins = { "https://www.example" }, credentials = true })
app:post("/api/publish", function() app:publish("news", "n", {}) return 204 end)
return app]]

-- nginx as it is told by most, with these lines in its location.
local function nginx(s, lines)
  return proxies.start("nginx", s.port, { block = proxies.BARE:gsub("; }", "; " .. (lines or "") .. " }", 1) })
end

local function start(options, ...)
  local s = server.start { app = APP, port = options.port, args = { "--allow-host", "app.example", ... } }
  s.socket = ("%s/sluice/%d.sock"):format(s.folder, s.port)
  process.run { "curl", "-s", "-X", "POST", s.url .. "/api/publish" } -- so that there is an id to come back with
  return s
end

local folder

-- Begin to look, and what was found then: by check; the exit code; the whole.
local function begin(port, ...)
  local url = ("http://127.0.0.1:%d/api/news"):format(port)
  return process.spawn({ SLUICE, "doctor", url, "--json", ... }, {})
end

local function outcome(p)
  local code, rows = p:wait(60), {}
  local found = json.decode(p:log():match("({[^\n]*})%s*$") or "")
  assert(found, p:log())
  for _, row in ipairs(found.checks) do rows[row.check] = row end
  return rows, code, found
end

-- A program for behind --: it kills the server, and ends when that is there again.
local function killer(s)
  return "sh", "-c", ("kill -KILL %d; while [ ! -e %s/again ]; do sleep 0.05; done"):format(s.pid, folder)
end

-- The server dies, and is started again.
local function revive(s, ...)
  deadline.eventually(function() return s.code() end, 30, "the server is killed")
  local again = start({ port = s.port }, ...)
  process.write_file(folder .. "/again", "")
  return again
end

-- The checks that found a fault.
local function faults(rows)
  local list = {}
  for name, row in pairs(rows) do
    if row.verdict == "fault" then list[#list + 1] = name end
  end
  table.sort(list)
  return table.concat(list, " ")
end

-- What is said against a fault of nginx.
local function lines_of(row, title)
  for _, one in ipairs(row.remedies or {}) do
    if one.of == title then return table.concat(one.lines, "\n") end
  end
  return ""
end

local function says(row, title, text)
  assert.truthy(lines_of(row, title):find(text, 1, true), json.encode(row))
end

local function there(...)
  if proxies.installed(...) then return true end
  pending(table.concat({ ... }, ", ") .. " is not installed")
end

before_each(function() folder = process.temp_dir() end)
after_each(function()
  process.stop_all()
  process.remove_dir(folder)
  source.close_all()
end)

describe("sluice doctor", function()
  it("finds nothing wrong behind nginx as doc/operating.md has it, nor over a restart", function()
    if not there("nginx") then return end
    local words = { "--trust-proxy", "yes", "--heartbeat", "1" }
    local s = start({}, table.unpack(words))
    local front = proxies.start("nginx", s.port)
    local p = begin(front.port, "--socket", s.socket, "--origin", PAGE, "--", killer(s))
    revive(s, table.unpack(words))
    local rows, code, found = outcome(p)
    assert.same({ "", 0, true, "nginx" }, { faults(rows), code, found.ok, found.proxy }, json.encode(found))
    for _, name in ipairs { "stream", "buffering", "idle", "compression", "resume", "host", "address", "cors",
      "restart" } do
      assert.equal("ok", rows[name].verdict, name .. ": " .. rows[name].text)
    end
    assert.matches("the server takes 127.0.0.1 for this reader", rows.address.text)
    assert.matches("comes back by itself", rows.restart.text)
  end)

  it("finds what nginx does that is told nothing: address, host, restart", function()
    if not there("nginx") then return end
    local words = { "--trust-proxy", "yes", "--heartbeat", "1" }
    local s = start({}, table.unpack(words))
    local p = begin(nginx(s).port, "--socket", s.socket, "--", killer(s))
    revive(s, table.unpack(words))
    local rows, code = outcome(p)
    assert.same({ "address host restart", 1 }, { faults(rows), code }, json.encode(rows))
    assert.matches("answered 502: a browser's EventSource ends", rows.restart.text)
    says(rows.address, "nginx", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;")
    says(rows.host, "nginx", "proxy_set_header Host $http_host;")
    says(rows.restart, "nginx", "error_page 502 503 504 = @away;")
    assert.equal("", lines_of(rows.host, "Apache")) -- only what stands there is spoken of
  end)

  it("finds each fault that is planted, and what helps helps", function()
    if not there("nginx") then return end
    local s, slow = start({}, "--heartbeat", "1"), start({}, "--heartbeat", "15")
    local trusting = start({}, "--heartbeat", "1", "--trust-proxy", "yes")
    local host = "proxy_set_header Host $http_host; "
    local held = host .. "proxy_ignore_headers X-Accel-Buffering; proxy_buffering on;"
    local freed = held:gsub("proxy_buffering on;", fixes.REMEDIES.buffering.nginx[1]:match("[^#]+"))
    local all = {
      held = begin(nginx(s, held).port), freed = begin(nginx(s, freed).port),
      cut = begin(nginx(slow, host .. "proxy_read_timeout 1s;").port),
      idle = begin(lab.start(slow.url, { "--idle", "1" }).port, "--proxy", "all"),
      deaf = begin(nginx(s, host .. 'proxy_set_header Last-Event-ID "";').port, "--origin", "https://another.example"),
      direct = begin(s.port, "--origin", PAGE),
      untrusted = begin(proxies.start("nginx", s.port).port, "--socket", s.socket),
      alone = begin(trusting.port, "--socket", trusting.socket),
    }
    local rows = {}
    for name, p in pairs(all) do rows[name] = outcome(p) end
    local found = {}
    for name, list in pairs(rows) do found[name] = faults(list) end
    assert.same({ held = "stream", freed = "", cut = "idle", idle = "idle", deaf = "cors resume", direct = "",
      untrusted = "address", alone = "address" }, found)
    assert.matches("something holds it back", rows.held.stream.text)
    says(rows.held.stream, "nginx", "proxy_buffering off;")
    assert.matches("cut after 1%.%d s %(heartbeats come every 15 s%)", rows.cut.idle.text)
    says(rows.cut.idle, "nginx", "proxy_read_timeout 1h;")
    says(rows.idle.idle, "HAProxy", "timeout server 1h")
    says(rows.idle.idle, "Cloudflare, untested", "100 s")
    says(rows.deaf.cors, "Sluice", 'origins = { "https://another.example" }')
    assert.matches("Last%-Event%-ID does not arrive", rows.deaf.resume.text)
    assert.same({ "ok", "ok" }, { rows.direct.cors.verdict, rows.direct.resume.verdict })
    says(rows.untrusted.address, "Sluice", "--trust-proxy yes")
  end)

  it("finds compression that holds back, and what comes from a cache", function()
    local s = source.listen()
    local p = process.spawn({ SLUICE, "doctor", s.url, "--json", "--seconds", "1", "--proxy", "varnish" }, {})
    local plain = s:accept()
    assert.equal(nil, plain.headers["accept-encoding"])
    plain:stream("data: a\n\n")
    local packed = s:accept(10)
    assert.matches("gzip", packed.headers["accept-encoding"])
    packed:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n")
    assert.equal(1, p:wait(30))
    local rows = {}
    for _, row in ipairs(json.decode(p:log()).checks) do rows[row.check] = row end
    assert.equal("compression", faults(rows))
    says(rows.compression, "Varnish", "set beresp.do_gzip = false;")
    p = process.spawn({ SLUICE, "doctor", s.url, "--seconds", "1" }, {})
    s:accept():send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nAge: 7\r\n\r\ndata: a\n\n")
    assert.equal(1, p:wait(30))
    assert.matches("^fault stream       the answer comes from a cache", p:log())
    assert.matches("\nAgainst cache:\n  Sluice\n    The answer says Cache%-Control: no%-store", p:log())
  end)

  it("does not call a stream silent on which events come", function()
    local s = server.start { app = [[
      local app = require("sluice").app()
      app:stream("/api/news", "news")
      app:every(0.2, function() app:publish("news", "n", {}) end)
      return app]], args = { "--heartbeat", "2" } }
    local rows = outcome(begin(s.port, "--seconds", "1.5"))
    assert.same({ "", "note" }, { faults(rows), rows.idle.verdict })
    assert.matches("^events came all the time", rows.idle.text)
  end)

  it("says why there is no stream, and refuses what makes no sense", function()
    local s = start({})
    local function refuses(pattern, url, ...)
      local code, text = process.run { SLUICE, "doctor", url, ... }
      assert.equal(1, code, text)
      assert.matches(pattern, text)
    end
    refuses("status 404: there is no such stream", s.url .. "/none")
    refuses("status 403: this reader may not read it", s.url .. "/api/closed")
    refuses("status 421: the server does not answer to this name: start it with %-%-allow%-host", s.url .. "/api/news",
      "--header", "Host: other.example")
    refuses("^fault stream       Failed to connect ", "http://127.0.0.1:1/")
    for _, words in ipairs { { "nonsense" }, { s.url, "--seconds", "0" }, { s.url, "--origin", "https://a/b" },
      { s.url, "--proxy", "iis" }, { s.url, "--header", "x" } } do
      assert.equal(2, (process.run { SLUICE, "doctor", table.unpack(words) }))
    end
  end)

  it("recommends lines that doc/operating.md has, which its specs run", function()
    local page, seen = tree.read("doc/operating.md"):gsub("[ \n]+", " "), 0
    for _, remedy in ipairs { "idle", "host", "address", "restart" } do
      for _, one in ipairs(fixes.of(remedy)) do
        for _, line in ipairs(one[1] ~= "Sluice" and one[2] or {}) do
          local text = line:gsub("%s*#.*$", ""):match("^%s*(.-)$"):gsub(" +", " ")
          local default = text:find("^ProxyAddHeaders") -- what Apache does unless told
          if text ~= "" and not default and not one[1]:find("untested") then
            assert.truthy(page:find(text, 1, true), one[1] .. ": " .. text)
            seen = seen + 1
          end
        end
      end
    end
    assert.is_true(seen > 25, seen .. " lines")
  end)
end)

describe("sluice doctor behind the other proxies", function()
  -- A proxy, what is changed in its configuration, and what that does.
  local PLANTED = {
    { "varnish", "sub vcl_backend_error {", "sub vcl_backend_response { set beresp.do_gzip = true; }\n%0",
      "stream" }, -- it compresses, and then unpacks for who asks for plain bytes
    { "varnish", "%.between_bytes_timeout = 1h;", ".between_bytes_timeout = 1s;", "idle" },
    { "haproxy", "    option forwardfor\n", "", "address" },
    { "haproxy", "timeout server 1h", "timeout server 1s", "idle" },
    { "haproxy", "default_backend others", "http-request set-header Host other.example\n%0", "host" },
    { "apache", "ProxyPreserveHost On", "", "host" },
    { "lighttpd", "server.stream%-response%-body = 2", "server.stream-response-body = 0", "stream" },
  }

  local whole_it = FULL and it or function() end

  whole_it("finds what is planted there", function()
    if not there("haproxy", "varnish", "apache", "lighttpd") then return end
    local s = start({}, "--trust-proxy", "yes", "--heartbeat", "5", "--allow-host", "app.example,other.example")
    for _, row in ipairs(PLANTED) do
      local name, from, to, wanted = table.unpack(row)
      local from_text = from:gsub("%%", "")
      local front = proxies.start(name, s.port, { edit = { [from_text] = (from_text:gsub(from, to)) } })
      local rows = outcome(begin(front.port, "--socket", s.socket, "--proxy", name))
      assert.equal(wanted, faults(rows), name .. " " .. from .. " " .. json.encode(rows))
      assert.is_true(#rows[wanted].remedies == 2, json.encode(rows[wanted]))
      front.stop()
    end
  end)

  whole_it("knows HTTP/2", function()
    if not there("nginx") then return end
    local s = start({}, "--heartbeat", "1")
    local front = proxies.start("nginx", s.port, { tls = true })
    local url = ("https://127.0.0.1:%d/api/news"):format(front.port)
    local code, text = process.run { SLUICE, "doctor", url, "--insecure" }
    assert.equal(0, code, text)
    assert.matches("\nok    version      HTTP/2\n", text)
    assert.matches("\nok    host ", text)
    code, text = process.run { SLUICE, "doctor", url }
    assert.equal(1, code)
    assert.matches("^fault stream +[^\n]*certificate", text)
  end)

  for _, name in ipairs { "haproxy", "varnish", "caddy", "apache", "lighttpd" } do
    local title = "finds nothing wrong behind " .. name .. " as doc/operating.md has it"
    if FULL or name == "haproxy" then
      it(title, function()
        if not there(name) then return end
        local s = start({}, "--trust-proxy", "yes", "--heartbeat", "1")
        local front = proxies.start(name, s.port)
        local rows, code, found = outcome(begin(front.port, "--socket", s.socket, "--origin", PAGE))
        assert.same({ "", 0 }, { faults(rows), code }, json.encode(rows))
        assert.equal(name ~= "haproxy" and name or nil, found.proxy)
        front.stop()
      end)
    end
  end
end)
