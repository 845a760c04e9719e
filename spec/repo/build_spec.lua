--- What `make` builds and installs, and what `make` itself promises.
local process = require("spec.support.process")
local tree = require("spec.support.tree")

describe("make", function()
  local function make(words, options)
    local code, output = process.run("make " .. words, options or { seconds = 180 })
    assert.equal(0, code, output)
    return output
  end

  it("lists its targets in the first comment, all of which exist", function()
    local help = make("--no-print-directory help")
    local targets = assert(help:match("^Targets: ([^\n]+)\n"))
    local text = tree.read("Makefile")
    for name in targets:gmatch("%S+") do
      assert.truthy(text:find("\n" .. name .. ":", 1, true), name)
    end
    assert.is_true(select(2, text:gsub("\n", "\n")) < 80)
  end)

  it("keeps the flavours apart", function()
    for san, flag in pairs { [""] = "_FORTIFY_SOURCE=3", address = "address,undefined", thread = "fsanitize=thread" } do
      local folder = "build/" .. (san == "" and "plain" or san)
      local plan = make("-n V=1 -W Makefile core SAN=" .. san)
      assert.truthy(plan:find("-o " .. folder .. "/obj/base/mem.o", 1, true), plan:sub(1, 2000))
      assert.truthy(plan:find(flag, 1, true))
    end
  end)

  it("installs a module and a command that run from there", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    make("install DESTDIR=" .. folder .. " PREFIX=/usr")
    local _, files = process.run("find . -type f | sort", { dir = folder })
    assert.truthy(files:find("./usr/bin/sluice\n", 1, true))
    assert.truthy(files:find("./usr/lib/lua/5.4/sluice/core.so\n", 1, true))
    assert.falsy(files:find("core/testing", 1, true)) -- what only our own specs load
    assert.truthy(files:find("./usr/share/lua/5.4/sluice/testing/inside.lua\n", 1, true)) -- the test kit
    local share = folder .. "/usr/share/lua/5.4/?"
    local code, output = process.run(("env LUA_PATH_5_4='%s.lua;%s/init.lua;;' LUA_CPATH_5_4='%s;;' %s --version")
      :format(share, share, folder .. "/usr/lib/lua/5.4/?.so", folder .. "/usr/bin/sluice"), { dir = "/" })
    assert.equal(0, code, output)
    assert.truthy(output:find(require("sluice.core").version, 1, true))
  end)

  it("exports one symbol and hardens the module", function()
    local module = assert(package.searchpath("sluice.core", package.cpath))
    local _, symbols = process.run { "nm", "-D", "--defined-only", module }
    local exported = {}
    for name in symbols:gmatch(" T ([%w_]+)") do
      if name ~= "_init" and name ~= "_fini" then exported[#exported + 1] = name end
    end
    assert.same({ "luaopen_sluice_core" }, exported)
    local _, header = process.run { "readelf", "-dlW", module }
    assert.truthy(header:find("GNU_RELRO", 1, true) and header:find("BIND_NOW", 1, true))
    assert.falsy(header:find("GNU_STACK[^\n]* RWE"))
    assert.falsy(header:find("TEXTREL", 1, true))
    local _, imports = process.run { "nm", "-D", "--undefined-only", module }
    assert.truthy(imports:find("__stack_chk_fail", 1, true))
    for name in imports:gmatch(" U (lua[%w_]*)") do assert.truthy(name:find("^luaL?_"), name) end
  end)
end)
