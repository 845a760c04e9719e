--- The command line and the settings: exit codes, precedence, what is said.
local rehearsal = require("spec.support.rehearsal")
local cli = require("sluice.command.cli")
local config = require("sluice.live.config")
local process = require("spec.support.process")

after_each(rehearsal.stop)

local sink = rehearsal.sink

describe("sluice", function()
  local folder, ran

  before_each(function()
    folder, ran = process.temp_dir(), nil
    rehearsal.keep_log()
    rehearsal.stub_server(function(server) ran = server end)
    rehearsal.stub("runtime_dir", function() return nil end)
    rehearsal.stub("spawn", function() return nil, "no programs here" end)
  end)
  after_each(function()
    process.remove_dir(folder)
  end)

  local function run(...)
    local out, err = sink(), sink()
    local code = cli.main({ ... }, out, err)
    return code, out.text(), err.text()
  end

  local function app(text)
    process.write_file(folder .. "/app.lua", text)
    return folder .. "/app.lua"
  end

  local GOOD = 'return require("sluice").app()'

  it("prints its version", function()
    for _, word in ipairs({ "version", "--version", "-v" }) do
      local code, out = run(word)
      assert.equal(0, code)
      local first, rest = out:match("^(.-\n)(.*)$")
      assert.equal("sluice " .. rehearsal.core.version .. "\n", first)
      if word ~= "version" then assert.equal("", rest)
      else
        assert.matches("^built by [^\n]+ for %w+[^\n]*\nwith lua 5%.4%.%d+, libev 4%.%d+, libcurl [%d.]+, "
          .. "openssl 3[%d.]+, sqlite 3[%d.]+, zlib 1[%d.]+, zstd 1[%d.]+, "
          .. "nghttp2 %w[%d.]*o?n?e?, liburing %w[%d.]*o?n?e?, hiredis %w[%d.]*o?n?e?\nio_uring: [^\n]+\n$", rest)
      end
    end
  end)

  it("prints what it is made of as JSON", function()
    local code, out = run("version", "--json")
    assert.equal(0, code)
    local about = require("cjson").decode(out)
    assert.equal(rehearsal.core.version, about.version)
    assert.equal("boolean", type(about.io_uring.usable))
    local zlib = select(2, process.run({ "pkg-config", "--modversion", "zlib" })):match("^%d+%.%d+")
    assert.equal(zlib, about.libraries.zlib:match("^%d+%.%d+"))
    assert.matches("^gcc %d", about.compiler)
    assert.equal(select(2, process.run({ "uname", "-m" })), about.machine .. "\n")
    assert.falsy(out:find(os.date("%Y"), 1, true), out) -- no date of the build
  end)

  it("lists its commands once, and gives shells what they load", function()
    local code, out, err = run("completion", "bash")
    assert.same({ 0, "" }, { code, err })
    for _, row in ipairs(config.SETTINGS) do
      assert.truthy(out:find("--" .. row[1]:gsub("_", "-"), 1, true), row[1])
    end
    assert.truthy(out:find('compgen -W "auto on off"', 1, true))
    assert.equal(2, (run("completion")))
  end)

  it("ends with 2 for a wrong use, and names the nearest flag or command", function()
    local path = app(GOOD)
    local cases = {
      { "a command is missing" }, { "Did you mean 'run'", "rnu" }, { "missing argument 'app'", "run" },
      { "Did you mean '%-%-port'", "run", path, "--prot", "1" },
      { "%-%-port: a whole number from 0 to 65535 is expected, not 'x'", "run", path, "--port", "x" },
      { "%-%-drain: a number of seconds from 0 to 3600", "run", path, "--drain=-1" },
      { "%-%-max%-body: a size from 1 bytes", "run", path, "--max-body", "big" },
      { "%-%-log%-level: one of debug, info, warn, error, off", "run", path, "--log-level", "loud" },
      { "%-%-demo: its keys are known to everybody.*not '0.0.0.0'", "run", path, "--demo", "--host", "0.0.0.0" },
      { "%-%-demo: its keys are known to everybody.*not '0.0.0.0'", "demo", "--host", "0.0.0.0" },
      { "too many arguments", "demo", path },
      { "unknown command 'nope'", "help", "nope" },
      { "Did you mean 'reload'", "help", "relaod" },
      { "Did you mean", "run", path, "--no-watc" },
      { "Error: write: sluice run app.lua\n", "app.lua" },
      { "exclude each other", "reload", "--dry-run", "--rollback" },
      { "too many arguments", "run", path, path },
    }
    for _, case in ipairs(cases) do
      local code, _, err = run(table.unpack(case, 2))
      assert.equal(2, code, case[1])
      assert.matches(case[1], err)
      assert.matches("^Usage: sluice", err)
      local name = case[2] ~= "help" and case[2] ~= "rnu" and case[2] ~= "app.lua" and case[2]
      if name then assert.matches("^Usage: sluice " .. name, err) end
      assert.matches(name and "\nTry: sluice help " .. name .. "\n$" or "\nTry: sluice help\n$", err)
    end
    assert.is_nil(ran)
  end)

  it("ends with 1 when the script is broken, with file and line", function()
    local code, _, err = run("run", app("local app = require('sluice').app()\nerror('broken')"))
    assert.equal(1, code)
    local wanted = ("sluice: %s/app.lua:2: broken\n  %s/app.lua:2: in the main chunk\n"):format(folder, folder)
    assert.equal(wanted, err:sub(1, #wanted))
    code, _, err = run("run", folder .. "/none.lua")
    assert.equal(1, code)
    assert.equal(("sluice: %s/none.lua: there is no such file\n"):format(folder), err)
  end)

  it("serves, and logs the address in one line", function()
    local code = run("run", app(GOOD), "--port", "0", "--no-watch", "--io-threads", "2", "--handler-budget", "1",
      "--trust-proxy", "yes", "--allow-host", "example.org", "--memory", "64m", "--drain", "0.5")
    assert.equal(0, code)
    local options = ran.options
    assert.same({ 0, 2, "127.0.0.1", 64 * 1024 * 1024, 0.5, true },
      { options.port, options.io_threads, options.host, options.memory, options.drain, options.signals })
    assert.is_true(options.trust_proxy)
    assert.same({ "example.org" }, options.allow_hosts)
    assert.matches("^serving .*app.lua on http://127.0.0.1:40000$", rehearsal.lines()[#rehearsal.lines()].message)
  end)

  it("serves the showcase, and says when it is not there", function()
    assert.equal(0, (run("demo", "--port", "0", "--no-watch")))
    assert.same({ 0, "127.0.0.1" }, { ran.options.port, ran.options.host })
    local said = {}
    for i, line in ipairs(rehearsal.lines()) do said[i] = line.message end
    assert.matches("\nserving /[^\n]*/examples/showcase/app.lua on http://127.0.0.1:40000\n",
      "\n" .. table.concat(said, "\n") .. "\n")
    rehearsal.stub("real_path", function() return nil end)
    local code, _, err = run("demo")
    assert.equal(1, code)
    assert.matches("^sluice: the showcase is not installed: there is no .*/examples/showcase/app.lua\n$", err)
  end)

  it("has a demo mode on this machine's own addresses, and warns of it", function()
    local text = 'local sluice = require("sluice")\nsluice.log.info(tostring(sluice.is_demo()))\nreturn sluice.app()'
    local function serve(...)
      rehearsal.clear_log()
      local code = run("run", app(text), "--port", "0", "--no-watch", ...)
      return code, rehearsal.logged("info")[1], #rehearsal.logged("warn")
    end
    local _, _, before = serve()
    for _, host in ipairs { "127.0.0.1", "127.8.9.10", "::1", "localhost" } do
      assert.same({ 0, "true", before + 1 }, { serve("--demo", "--host", host) }, host)
    end
    assert.matches("^%-%-demo: ", rehearsal.logged("warn")[before + 1])
    assert.same({ 0, "false", before }, { serve("--host", "0.0.0.0") })
    for _, host in ipairs { "0.0.0.0", "::", "192.168.1.7", "127.0.0.1.example.org", "example.org" } do
      assert.equal(2, (serve("--demo", "--host", host)), host)
    end
    local getenv = function(name) return ({ SLUICE_DEMO = "yes", SLUICE_HOST = "::" })[name] end
    assert.is_nil((config.resolve({}, nil, getenv)))
    assert.is_true(config.resolve({ host = "::1" }, nil, getenv).demo)
    assert.is_false(config.resolve({}, { demo = false }).demo)
    assert.matches("^sluice.serve%(%): demo: yes or no is expected", select(2, config.resolve({}, { demo = "maybe" })))
  end)

  it("ends with 1 when it cannot listen", function()
    local make = rehearsal.core.server
    rehearsal.stub("server", function(options)
      local made = make(options)
      made.start = function() return nil, "cannot listen on x: address already in use", "EADDRINUSE" end
      return made
    end)
    local code, _, err = run("run", app(GOOD), "--port", "5121")
    assert.equal(1, code)
    assert.equal("sluice: cannot listen on x: address already in use (EADDRINUSE)\n", err)
  end)

  describe("when something is missing", function()
    local function warned(...)
      rehearsal.clear_log()
      assert.equal(0, (run("run", app(GOOD), "--port", "0", "--no-watch", ...)))
      return rehearsal.logged("warn")
    end

    it("says by what it cannot be reached, and why, unless that was given", function()
      rehearsal.stub("runtime_dir", function() return nil, "/tmp/sluice-7: belongs to another user" end)
      assert.same({ "no runtime folder (/tmp/sluice-7: belongs to another user): sluice reload needs --socket, "
        .. "/-/ over TCP an --admin-key" }, warned())
      assert.same({ nil, false, nil }, { ran.options.control, ran.options.control_needed, ran.options.admin_key })
      assert.same({}, warned("--socket", "/s", "--admin-key", ("k"):rep(16)))
      assert.same({ "/s", true, ("k"):rep(16) },
        { ran.options.control, ran.options.control_needed, ran.options.admin_key })
      rehearsal.stub("runtime_dir", function() return folder, "/run/sluice: is no folder" end)
      rehearsal.stub("write_private", function() return nil, "no space left", "ENOSPC" end)
      assert.same({ ("the runtime folder is %s (/run/sluice: is no folder)"):format(folder),
        ("no admin key: %s/admin.key: no space left; /-/ is closed over TCP without --admin-key"):format(folder),
      }, warned())
      assert.equal(folder .. "/{port}.sock", ran.options.control)
    end)

    it("says that handlers are not stopped when the system has no timer to give", function()
      rehearsal.stub("budget_set", function() return nil, "Resource temporarily unavailable", "EAGAIN" end)
      assert.matches("^no handler is stopped when it loops: Resource temporarily", warned("--socket", "/s",
        "--admin-key", "k")[1])
      assert.matches("^the admin key has 1 characters, and may be guessed", warned("--socket", "/s",
        "--admin-key", "k")[2])
    end)
  end)
end)

describe("settings", function()
  local function resolve(flags, env, given)
    return config.resolve(flags, given, function(name) return env[name] end)
  end

  it("come from flag, then environment, then options, then the default", function()
    local env = { SLUICE_PORT = "2" }
    assert.equal(1, resolve({ port = "1" }, env, { port = 3 }).port)
    assert.equal(2, resolve({}, env, { port = 3 }).port)
    assert.equal(3, resolve({}, {}, { port = 3 }).port)
    assert.equal(5121, resolve({}, {}, {}).port)
    assert.equal("127.0.0.1", resolve({}, { SLUICE_HOST = "" }, {}).host)
  end)

  it("name the place of what is wrong", function()
    assert.same({ nil, "SLUICE_PORT: a whole number from 0 to 65535 is expected, not '70000'" },
      { resolve({}, { SLUICE_PORT = "70000" }, {}) })
    assert.same({ nil, "sluice.serve(): heartbeat: a number of seconds from 1 to 3600 is expected, not the number 0" },
      { resolve({}, {}, { heartbeat = 0 }) })
  end)

  it("read sizes with units", function()
    assert.equal(65536, resolve({ max_body = "64k" }, {}, {}).max_body)
    assert.equal(2 * 1024 ^ 3, resolve({ memory = "2GiB" }, {}, {}).memory)
    assert.equal(5, resolve({ max_body = 5 }, {}, {}).max_body)
    assert.equal(268435456, resolve({}, {}, { memory = 256 * 1024 ^ 2 }).memory)
  end)

  it("refuse what is of the wrong type, each by its name", function()
    local values = { 5, -5, 1.5, true, false, {}, { 5 }, { a = "b" }, "", "a b/c", print }
    local good = { port = { [5] = true }, io_threads = { [5] = true }, max_body = { [5] = true },
      max_connections = { [5] = true }, heartbeat = { [5] = true, [1.5] = true }, drain = { [5] = true, [1.5] = true },
      handler_budget = { [5] = true, [1.5] = true }, trust_proxy = { [true] = true, [false] = true },
      trace = { [true] = true, [false] = true },
      demo = { [true] = true, [false] = true }, h2c = { [true] = true, [false] = true },
      host = { ["a b/c"] = true }, socket = { ["a b/c"] = true }, data = { ["a b/c"] = true },
      admin_key = { ["a b/c"] = true }, metrics_port = { [5] = true }, agent_port = { [5] = true },
      metrics_host = { ["a b/c"] = true },
      tls_port = { [5] = true }, tls_host = { ["a b/c"] = true }, tls_redirect = { [true] = true, [false] = true } }
    local has_hiredis = require("sluice.core").build().libraries.hiredis
    local pair = { tls_cert = { "c" }, tls_key = { "k" } }
    for _, name in ipairs({ "head_timeout", "body_timeout", "idle_timeout", "request_timeout", "stall_timeout" }) do
      good[name] = { [5] = true, [1.5] = true }
    end
    for _, name in ipairs(require("sluice.app.limits").NAMES) do good[name] = { [5] = true } end
    for _, row in ipairs(config.SETTINGS) do
      for _, value in ipairs(values) do
        local given = row[1]:find("^tls_") and { tls_cert = pair.tls_cert, tls_key = pair.tls_key } or {}
        if row[1]:find("^cluster") and has_hiredis then given = { cluster = "redis://r", cluster_name = "x" } end
        given[row[1]] = value
        local settings, message = resolve({}, {}, given)
        local shown = row[1] .. " = " .. tostring(value)
        if row[1] == "listen_fd" and (value == 5 or type(value) == "table" and value[1] == 5) then
          assert.same({ 5 }, settings.listen_fd)
        elseif pair[row[1]] and value == "a b/c" then
          assert.same({ value }, settings[row[1]])
        elseif row[1]:find("^cluster") and value == "a b/c" then -- its own spec looks at what is text
          assert.truthy(settings or message)
        elseif good[row[1]] and good[row[1]][value] then
          assert.equal(value, settings[row[1]], shown)
        else
          assert.is_nil(settings, shown)
          assert.matches("^sluice.serve%(%): " .. row[1] .. ": .* is expected, not ", message)
        end
      end
    end
  end)

  it("take certificates with their keys, and what follows from them", function()
    local s = resolve({ tls_cert = "/a b.pem,c.pem", tls_key = { "k", "l" } }, {}, {})
    assert.same({ { "/a b.pem", "c.pem" }, { "k", "l" }, 5443 }, { s.tls_cert, s.tls_key, s.tls_port })
    assert.equal(443, resolve({ tls = "dev", tls_port = 443 }, {}, {}).tls_port)
    assert.is_nil(resolve({}, {}, {}).tls_port)
    assert.same({ nil, "--tls-cert names 1 and --tls-key 2 files: each certificate needs its key, in the same order" },
      { resolve({ tls_cert = "a", tls_key = "b,c" }, {}, {}) })
    assert.same({ nil, "--tls-redirect: a certificate is needed: --tls-cert and --tls-key, or --tls dev" },
      { resolve({}, { SLUICE_TLS_REDIRECT = "yes" }, {}) })
    assert.same({ nil, "--tls dev makes its own certificate: leave --tls-cert and --tls-key out" },
      { resolve({ tls = "dev", tls_cert = "a", tls_key = "b" }, {}, {}) })
  end)

  it("answer to no host by mistake, and to all of them by none", function()
    local function hosts(value) return resolve({}, {}, { allow_host = value }) end
    assert.same({ "a.example", "*.b.example" }, hosts("a.example, *.b.example").allow_host)
    assert.same({ "a.example" }, hosts({ "a.example" }).allow_host)
    assert.same({ "a.example" }, resolve({}, {}, { allow_hosts = { "a.example" } }).allow_host)
    assert.is_nil(resolve({}, {}, {}).allow_host)
    for _, wrong in ipairs({ "https://a.example", " , ", { "" }, { "a.example", 5 }, { "a.example", x = 1 }, { "a b" },
      { "a.example,b.example" } }) do
      assert.is_nil(hosts(wrong))
    end
    assert.same({ nil, "sluice.serve(): allow_hosts: a list of host names (or a text, separated by commas) is "
      .. "expected, not the number 5" }, { resolve({}, {}, { allow_hosts = 5 }) })
  end)

  it("know yes and no by their type", function()
    for _, name in ipairs({ "signals", "watch" }) do
      assert.is_true(resolve({}, {}, { [name] = true })[name])
      for _, wrong in ipairs({ "yes", 1, {} }) do
        local ok, message = pcall(resolve, {}, {}, { [name] = wrong })
        assert.is_false(ok)
        assert.truthy(message:find(("sluice.serve(): %s is a boolean, not a %s"):format(name, type(wrong)), 1, true))
      end
    end
  end)

  it("trust a proxy by yes or no, and take no list for yes", function()
    assert.is_true(resolve({ trust_proxy = "true" }, {}, {}).trust_proxy)
    assert.is_false(resolve({}, { SLUICE_TRUST_PROXY = "no" }, {}).trust_proxy)
    assert.is_nil(resolve({ trust_proxy = "10.0.0.0/8" }, {}, {}))
    assert.is_nil(resolve({}, {}, { trust_proxy = { "10.0.0.1" } }))
  end)
end)
