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

  it("is one version", function()
    assert.equal(version, tree.read("debian/changelog"):match("^sluice %(([%d.]+)%) "))
    assert.equal(version, tree.read("doc/sluice.1"):match('"sluice ([%d.]+)"'))
    for name in tree.read("doc/deploy.md"):gmatch("sluice_([%d.]+)_amd64") do assert.equal(version, name) end
  end)

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

  if not FULL then return end

  local folder, out, deb, bare

  local function run(words, options)
    options = options or {}
    options.seconds = options.seconds or 900
    local code, output = process.run(words, options)
    assert.equal(0, code, (type(words) == "table" and table.concat(words, " ") or words) .. "\n" .. output)
    return output
  end

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
    process.run("umount " .. bare .. "/proc")
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
    local output = run { "lintian", "--fail-on", "error,warning", "--display-info", "--no-tag-display-limit", deb }
    assert.equal("", output)
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

  it("serves from a Debian that has nothing else", function()
    run { "mmdebstrap", "--variant=minbase", "--include=curl", "bookworm", bare }
    run { "cp", deb, bare .. "/tmp/sluice.deb" }
    run { "cp", "debian/tests/serves", bare .. "/tmp/serves" }
    run { "mount", "-t", "proc", "proc", bare .. "/proc" }
    local chroot = { "chroot", bare, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
      "DEBIAN_FRONTEND=noninteractive" }
    local function inside(words) return run(table.move(words, 1, #words, #chroot + 1, { table.unpack(chroot) })) end
    inside { "apt-get", "install", "-y", "--no-install-recommends", "/tmp/sluice.deb" }
    assert.matches("serves and stops\n$", inside { "sh", "/tmp/serves" })
    local told = inside { "sluice", "version", "--json" }
    assert.equal(version, require("sluice.json").decode(told).version)
    local p = process.spawn { "chroot", bare, "/usr/bin/sluice", "demo", "--port", "0" }
    local port = deadline.eventually(function()
      return p:log():gsub("\\/", "/"):match("http://127%.0%.0%.1:(%d+)")
    end, 10, "the showcase")
    assert.equal(200, http.get(tonumber(port), "/index.html").status)
    assert.equal(0, p:stop())
    inside { "apt-get", "purge", "-y", "sluice" }
    assert.is_nil(lfs.attributes(bare .. "/usr/bin/sluice"))
  end)
end)
