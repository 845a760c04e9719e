--- The rock: built, packed, installed from the pack into an empty tree, and run from there.
--- No rocks server is asked: what Debian packages provide is named in luarocks-debian.lua.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local process = require("spec.support.process")
local tree = require("spec.support.tree")
local lfs = require("lfs")

local APP = [[
local app = require("sluice").app()
app:get("/where", function() return 200, package.searchpath("sluice", package.path) end)
return app
]]

describe("the rock", function()
  local root = lfs.currentdir()
  local folder, made, installed

  local function luarocks(words, dir)
    local line = "luarocks --lua-version 5.4 " .. words
    local config = process.quote(root .. "/spec/support/luarocks-debian.lua")
    local code, output = process.run("LUAROCKS_CONFIG=" .. config .. " " .. line, { dir = dir or root, seconds = 180 })
    assert.equal(0, code, line .. "\n" .. output)
    return output
  end

  local function below(path)
    local code, output = process.run { "find", path, "-type", "f", "-printf", "%P\n" }
    assert.equal(0, code)
    local names = {}
    for name in output:gmatch("[^\n]+") do names[#names + 1] = name end
    table.sort(names)
    return names
  end

  setup(function()
    folder = process.temp_dir()
    made, installed = folder .. "/made here", folder .. "/installed" -- a blank must not hurt
    luarocks("make --tree " .. process.quote(made) .. " CFLAGS=-O1") -- compiles in two thirds of the time
    luarocks("pack --tree " .. process.quote(made) .. " sluice", folder)
    luarocks("install --tree " .. process.quote(installed) .. " ./sluice-*.rock", folder)
  end)
  teardown(function()
    process.stop_all()
    process.remove_dir(folder)
  end)

  -- What is in the checkout of the pages that the showcase serves, links followed.
  local function shown()
    local list = {}
    for name in tree.read("Makefile"):match("addprefix examples/,([%l ]+)%)"):gmatch("%l+") do
      for _, path in ipairs(tree.files("^examples/" .. name .. "/.*")) do
        if not path:find("%.png$") then list[#list + 1] = "sluice/" .. path end
      end
    end
    return list
  end

  it("installs every Lua file, the core, the showcase's files and nothing else", function()
    local expected = shown()
    for _, path in ipairs(tree.files("^lua/.*")) do expected[#expected + 1] = path:sub(#"lua/" + 1) end
    table.sort(expected)
    assert.same(expected, below(installed .. "/share/lua/5.4"))
    assert.same({ "sluice/core.so" }, below(installed .. "/lib/lua/5.4"))
    assert.same({ "sluice" }, below(installed .. "/bin"))
  end)

  it("brings the documents, what editors read, sluice.js and the examples", function()
    local lua, rock = installed .. "/share/lua/5.4/sluice/", installed .. "/lib/luarocks/rocks-5.4/sluice/"
    for _, path in ipairs { "meta/init.lua", "browser/sluice.js", "browser/sluice.d.ts", "examples/alerts/app.lua" } do
      assert.equal("file", lfs.attributes(lua .. path, "mode"), path)
    end
    local _, version = process.run { "ls", rock }
    for _, path in ipairs { "doc/first-hour.md", "doc/api/channels.md" } do
      assert.equal("file", lfs.attributes(rock .. version:match("%S+") .. "/" .. path, "mode"), path)
    end
  end)

  it("has nothing that luarocks lint finds, and its specs run by luarocks test", function()
    local rockspec = tree.files("^sluice%-.*%.rockspec$")[1]
    luarocks("lint " .. rockspec)
    assert.matches("shape_spec%.lua +%d+ ok", luarocks("test " .. rockspec .. " -- spec/unit/shape_spec.lua"))
  end)

  it("says its version where it is installed", function()
    for _, place in ipairs { made, installed } do
      assert.same({ 0, "sluice " .. require("sluice.core").version .. "\n" },
        { process.run({ place .. "/bin/sluice", "--version" }, { dir = "/" }) })
    end
  end)

  it("depends on the libraries that its files need, and on no other", function()
    local rocks, rockspec, wanted, named = { cjson = "lua-cjson" }, {}, { lua = true }, {}
    for _, path in ipairs(tree.files("^lua/.*%.lua$")) do
      for name in tree.read(path):gmatch('%f[%w_]need%("([%w_]+)"%)') do wanted[rocks[name] or name] = true end
    end
    assert(loadfile(tree.files("^sluice%-.*%.rockspec$")[1], "t", rockspec))()
    for _, line in ipairs(rockspec.dependencies) do named[line:match("^%S+")] = true end
    assert.same(wanted, named)
  end)

  it("is made without rights, and its command runs from the folder that README names", function()
    process.run { "mkdir", folder .. "/user" }
    local here = ("HOME=%s/user "):format(folder)
    local config = process.quote(root .. "/spec/support/luarocks-debian.lua")
    local code, output = process.run(here .. "LUAROCKS_CONFIG=" .. config .. " luarocks --lua-version 5.4 make --local",
      { seconds = 180 })
    assert.equal(0, code, output)
    local path = tree.read("README.md"):match("export PATH=\"([^\"]*luarocks[^\"]*):%$PATH\"")
    assert.same({ 0, "sluice " .. require("sluice.core").version .. "\n" },
      { process.run(("%s sh -c 'PATH=\"%s:$PATH\"; sluice --version'"):format(here, path), { dir = "/" }) })
  end)

  it("links neither liblua nor anything of this checkout", function()
    local _, output = process.run { "readelf", "-d", installed .. "/lib/lua/5.4/sluice/core.so" }
    assert.truthy(output:find("libev.so.4", 1, true), output)
    assert.falsy(output:find("liblua", 1, true))
    assert.falsy(output:find("RUNPATH.*" .. root:gsub("%p", "%%%0")))
    assert.truthy(output:find("NODELETE", 1, true) and output:find("BIND_NOW", 1, true), output)
  end)

  it("serves an app from the installed tree", function()
    process.write_file(folder .. "/app.lua", APP)
    local p = process.spawn({ installed .. "/bin/sluice", "run", folder .. "/app.lua", "--port", "0" }, { dir = "/" })
    local port = deadline.eventually(function()
      if p:code() then deadline.give_up(p:log()) end
      return p:log():gsub("\\/", "/"):match("http://127%.0%.0%.1:(%d+)")
    end, 10, "an address in the log")
    local answer = http.get(tonumber(port), "/where")
    assert.equal(200, answer.status)
    assert.equal(installed .. "/share/lua/5.4/sluice/init.lua", answer.body)
    assert.equal(0, p:stop())
  end)

  it("makes a new app from the installed tree", function()
    local dir = folder .. "/apps"
    process.run { "mkdir", dir }
    for _, name in ipairs { "feed", "chat", "jobs", "alerts", "htmx" } do
      local code, output = process.run({ installed .. "/bin/sluice", "new", name, "--template", name }, { dir = dir })
      assert.equal(0, code, output)
      code, output = process.run({ installed .. "/bin/sluice", "check", "app.lua" }, { dir = dir .. "/" .. name })
      assert.equal(0, code, output)
    end
  end)

  it("serves the showcase from the installed tree", function()
    local p = process.spawn({ installed .. "/bin/sluice", "demo", "--port", "0" }, { dir = "/" })
    local port = deadline.eventually(function()
      if p:code() then deadline.give_up(p:log()) end
      return p:log():gsub("\\/", "/"):match("http://127%.0%.0%.1:(%d+)")
    end, 10, "an address in the log")
    for _, path in ipairs { "/index.html", "/look/page.js", "/stocks/", "/editor/", "/api/event-types" } do
      assert.equal(200, http.get(tonumber(port), path).status, path)
    end
    assert.equal(0, p:stop())
  end)
end)
