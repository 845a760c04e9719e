--- The version: one place has it, the files whose format wants a copy agree with that, and one command sets all.
local lfs = require("lfs")
local process = require("spec.support.process")
local tree = require("spec.support.tree")

local FILES = { ".ci/version", "csrc/base/version.h", "debian/changelog", "CHANGELOG.md" }

-- What each file below a folder says.
local function versions(root)
  local function read(path) return assert(process.read_file(root .. path), path) end
  local list = {}
  for name in lfs.dir(root) do
    local of_name = name:match("^sluice%-(.+)%-1%.rockspec$")
    if of_name then
      local rockspec = {}
      assert(load(read(name), name, "t", rockspec))()
      list[#list + 1] = { of_name .. "-1", rockspec.version, rockspec.source.tag }
    end
  end
  assert.equal(1, #list)
  return { header = read("csrc/base/version.h"):match('#define SLUICE_VERSION "([^"]+)"'), rock = list[1],
    debian = read("debian/changelog"):match("^sluice %((.-)%) "),
    changes = read("CHANGELOG.md"):match("\n## %[(.-)%] %- ") }
end

local function all_are(version)
  return { header = version, rock = { version .. "-1", version .. "-1", "v" .. version }, debian = version,
    changes = version }
end

describe("the version", function()
  it("is the same in all files that have it, in the core and in the command", function()
    local version = require("sluice.core").version
    assert.same(all_are(version), versions("./"))
    assert.same({ 0, version .. "\n" }, { process.run(".ci/version") })
    assert.same({ 0, "sluice " .. version .. "\n" }, { process.run("build/bin/sluice --version") })
  end)

  it("is not in the documents, which nobody would write anew for it", function()
    local version = require("sluice.core").version:gsub("%.", "%%.")
    for _, path in ipairs(tree.files("^doc/.*[^p]$")) do
      assert.falsy(tree.read(path):find("%f[%d]" .. version .. "%f[^%d]"), path)
    end
    assert.falsy(tree.read("README.md"):find("%f[%d]" .. version .. "%f[^%d]"))
  end)

  describe("is set by one command", function()
    local folder

    before_each(function()
      folder = process.temp_dir() .. "/"
      for _, path in ipairs(FILES) do
        process.run { "mkdir", "-p", folder .. path:gsub("[^/]+$", "") }
        assert.equal(0, (process.run { "cp", "-p", path, folder .. path }))
      end
      process.run(("cp *.rockspec %s"):format(folder))
    end)
    after_each(function() process.remove_dir(folder) end)

    local function set(version) return process.run({ ".ci/version", version }, { dir = folder }) end

    local function put(path, from, to)
      local text = process.read_file(folder .. path)
      local at, last = assert(text:find(from, 1, true))
      process.write_file(folder .. path, text:sub(1, at - 1) .. to .. text:sub(last + 1))
    end

    it("in place of one that is not released", function()
      local old = require("sluice.core").version
      local released = process.read_file(folder .. "CHANGELOG.md"):find(("## [%s] - 2"):format(old), 1, true)
      if released then
        put("CHANGELOG.md", ("## [%s] - "):format(old), ("## [%s] - unreleased\n\n## [0.0.1] - "):format(old))
      end
      for _ = 1, 2 do
        local code, output = set("7.10.3")
        assert.same({ 0, all_are("7.10.3") }, { code, versions(folder) }, output)
      end
      assert.falsy(process.read_file(folder .. "debian/changelog"):find("(" .. old .. ")", 1, true))
      assert.falsy(process.read_file(folder .. "CHANGELOG.md"):find("[" .. old .. "]", 1, true))
    end)

    it("above one that is released, which stays as it was", function()
      local old = require("sluice.core").version
      local text = process.read_file(folder .. "CHANGELOG.md"):gsub("%- unreleased", "- 2026-12-01", 1)
      local debian = process.read_file(folder .. "debian/changelog")
      process.write_file(folder .. "CHANGELOG.md", text)
      assert.equal(0, (set("7.10.3")))
      assert.same(all_are("7.10.3"), versions(folder))
      local first = text:find("## [" .. old .. "]", 1, true)
      assert.equal(text:sub(1, first - 1) .. "## [7.10.3] - unreleased\n\n" .. text:sub(first),
        process.read_file(folder .. "CHANGELOG.md"))
      local entry = process.read_file(folder .. "debian/changelog")
      assert.equal(debian, entry:sub(-#debian))
      assert.matches("^sluice %(7%.10%.3%) unstable; urgency=medium\n\n  %* .-\n\n %-%- .+ <.+@.+>  %a+, .- %+%d+\n\n",
        entry:sub(1, -#debian - 1))
    end)

    it("and nothing is touched by what is no version", function()
      local old = require("sluice.core").version
      for _, wrong in ipairs { "1.2", "v1.2.3", "1.2.3-rc1", "01.2.3", "1.2.3\n", "", "1.2.3; x" } do
        local code, output = set(wrong)
        assert.equal(2, code, wrong .. output)
      end
      assert.same(all_are(old), versions(folder))
    end)
  end)
end)
