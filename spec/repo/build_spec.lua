--- What `make` builds and installs, and what `make` itself promises.
local process = require("spec.support.process")
local tree = require("spec.support.tree")
local lfs = require("lfs")

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
      local word = "%f[%w-]" .. name:gsub("%-", "%%-") .. "%f[^%w-]"
      assert.truthy(text:find("\n[%w%- ]*" .. word .. "[%w%- ]*:"), name)
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

  -- All but one object are those of the ordinary build.
  it("builds a module without liburing and nghttp2, which sends by send() and says why", function()
    local folder = ("build/no-uring-%d"):format(os.time())
    finally(function() os.execute("rm -rf " .. folder) end)
    assert(os.execute(("mkdir -p %s && cp -a build/plain/obj %s"):gsub("%%s", folder)))
    make(("URING=no NGHTTP2=no CI=1 B=%s core"):format(folder))
    local _, needs = process.run { "readelf", "-dW", folder .. "/sluice/core.so" }
    assert.truthy(needs:find("libev", 1, true))
    assert.falsy(needs:find("liburing", 1, true) or needs:find("nghttp2", 1, true), needs)
    local code, output = process.run(("env SLUICE_BUILD=%s build/bin/sluice version"):format(folder))
    assert.equal(0, code, output)
    assert.truthy(output:find("\nio_uring: no: Sluice was built without liburing", 1, true), output)
    assert.truthy(output:find(", nghttp2 none", 1, true), output)
    code, output = process.run(("env SLUICE_BUILD=%s build/bin/sluice run x.lua --h2c yes"):format(folder))
    assert.equal(2, code)
    assert.truthy(output:find("--h2c: Sluice was built without nghttp2", 1, true), output)
    -- on one thread with auto; what says that a ring must be there has to be refused
    code, output = process.run(("env -u SLUICE_SPEC_PASS -u SLUICE_SPEC_COUNTS SLUICE_BUILD=%s SLUICE_IO_THREADS=1 " ..
      "SLUICE_IO_URING=auto lua5.4 spec/run.lua spec/e2e/ring_spec.lua"):format(folder))
    assert.equal(0, code, output)
    assert.truthy(output:find("\n2 passed, 0 failed", 1, true), output)
  end)

  it("builds a module without hiredis, which says so where a cluster is asked for", function()
    local folder = ("build/no-hiredis-%d"):format(os.time())
    finally(function() os.execute("rm -rf " .. folder) end)
    assert(os.execute(("mkdir -p %s && cp -a build/plain/obj %s"):gsub("%%s", folder)))
    make(("HIREDIS=no CI=1 B=%s core"):format(folder))
    local _, needs = process.run { "readelf", "-dW", folder .. "/sluice/core.so" }
    assert.falsy(needs:find("hiredis", 1, true), needs)
    local code, output = process.run(("env SLUICE_BUILD=%s build/bin/sluice run examples/chat/app.lua " ..
      "--cluster redis://r --cluster-name x"):format(folder))
    assert.equal(2, code, output)
    assert.truthy(output:find("--cluster: Sluice was built without hiredis (libhiredis-dev)", 1, true), output)
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

  -- A machine that has nothing: what its tools are asked for is written down, and done in no time.
  local function bare_machine(folder)
    local bin = folder .. "/bin"
    os.execute(("mkdir -p %s && cp -r .ci spec %s"):format(bin, folder))
    for tool in ("sh dirname grep sed paste mkdir env cmp id tail cat cp rm ln"):gmatch("%S+") do
      os.execute(("ln -s $(command -v %s) %s/%s"):format(tool, bin, tool))
    end
    local fakes = { sudo = 'exec "$@"', ["dpkg-query"] = "exit 1", dpkg = "mkdir -p usr/sbin",
      npm = "mkdir -p node_modules",
      ["apt-get"] = [[case "$*" in *--assume-no*)
        echo "Need to get 12.3 MB of archives."
        echo "After this operation, 45.6 MB of additional disk space will be used." ;;
      *download*) : >nginx_1.deb ;;
      esac]] }
    for name, text in pairs(fakes) do
      process.write_file(bin .. "/" .. name, "#!/bin/sh\n" .. text .. "\n")
      os.execute("chmod +x " .. bin .. "/" .. name)
    end
    return function(words, env)
      local line = ("SLUICE_SPEC_FULL= %s PATH=%s .ci/setup %s"):format(env or "", bin, words)
      local code, output = process.run(line, { dir = folder })
      local names = {}
      for name in (output:match("installing with apt%-get:([^\n]*)") or ""):gmatch("%S+") do names[name] = true end
      return code, output, names
    end
  end

  -- But for one that the machine has itself, which setup finds by its whole path.
  local function unpacks(output, part)
    return lfs.attributes("/usr/sbin/" .. part) or output:find("build/" .. part .. ", %d+ MB")
  end

  it("installs what the specs that are named need, and says how large that is", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    local setup = bare_machine(folder)
    local code, output, names = setup("test spec/kit/hub_spec.lua spec/unit/json_spec.lua --filter=x")
    assert.equal(0, code, output)
    assert.is_true(names["gcc"] and names["lua-busted"] and names["lua-socket"])
    for _, name in ipairs { "chromium", "nodejs", "npm", "luarocks", "openssl", "curl", "fonts-dejavu-core" } do
      assert.is_nil(names[name], name)
    end
    assert.truthy(output:find("\nsetup: 12.3 MB to download, 45.6 MB on the disk;", 1, true), output)
    assert.falsy(output:find("nginx", 1, true) or output:find("build/node", 1, true))
    names = select(3, setup("test spec/wire"))
    assert.same({ true, nil, nil }, { names.nodejs, names.npm, names.chromium })
    names = select(3, setup("test spec/browser/webkit_spec.lua"))
    assert.same({ true, true, nil }, { names["gir1.2-webkit2-4.1"], names.xvfb, names.chromium })
    assert.is_true(select(3, setup("test spec/kit/jwt_spec.lua")).openssl)
    names = select(3, setup("test spec/e2e/http_out_spec.lua"))
    assert.same({ true, nil }, { names.openssl, names.nodejs })
    code, output, names = setup("test")
    assert.equal(0, code, output)
    for _, name in ipairs { "chromium", "nodejs", "luarocks", "openssl", "curl", "fonts-dejavu-core" } do
      assert.is_true(names[name], name)
    end
    assert.is_nil(names.xvfb)
    for _, part in ipairs { "nginx", "haproxy", "openresty", "node" } do
      assert.truthy(unpacks(output, part), output)
    end
    assert.falsy(output:find("build/caddy", 1, true))
    output = select(2, setup("test spec/browser/proxies_spec.lua", "SLUICE_SPEC_FULL=1"))
    for _, part in ipairs { "varnishd", "caddy", "apache2", "lighttpd", "squid", "stunnel4" } do
      assert.truthy(unpacks(output, part), output)
    end
    names = select(3, setup("test spec/browser/firefox_spec.lua"))
    assert.same({ true, true, nil }, { names["firefox-esr"], names.nodejs, names.chromium })
    assert.is_nil(select(3, setup("run"))["lua-socket"])
  end)

  it("refuses specs that are not there, by name and before it installs anything", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    local code, output = bare_machine(folder)("test spec/kit spec/nothere")
    assert.same({ 2, "setup: there is no 'spec/nothere'\n" }, { code, output })
    local run = "env -u SLUICE_SPEC_PASS -u SLUICE_SPEC_COUNTS %s lua5.4 spec/run.lua %s"
    for words, why in pairs {
      ["spec/nothere"] = "'spec/nothere': there is no such file or folder",
      ["spec/unit/cors_spec.lua spec/unit/none_spec.lua"] = "'spec/unit/none_spec.lua': there is no such file",
      ["spec/support/"] = "'spec/support/': it holds no specs",
      ["spec/unit/cors_spec.lua --filter x"] = "'x': there is no such file or folder (values of options",
    } do
      code, output = process.run(run:format("", words))
      assert.equal(2, code, output)
      assert.truthy(output:find(why, 1, true), output)
    end
    code, output = process.run(run:format("SLUICE_PRELOAD=none", "spec/repo"))
    assert.equal(2, code, output)
    assert.truthy(output:find("'spec/repo': it is left out under a sanitizer", 1, true), output)
  end)

  it("runs a spec that failed on real programs once more, and says so; another it does not", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    local text = [[it("is unsteady", function()
      local path = %q .. (%s) -- %s
      local file = io.open(path)
      if file then file:close() else io.open(path, "w"):close() end
      assert.truthy(file)
    end)]]
    local run = "env -u SLUICE_SPEC_PASS -u SLUICE_SPEC_COUNTS -u SLUICE_SPEC_FULL lua5.4 spec/run.lua " .. folder
    local function result(name, ...)
      process.write_file(folder .. "/" .. name, text:format(folder .. "/", ...))
      local code, output = process.run(run .. "/" .. name)
      return code, output:match("([^\n]+)\n$"), output:find("\nunsteady: " .. folder, 1, true) ~= nil
    end
    assert.same({ 0, "1 passed, 0 failed", true }, { result("a_spec.lua", "'a'", "spec.support.process") })
    assert.same({ 1, "0 passed, 1 failed", false }, { result("b_spec.lua", "'b'", "none") })
    assert.same({ 1, "0 passed, 1 failed", false }, { result("c_spec.lua", "tostring({})", "spec.support.process") })
  end)

  it("installs a command that finds its modules wherever that is", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    local version = "sluice " .. require("sluice.core").version .. "\n"
    make(("install PREFIX='%s/else where'"):format(folder))
    os.execute(("ln -s '%s/else where/bin/sluice' %s/link"):format(folder, folder))
    for _, command in ipairs { "'else where/bin/sluice'", "./link", "PATH='./else where/bin':$PATH sluice" } do
      assert.same({ 0, version }, { process.run(command .. " --version", { dir = folder }) })
    end
    make("install PREFIX=build/relative")
    assert.same({ 0, version }, { process.run({ lfs.currentdir() .. "/build/relative/bin/sluice", "--version" },
      { dir = folder }) })
    os.execute("rm -r build/relative")
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

describe("what CI runs", function()
  -- Its exit code and last line, where `make` says what is given here.
  local function ends(tests, checks, setup)
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    os.execute(("mkdir -p %s/.ci %s/bin && cp .ci/run %s/.ci"):format(folder, folder, folder))
    process.write_file(folder .. "/.ci/setup", "#!/bin/sh\nexit " .. (setup or 0) .. "\n")
    process.write_file(folder .. "/bin/make", ("#!/bin/sh\ncase $1 in\ntest) %s ;;\ncheck) %s ;;\nesac\n")
      :format(tests, checks))
    os.execute(("chmod +x %s/bin/make %s/.ci/setup"):format(folder, folder))
    local code, output = process.run(("PATH=%s/bin:$PATH bash %s/.ci/run"):format(folder, folder))
    assert.equal(1, select(2, ("\n" .. output):gsub("\n%d+ passed", "")), output)
    return { code, output:match("([^\n]*)\n$") }
  end

  it("is make test and make check, and ends with one line that counts both", function()
    local good = "echo '== files'; echo '12 passed, 0 failed, 3 skipped'"
    local bad = "echo '  FAIL x'; echo '11 passed, 1 failed'; exit 2"
    assert.same({ 0, "13 passed, 0 failed, 3 skipped" }, ends(good, "echo 'check: clean'"))
    assert.same({ 1, "12 passed, 1 failed, 3 skipped" }, ends(good, "exit 1"))
    assert.same({ 1, "12 passed, 1 failed" }, ends(bad, "exit 0"))
    assert.same({ 1, "11 passed, 2 failed" }, ends(bad, "exit 1"))
    assert.same({ 1, "1 passed, 1 failed" }, ends("echo 'no compiler' >&2; exit 2", "exit 0"))
    assert.same({ 1, "0 passed, 2 failed" }, ends("kill -9 $$", "kill -9 $$"))
    assert.same({ 1, "0 passed, 1 failed" }, ends(good, "exit 0", 1))
  end)
end)
