--- How the command line reaches a server: the runtime folder with the socket and the key, and
--- the socket that is asked for. Nothing of somebody else's is taken, and what is missing is said.
local http = require("spec.support.http")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = 'local app = require("sluice").app() app:get("/v", function() end) '
  .. 'app:get("/ip", function(req) return req.ip end) return app'

describe("the runtime folder", function()
  after_each(server.stop_all)

  it("holds the socket and the admin key, for this user only", function()
    local s = server.start { app = APP }
    local folder = s.folder .. "/sluice"
    local key = process.read_file(folder .. "/admin.key"):match("^(%S+)\n$")
    assert.is_true(#key >= 32)
    local code, out = process.run(("cd %s && stat -c %%A . admin.key %d.sock"):format(folder, s.port))
    assert.same({ 0, "drwx------\n-rw-------\nsrw-------\n" }, { code, out })
    assert.equal(200, http.get(s.port, "/-/reload", { Authorization = "Bearer " .. key }).status)
    local function command(...)
      return process.run({ "env", "XDG_RUNTIME_DIR=" .. s.folder, "build/bin/sluice", "reload", ... })
    end
    code, out = command("--port", s.port)
    assert.equal(0, code, out)
    assert.matches("^reload #2 in ", out)
    assert.same({ 1, "sluice: --port: a number is expected, not 'x'\n" }, { command("--port", "x") })
    -- whoever is somebody else, or has another folder, is told who listens there
    local me = select(2, process.run("id -un")):match("%S+")
    local other = "XDG_RUNTIME_DIR=" .. process.temp_dir()
    code, out = process.run({ "env", other, "build/bin/sluice", "reload", "--port", s.port })
    assert.equal(1, code)
    local hint = ("; port %d belongs to a program of the user %s: ask as that user, or say --socket with the one "
      .. "that it was started with\n"):format(s.port, me)
    assert.truthy(out:find(hint, 1, true), out)
    s.stop()
    assert.is_nil(process.read_file(folder .. "/" .. s.port .. ".sock"))
  end)

  it("is refused, with the reason in the log, when it might be somebody else's", function()
    local above = process.temp_dir()
    local cases = {
      { "others may write into it", function(path) lfs.mkdir(path) os.execute("chmod 777 " .. path) end },
      { "is a symbolic link", function(path) lfs.link("/tmp", path, true) end },
      { "is no folder", function(path) process.write_file(path, "") end },
    }
    for i, case in ipairs(cases) do
      local own = above .. "/" .. i
      lfs.mkdir(own)
      case[2](own .. "/sluice")
      local s = server.start { app = APP, env = { XDG_RUNTIME_DIR = own } }
      s.wait_log("the runtime folder is [^ ]+ %(" .. own .. "/sluice: " .. case[1])
      s.stop()
    end
    process.remove_dir(above)
  end)

  it("may hold a key that cannot be kept: that is said, too", function()
    local s = server.start { app = APP }
    local folder = s.folder .. "/sluice"
    os.remove(folder .. "/admin.key")
    lfs.mkdir(folder .. "/admin.key")
    local other = server.start { app = APP, env = { XDG_RUNTIME_DIR = s.folder } }
    other.wait_log("no admin key: " .. folder .. "/admin.key: Is a directory")
  end)
end)

describe("the Unix socket", function()
  local folder

  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    server.stop_all()
    process.remove_dir(folder)
  end)

  local function refused(path, message)
    local code, log = server.run_to_end { app = APP, args = { "--socket", path } }
    assert.equal(1, code)
    assert.equal("sluice: cannot listen on the Unix socket " .. path .. ": " .. message, log:match("[^\n]+"))
  end

  it("takes the place of nothing but the socket of a server that is gone", function()
    local OTHER = "something else than a socket is there, and is left alone (ENOTSOCK)"
    process.write_file(folder .. "/precious.db", "precious")
    lfs.mkdir(folder .. "/d")
    refused(folder .. "/precious.db", OTHER)
    refused(folder .. "/d", OTHER)
    local s = server.start { app = APP, args = { "--socket", folder .. "/s" } }
    refused(folder .. "/s", "a server that runs answers there (EADDRINUSE)")
    lfs.link(folder .. "/s", folder .. "/link", true)
    refused(folder .. "/link", OTHER)
    s.kill()
    assert.equal("socket", lfs.attributes(folder .. "/s", "mode"))
    refused(folder .. "/link", OTHER)
    s = server.start { app = APP, args = { "--socket", folder .. "/s" } }
    assert.equal(0, s.stop())
    assert.is_nil(lfs.attributes(folder .. "/s"))
    assert.equal("precious", process.read_file(folder .. "/precious.db"))
  end)

  it("is an address of its own, for the app and in the log", function()
    local s = server.start { app = APP, args = { "--socket", folder .. "/s" } }
    local command = { "curl", "-s", "--unix-socket", folder .. "/s", "http://localhost/ip" }
    assert.same({ 0, "unix" }, { process.run(command) })
    s.wait_log('"path":"/ip","status":200,"ip":"unix"')
    assert.equal("127.0.0.1", http.get(s.port, "/ip").body)
  end)

  it("belongs to a server that is too busy to answer, or serves something else", function()
    local socket = require("socket.unix")
    local busy, other = socket.stream(), socket.dgram()
    assert(busy:bind(folder .. "/busy"))
    assert(busy:listen(0))
    local waits = {}
    for i = 1, 3 do
      waits[i] = socket.stream()
      waits[i]:settimeout(0)
      waits[i]:connect(folder .. "/busy")
    end
    assert(other:bind(folder .. "/other"))
    for _, name in ipairs { "/busy", "/other" } do
      refused(folder .. name, "a server that runs answers there (EADDRINUSE)")
    end
    for _, one in ipairs(waits) do one:close() end
    busy:close()
    other:close()
  end)

  it("is not removed at the end when something else has its name by then", function()
    local s = server.start { app = APP, args = { "--socket", folder .. "/s" } }
    assert(os.remove(folder .. "/s"))
    process.write_file(folder .. "/s", "precious")
    assert.equal(0, s.stop())
    assert.equal("precious", process.read_file(folder .. "/s"))
  end)

  it("has a path that the system can take, or the server says that it cannot", function()
    refused(folder .. "/" .. ("x"):rep(100), "the path is longer than 107 bytes (ENAMETOOLONG)")
    local long = folder .. "/" .. ("x"):rep(90)
    lfs.mkdir(long)
    local s = server.start { app = APP, env = { XDG_RUNTIME_DIR = long } } -- nobody asked for it
    s.wait_log("no Unix socket at " .. long .. "/sluice/%d+.sock: the path is longer than 107 bytes")
    assert.equal(0, s.stop())
  end)
end)
