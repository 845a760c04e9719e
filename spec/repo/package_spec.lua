--- What a release consists of: built from what is committed, checked by the tools of Debian, the same
--- wherever it is built, and served from a Debian that has nothing else. With the full size only.
local http = require("spec.support.http")
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")
local tree = require("spec.support.tree")
local lfs = require("lfs")

local FULL = os.getenv("SLUICE_SPEC_FULL")

describe("a release", function()
  local version = require("sluice.core").version
  local workflow = tree.read(".github/workflows/release.yml")

  local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 100, durable = true })
app:stream("/news", "news")
app:every(0.2, function() app:publish("news", "tick", {}) end)
return app
]]

  local function run(words, options)
    options = options or {}
    options.seconds = options.seconds or 900
    local code, output = process.run(words, options)
    assert.equal(0, code, (type(words) == "table" and table.concat(words, " ") or words) .. "\n" .. output)
    return output
  end

  it("is built by the workflow from a tag, with what is there", function()
    assert.truthy(workflow:find('tags: ["v*"]', 1, true))
    for path in workflow:gmatch("%f[%w./]%.?[%w/]+/[%w_]+_spec%.lua") do assert.truthy(lfs.attributes(path), path) end
    for path in workflow:gmatch("run: (%.ci/%l+)") do assert.equal("file", lfs.attributes(path, "mode"), path) end
    assert.truthy(workflow:find("-f Containerfile", 1, true))
    local code, output = process.run { "python3", "-c", [[
import json, re, sys
text = open(sys.argv[1]).read()
assert "\t" not in text
jobs = re.findall(r"^  (\w+):", text.split("\njobs:\n")[1], re.M)
print(*jobs)]], ".github/workflows/release.yml" }
    assert.same({ 0, "packages image release\n" }, { code, output })
  end)

  it("refuses a tag that is another version", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    local code, output = process.run { ".ci/release", folder, "v9.9.9" }
    assert.same({ 1, ("release: the tag v9.9.9 is not v%s (csrc/base/version.h)\n"):format(version) }, { code, output })
  end)

  it("is reloaded by a save on the other side of a bind mount, as in a container", function()
    local folder = process.temp_dir()
    finally(function()
      process.stop_all()
      process.remove_dir(folder)
    end)
    if not os.execute("unshare -rm true 2>/dev/null") then return pending("no user may mount anything here") end
    run { "mkdir", folder .. "/host", folder .. "/app" }
    process.write_file(folder .. "/host/app.lua", APP)
    local p = process.spawn({ "unshare", "-rm", "sh", "-c", [[mount --bind "$1/host" "$1/app" &&
      exec build/bin/sluice run "$1/app/app.lua" --port 0 --data "$1/data"]], "sh", folder }, {})
    deadline.eventually(function() return p:log():find("serving", 1, true) end, 10, "it serves")
    process.write_file(folder .. "/host/app.lua", APP .. "-- saved\n")
    deadline.eventually(function() return p:log():find("reload #2 in [^\n]*app.lua") end, 10, "it has reloaded")
    assert.equal(0, p:stop())
  end)

  if not FULL then return end

  local folder, out, deb, bare

  setup(function()
    folder = process.temp_dir()
    bare = folder .. "/bare"
    out = folder .. "/out"
    run(("RELEASE_ROCKS=%s/spec/support/luarocks-debian.lua .ci/release %s"):format(lfs.currentdir(), out))
    for name in lfs.dir(out) do
      if name:find("^sluice_.*%.deb$") then deb = out .. "/" .. name end
    end
  end)
  teardown(function()
    process.stop_all()
    if lfs.attributes(bare .. "/proc/self") then process.run { "umount", bare .. "/proc" } end
    process.remove_dir(folder)
  end)

  it("has a Debian package, a rock, a package for npm, the source, and their sums", function()
    local kinds = {}
    for name in lfs.dir(out) do
      if name:find("%w") then kinds[#kinds + 1] = name:gsub("%d+%.%d+%.%d+", "V"):gsub("_%w+%.deb$", ".deb")
        :gsub("%.linux%-[%w_]+%.", ".") end
    end
    table.sort(kinds)
    assert.same({ "SHA256SUMS", "sluice-V-1.rock", "sluice-V.tar.gz", "sluice-client-V.tgz", "sluice-dbgsym_V.deb",
      "sluice_V.deb" }, kinds)
    run("sha256sum -c SHA256SUMS", { dir = out })
  end)

  it("is clean to lintian, and has what a user looks for", function()
    local output = run { "lintian", "--fail-on", "error,warning", "--display-info", deb }
    assert.equal("", (output:gsub("running with root privileges[^\n]*\n", "")))
    local files = run { "dpkg-deb", "-c", deb }
    for _, path in ipairs { "./usr/bin/sluice", "./usr/share/man/man1/sluice.1.gz",
      "./lib/systemd/system/sluice@.service", "./lib/systemd/system/sluice@.socket",
      "./usr/share/bash-completion/completions/sluice",
      "./usr/share/zsh/vendor-completions/_sluice", "./usr/share/fish/vendor_completions.d/sluice.fish",
      "./usr/share/lua/5.4/sluice/init.lua", "./usr/share/doc/sluice/copyright" } do
      assert.truthy(files:find(path, 1, true), path .. " is not in\n" .. files)
    end
  end)

  it("comes out the same in another place at another time", function()
    local again = folder .. "/again"
    run(("cd / && TZ=Asia/Tokyo RELEASE_ROCKS=%s/spec/support/luarocks-debian.lua %s/.ci/release %s"):format(
      lfs.currentdir(), lfs.currentdir(), again))
    for name in lfs.dir(out) do
      if name:find("%.deb$") or name:find("%.tar%.gz$") then run { "cmp", out .. "/" .. name, again .. "/" .. name } end
    end
  end)

  -- A Debian with nothing but the package; what runs in it, alone or as what it has booted.
  -- False where this user may not make one: in a container without privileges.
  local function install()
    if not os.execute("test $(id -u) = 0 && unshare -m true 2>/dev/null") then return false end
    if lfs.attributes(bare .. "/usr/bin/sluice") then return true end
    run { "mmdebstrap", "--variant=minbase", "--include=curl,systemd-sysv", "bookworm", bare }
    run { "cp", deb, bare .. "/srv/sluice.deb" }
    run { "cp", "debian/tests/serves", bare .. "/srv" }
    run { "chroot", bare, "apt-get", "-q", "update" }
    run { "chroot", bare, "apt-get", "-q", "install", "-y", "--no-install-recommends", "/srv/sluice.deb" }
    return true
  end

  local NO_ROOT = "this user may mount nothing here"

  local CLEAN = { "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER=" }

  local function inside(prefix, words, code)
    local line = table.move(CLEAN, 1, #CLEAN, #prefix + 1, { table.unpack(prefix) })
    table.move(words, 1, #words, #line + 1, line)
    local got, output = process.run(line, { seconds = 120 })
    assert.equal(code or 0, got, table.concat(words, " ") .. "\n" .. output)
    return output
  end

  it("serves from a Debian that has nothing else", function()
    if not install() then return pending(NO_ROOT) end
    run { "mount", "-t", "proc", "proc", bare .. "/proc" }
    local chroot = { "chroot", bare }
    assert.matches("serves and stops\n$", inside(chroot, { "sh", "/srv/serves" }))
    assert.equal(version, require("sluice.json").decode(inside(chroot, { "sluice", "version", "--json" })).version)
    local p = process.spawn({ "chroot", bare, "/usr/bin/sluice", "demo", "--port", "0" }, {})
    local port = deadline.eventually(function()
      return p:log():gsub("\\/", "/"):match("http://127%.0%.0%.1:(%d+)")
    end, 10, "the showcase")
    assert.equal(200, http.get(tonumber(port), "/index.html").status)
    assert.equal(0, p:stop())
    run { "umount", bare .. "/proc" }
  end)

  it("is a service of a systemd that has booted: shut in, reloaded, restarted without a gap, watched", function()
    if not install() then return pending(NO_ROOT) end
    local boot = process.spawn({ "systemd-nspawn", "-q", "-D", bare, "--boot", "--register=no", "--keep-unit",
      "--private-network", "--link-journal=no", "--console=pipe" }, {})
    local leader = deadline.eventually(function()
      if boot:code() then deadline.give_up("systemd-nspawn: " .. boot:log()) end
      local child = (process.read_file(("/proc/%d/task/%d/children"):format(boot.pid, boot.pid)) or ""):match("%d+")
      return child and process.read_file(("/proc/%s/comm"):format(child)) == "systemd\n" and child
    end, 20, "the container's first process")
    finally(function()
      if not boot:code() then process.run { "kill", "-KILL", leader } end
    end)
    local enter = { "nsenter", "-t", leader, "-m", "-u", "-i", "-n", "-p" }
    local function ask(code, ...) return inside(enter, { ... }, code) end
    deadline.eventually(function()
      return (process.run(("nsenter -t %s -m -p systemctl is-system-running"):format(leader))) == 0
    end, 60, "it has booted")
    run { "mkdir", "-p", bare .. "/srv/sluice/news" }
    process.write_file(bare .. "/srv/sluice/news/app.lua", APP)
    ask(0, "systemctl", "enable", "--now", "sluice@news.socket", "sluice@news.service")
    assert.matches("STREAM", ask(0, "sh", "-c", "curl -sSN --max-time 2 http://127.0.0.1:5121/news "
      .. "| grep -q 'event: tick' && echo STREAM"))
    assert.matches("sluice%[%d+%]: serving /srv/sluice/news/app.lua on http://127.0.0.1:5121 %(handed over%)",
      ask(0, "journalctl", "-u", "sluice@news", "-p", "info"))
    local status = ask(0, "sh", "-c", "cat /proc/$(systemctl show -P MainPID sluice@news)/status")
    assert.matches("\nCapEff:%s*0+\n", status)
    assert.matches("\nSeccomp:%s*2\n", status)
    assert.falsy(status:find("\nUid:%s*0%s"))
    ask(0, "systemctl", "reload", "sluice@news")
    run { "sh", "-c", "echo broken = = 1 >>" .. bare .. "/srv/sluice/news/app.lua" }
    ask(1, "systemctl", "reload", "sluice@news")
    assert.matches("generation 2; the last reload failed: [^\n]*app.lua:%d+: ",
      ask(0, "systemctl", "show", "-P", "StatusText", "sluice@news"))
    run { "sed", "-i", "$d", bare .. "/srv/sluice/news/app.lua" }
    process.write_file(bare .. "/srv/ask.sh", "while [ ! -e /run/enough ]; do\n"
      .. "curl -sS --max-time 30 -o /dev/null http://127.0.0.1:5121/-/healthz || exit 1; done\n")
    local asking = process.spawn({ "nsenter", "-t", leader, "-m", "-n", "-p", "sh", "/srv/ask.sh" }, {})
    for _ = 1, 3 do ask(0, "systemctl", "restart", "sluice@news") end
    ask(0, "touch", "/run/enough")
    assert.equal(0, asking:wait(30), asking:log()) -- nobody was refused
    ask(0, "sh", "-c", "kill -STOP $(systemctl show -P MainPID sluice@news)")
    deadline.eventually(function()
      return ask(0, "systemctl", "show", "-P", "NRestarts", "sluice@news"):match("^1\n")
    end, 120, "the watchdog has acted")
    process.run(("nsenter -t %s -m -p systemctl poweroff"):format(leader))
    assert.equal(0, boot:wait(60), boot:log())
  end)

  it("is an image that needs no root and no place to write, where something can build one", function()
    if not os.execute("command -v buildah >/dev/null") then return pending("buildah is not here") end
    local store = ("buildah --root %s/images --runroot %s/run --storage-driver vfs "):format(folder, folder)
    run { "mmdebstrap", "--variant=minbase", "bookworm", folder .. "/base.tar" }
    local made = run(store .. "from scratch"):match("%S+")
    run(store .. ("add -q %s %s/base.tar /"):format(made, folder))
    run(store .. ("commit -q %s localhost/base"):format(made))
    run(store .. "bud -q --isolation chroot --format docker --build-arg BASE=localhost/base -f Containerfile "
      .. "-t localhost/sluice .")
    local config = require("sluice.json").decode(run(store .. "inspect --type image localhost/sluice")).Docker.config
    assert.same({ "10001:10001", { "sluice" }, { "run", "/app/app.lua" } },
      { config.User, config.Entrypoint, config.Cmd })
    local container = run(store .. "from localhost/sluice"):match("%S+")
    local health = config.Healthcheck.Test
    assert.same({ "CMD", "bash", "-c" }, { health[1], health[2], health[3] })
    local told = run { "sh", "-c", store .. "run --isolation chroot " .. container .. " -- bash -c \"$1\"", "sh",
      "id -u; sluice demo --host 127.0.0.1 >/tmp/log 2>&1 & pid=$!; id -u; for i in $(seq 100); do (" .. health[4]
        .. ") 2>/dev/null && echo healthy && break; sleep 0.1; done; kill $pid; wait $pid; echo ended $?" }
    assert.matches("^10001\n10001\nhealthy\nended 0\n$", told)
  end)

  it("goes away without a trace of the command", function()
    if not install() then return pending(NO_ROOT) end
    inside({ "chroot", bare }, { "apt-get", "purge", "-y", "sluice" })
    assert.is_nil(lfs.attributes(bare .. "/usr/bin/sluice"))
  end)
end)
