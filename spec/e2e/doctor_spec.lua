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

local folder, begun

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
  return "sh", "-c", ("kill -KILL %d; while [ ! -e %s/%d ]; do sleep 0.05; done"):format(s.pid, folder, s.port)
end

-- The server dies, and is started again when a request through this proxy has met nobody.
local function revive(s, front, ...)
  deadline.eventually(function() return s.code() end, 30, "the server is killed")
  deadline.eventually(function() return front.log():find("connect() failed", 1, true) end, 30, "it is missed")
  local again = start({ port = s.port }, ...)
  process.write_file(("%s/%d"):format(folder, s.port), "")
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

-- All that waits for heartbeats and for what does not come begins at once, and is judged later.
local function begin_all()
  local words, all = { "--trust-proxy", "yes", "--heartbeat", "1" }, {}
  all.talkative = server.start { app = [[
    local app = require("sluice").app()
    app:stream("/api/news", "news")
    app:every(0.2, function() app:publish("news", "n", {}) end)
    return app]], args = { "--heartbeat", "2" } }
  all.heard = begin(all.talkative.port, "--seconds", "1.5")
  if not proxies.installed("nginx") then return all end
  all.good, all.bare = start({}, table.unpack(words)), start({}, table.unpack(words))
  local good_front, bare_front = proxies.start("nginx", all.good.port), nginx(all.bare)
  all.behind_good = begin(good_front.port, "--socket", all.good.socket, "--origin", PAGE, "--", killer(all.good))
  all.behind_bare = begin(bare_front.port, "--socket", all.bare.socket, "--", killer(all.bare))
  local s, slow = start({}, "--heartbeat", "1"), start({}, "--heartbeat", "15")
  local trusting = start({}, "--heartbeat", "1", "--trust-proxy", "yes")
  local host = "proxy_set_header Host $http_host; "
  local held = host .. "proxy_ignore_headers X-Accel-Buffering; proxy_buffering on;"
  local freed = held:gsub("proxy_buffering on;", fixes.REMEDIES.buffering.nginx[1]:match("[^#]+"))
  all.planted = {
    held = begin(nginx(s, held).port), freed = begin(nginx(s, freed).port),
    cut = begin(nginx(slow, host .. "proxy_read_timeout 1s;").port),
    idle = begin(lab.start(slow.url, { "--idle", "1" }).port, "--proxy", "all"),
    deaf = begin(nginx(s, host .. 'proxy_set_header Last-Event-ID "";').port, "--origin", "https://another.example"),
    direct = begin(s.port, "--origin", PAGE),
    untrusted = begin(proxies.start("nginx", s.port).port, "--socket", s.socket),
    alone = begin(trusting.port, "--socket", trusting.socket),
  }
  revive(all.good, good_front, table.unpack(words))
  revive(all.bare, bare_front, table.unpack(words))
  return all
end

describe("sluice doctor", function()
  setup(function()
    folder = process.temp_dir()
    begun = begin_all()
  end)
  teardown(function()
    process.stop_all()
    process.remove_dir(folder)
    source.close_all()
  end)

  it("finds compression that holds back, and what comes from a cache", function()
    local one, other = source.listen(), source.listen()
    local more = { "--json", "--seconds", "1", "--proxy", "varnish" }
    local packing = process.spawn({ SLUICE, "doctor", one.url, table.unpack(more) }, {})
    local caching = process.spawn({ SLUICE, "doctor", other.url, "--seconds", "1" }, {})
    local plain = one:accept()
    assert.equal(nil, plain.headers["accept-encoding"])
    plain:stream("data: a\n\n")
    other:accept():send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nAge: 7\r\n\r\ndata: a\n\n")
    local packed = one:accept(10)
    assert.matches("gzip", packed.headers["accept-encoding"])
    packed:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n")
    assert.equal(1, caching:wait(30))
    local text = caching:log()
    assert.matches("^fault stream       the answer comes from a cache", text)
    assert.matches("\nAgainst cache:\n  Sluice\n    The answer says Cache%-Control: no%-store", text)
    local rows, code = outcome(packing)
    assert.same({ "compression", 1 }, { faults(rows), code })
    assert.equal("nothing came for 1 s, and the stream stayed open", rows.idle.text) -- though it has no sync
    says(rows.compression, "Varnish", "set beresp.do_gzip = false;")
  end)

  it("finds nothing wrong behind nginx as doc/operating.md has it, nor over a restart", function()
    if not there("nginx") then return end
    local rows, code, found = outcome(begun.behind_good)
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
    local rows, code = outcome(begun.behind_bare)
    assert.same({ "address host restart", 1 }, { faults(rows), code }, json.encode(rows))
    assert.matches("answered 502: a browser's EventSource ends", rows.restart.text)
    says(rows.address, "nginx", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;")
    says(rows.host, "nginx", "proxy_set_header Host $http_host;")
    says(rows.restart, "nginx", "error_page 502 503 504 = @away;")
    assert.equal("", lines_of(rows.host, "Apache")) -- only what stands there is spoken of
  end)

  it("finds each fault that is planted, and what helps helps", function()
    if not there("nginx") then return end
    local rows = {}
    for name, p in pairs(begun.planted) do rows[name] = outcome(p) end
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

  it("goes on where a redirect leads to", function()
    local s = server.start { app = APP, tls = true, args = { "--tls-redirect", "yes" } }
    local rows, code = outcome(begin(s.plain_port, "--insecure", "--seconds", "1"))
    assert.equal(0, code)
    assert.matches("; moved to https://127.0.0.1:%d+/api/news$", rows.stream.text)
    assert.same({ "ok", "HTTP/2" }, { rows.version.verdict, rows.version.text })
  end)

  it("does not call a stream silent on which events come", function()
    local rows = outcome(begun.heard)
    assert.same({ "", "note" }, { faults(rows), rows.idle.verdict })
    assert.matches("^events came all the time", rows.idle.text)
  end)

  it("says why there is no stream, and refuses what makes no sense", function()
    local s, running = start({}), {}
    local function look(wanted, pattern, url, ...)
      running[#running + 1] = { wanted, pattern, process.spawn({ SLUICE, "doctor", url, ... }, {}) }
    end
    look(1, "status 404: there is no such stream", s.url .. "/none")
    look(1, "status 403: this reader may not read it", s.url .. "/api/closed")
    look(1, "status 421: the server does not answer to this name: start it with %-%-allow%-host", s.url .. "/api/news",
      "--header", "Host: other.example")
    look(1, "^fault stream       Failed to connect ", "http://127.0.0.1:1/")
    for _, words in ipairs { { "nonsense" }, { s.url, "--seconds", "0" }, { s.url, "--origin", "https://a/b" },
      { s.url, "--proxy", "iis" }, { s.url, "--header", "x" } } do
      look(2, "\nError: ", table.unpack(words))
    end
    for _, row in ipairs(running) do
      assert.equal(row[1], row[3]:wait(30), row[3]:log())
      assert.matches(row[2], row[3]:log())
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
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    process.stop_all()
    process.remove_dir(folder)
  end)

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
