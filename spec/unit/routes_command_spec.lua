--- `sluice routes`: what is served, in which order, by whom, behind which guards, and where it says so.
local cli = require("sluice.command.cli")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local rehearsal = require("spec.support.rehearsal")
local server = require("spec.support.server")

local APP = [[
local app = require("sluice").app()
local function yes() return true end
app:guard("/admin/**", yes, yes)
app:guard("/files/secret/*", yes)
app:channel("news", { history = 10 })
app:channel("secret", { read = yes })
app:stream("/news", "news")
app:stream("/secret", { channels = { "secret", "news" } })
app:stream("/admin/news/:id", yes, "room/:id")
app:stream("/mine", { method = "POST" }, function() return "news" end)
app:durable_stream("/log", "news")
app:get("/:page", yes, function() return "" end)
app:get("/about", function() return "" end)
app:post("/admin/upload", { body = "stream", max = 10 }, function() end)
app:static("/files", "public")
return app]]

describe("sluice routes", function()
  local folder

  before_each(function()
    folder = process.temp_dir()
    lfs.mkdir(folder .. "/public")
    process.write_file(folder .. "/public/a.txt", "a")
    process.write_file(folder .. "/app.lua", APP)
  end)
  after_each(function()
    process.stop_all()
    process.remove_dir(folder)
    rehearsal.stop()
  end)

  local function run(...)
    local out, err = rehearsal.sink(), rehearsal.sink()
    local code = cli.main({ "routes", ... }, out, err)
    return code, out.text(), err.text()
  end

  -- "app.lua:3" of a place in the folder.
  local function short(where) return (where:gsub("^.*/", "")) end

  local function rows_of(text)
    local rows = {}
    for i, row in ipairs(json.decode(text).routes) do
      local guards = {}
      for n, guard in ipairs(row.guards) do
        guards[n] = short(guard.where) .. (guard.pattern and " " .. guard.pattern or "")
      end
      rows[i] = { row.method, row.path, row.kind, row.plan or "-", table.concat(row.channels or {}, " "),
        table.concat(guards, ", "), short(row.where) }
    end
    return rows
  end

  local ALL = {
    { "GET", "/about", "handler", "-", "", "", "app.lua:13" },
    { "POST", "/admin/upload", "upload", "-", "", "app.lua:3, app.lua:3", "app.lua:14" },
    { "GET", "/admin/news/:id", "stream", "table", "room/:id", "app.lua:3, app.lua:3, app.lua:9", "app.lua:9" },
    { "GET", "/log", "durable_stream", "constant", "news", "", "app.lua:11" },
    { "POST", "/mine", "stream", "function", "", "", "app.lua:10" },
    { "GET", "/news", "stream", "constant", "news", "", "app.lua:7" },
    { "GET", "/secret", "stream", "table", "secret news", "", "app.lua:8" },
    { "GET", "/:page", "handler", "-", "", "app.lua:3 /admin/**, app.lua:3 /admin/**, app.lua:12",
      "app.lua:12" },
    { "GET", "/files/**", "files", "-", "", "app.lua:4 /files/secret/*", "app.lua:15" },
  }

  it("lists what a file would serve, in the order in which it is tried", function()
    local code, out, err = run(folder .. "/app.lua", "--json")
    assert.equal(0, code, err)
    local rows, by_path = rows_of(out), {}
    assert.equal(#ALL, #rows)
    for i, row in ipairs(rows) do by_path[row[2]] = { row = row, at = i } end
    for _, row in ipairs(ALL) do assert.same(row, by_path[row[2]].row) end
    assert.is_true(by_path["/about"].at < by_path["/:page"].at)
    assert.is_true(by_path["/:page"].at < by_path["/files/**"].at)
  end)

  it("says it in columns, without colours where nobody looks", function()
    local code, out = run(folder .. "/app.lua")
    assert.equal(0, code)
    assert.matches("\nGET   /admin/news/:id  stream, plan: room/:id            +guards %S+app.lua:3, ", out)
    assert.matches("GET   /about +handler +no guard +%S+app.lua:13\n", out)
    assert.matches("files of %S+/public +guards %S+app.lua:4 %(for /files/secret/%*%)", out)
    assert.is_nil(out:find("\27", 1, true))
  end)

  it("asks a running server, which tells nobody else", function()
    local s = server.start { path = folder .. "/app.lua" }
    local socket = ("%s/sluice/%d.sock"):format(s.folder, s.port)
    local code, out, err = run("--socket", socket, "--json")
    assert.equal(0, code, err)
    assert.same(rows_of(select(2, run(folder .. "/app.lua", "--json"))), rows_of(out))
    assert.equal(1, json.decode(out).generation)
    assert.equal(401, http.get(s.port, "/-/routes").status)
  end)

  it("says why there is no list", function()
    local code, out, err = run("--socket", folder .. "/no.sock")
    assert.same({ 1, "" }, { code, out })
    assert.matches("^sluice: no server answers at ", err)
    process.write_file(folder .. "/app.lua", "a mistake")
    code, out, err = run(folder .. "/app.lua")
    assert.equal("", out)
    assert.equal(1, code)
    assert.matches("app.lua:1: ", err)
    assert.equal(2, (run(folder .. "/app.lua", "--port", "1")))
  end)
end)
