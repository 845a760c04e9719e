--- app:static: what is read, what is left out, what is too large.
local rehearsal = require("spec.support.rehearsal")
local process = require("spec.support.process")

after_each(rehearsal.stop)

describe("app:static", function()
  local folder

  local TEXTS = { ["index.html"] = "<p>", ["app.js"] = "1", ["x.bin"] = "\0" }

  before_each(function() folder = process.temp_dir() end)
  after_each(function() process.remove_dir(folder) end)

  local function write(names)
    for _, name in ipairs(names) do
      os.execute(("mkdir -p %s/%s"):format(folder, name:match("^(.*)/") or ""))
      process.write_file(folder .. "/" .. name, TEXTS[name] or "s")
    end
  end

  local function load(prefix)
    return rehearsal.load(('local app = require("sluice").app()\napp:static("%s", "%s")\nreturn app')
      :format(prefix, folder))
  end

  it("hands the files to the core by whole path, with type, and folders by their index", function()
    write { "index.html", "app.js", "x.bin", ".env", ".git/config" }
    local t = load("/")
    local route = t.server.snapshot.routes[1]
    assert.same({ "/**", "static" }, { route.pattern, route.kind })
    local names = {}
    for name in pairs(route.files) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "/", "/app.js", "/index.html", "/x.bin" }, names)
    assert.same({ type = "text/html; charset=utf-8", body = "<p>" }, route.files["/"])
    assert.equal("text/javascript; charset=utf-8", route.files["/app.js"].type)
    assert.equal("application/octet-stream", route.files["/x.bin"].type)
  end)

  it("mounts below a prefix, after the app's routes", function()
    write { "index.html" }
    local t = rehearsal.load(([[
      local app = require("sluice").app()
      app:static("/assets/", "%s")
      app:get("/assets/live.js", function() end)
      return app]]):format(folder))
    local routes = t.server.snapshot.routes
    assert.equal("/assets/live.js", routes[1].pattern)
    assert.equal("/assets/**", routes[2].pattern)
    assert.truthy(routes[2].files["/assets/"])
    assert.truthy(routes[2].files["/assets/index.html"])
  end)

  it("asks the app's guards for files that they cover", function()
    write { "app.js", "sub_index.html", "x.bin" }
    local t = rehearsal.load(([[
      local app = require("sluice").app()
      app:static("/", "%s")
      app:guard("/*", function(req) return req.headers.key and true or 401 end)
      return app]]):format(folder))
    local open, guarded, route = table.unpack(t.server.snapshot.routes)
    assert.is_nil(open.id or open.files["/app.js"])
    assert.equal("1", guarded.files["/app.js"].body)
    assert.same({ "handler", "/**", guarded.id }, { route.kind, route.pattern, route.id })
    assert.equal(401, t:get("/app.js").status)
    local a = t:get("/app.js", { headers = { key = "x" } })
    assert.same({ 200, "1", "text/javascript; charset=utf-8" }, { a.status, a.body, a.headers["content-type"] })
    assert.equal(404, t:get("/none.js", { headers = { key = "x" } }).status)
  end)

  it("refuses files and folders that cannot be read, with the reason", function()
    write { "app.js" }
    local open = io.open
    io.open = function(path) return nil, path .. ": Permission denied", 13 end -- luacheck: ignore
    local ok, message = pcall(load, "/")
    io.open = open -- luacheck: ignore
    assert.is_false(ok)
    assert.matches("app:static%(%): .*/app.js: Permission denied", tostring(message))
    rehearsal.stub("list_files", function() return { "gone.js" } end)
    assert.same({}, load("/").server.snapshot.routes[1].files) -- it has gone since it was listed
    rehearsal.stub("list_files", function() return nil, "too many open files", "EMFILE" end)
    local told = rehearsal.load_error('local app = require("sluice").app() app:static("/", "public") return app')
    assert.matches("the folder '[^']*public': too many open files", told)
  end)

  it("refuses a file above 1 MiB and the same prefix twice", function()
    process.write_file(folder .. "/big.bin", ("x"):rep(1024 * 1024 + 1))
    local ok, message = pcall(load, "/")
    assert.is_false(ok)
    assert.matches("big.bin is larger than 1048576 bytes", tostring(message))
    assert.matches('app:static%("/"%) is registered already %(app.lua:2%)', rehearsal.load_error((([[
      local app = require("sluice").app() app:static("/", "%s")
      app:static("/", "%s")]]):format(folder, folder):gsub("^%s+", "\n", 1))))
  end)
end)
