--- The units of systemd, as `make install` writes them: systemd reads them, and the service is shut in.
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local tree = require("spec.support.tree")

local EXPOSURE_MOST = 1.5

describe("the units", function()
  local folder

  setup(function()
    folder = process.temp_dir()
    local code, output = process.run("make install PREFIX=" .. folder, { seconds = 180 })
    assert.equal(0, code, output)
    -- instances, as systemctl makes them
    for _, kind in ipairs { "service", "socket" } do
      assert.equal(0, (process.run(("cp sluice@.%s sluice@news.%s"):format(kind, kind),
        { dir = folder .. "/lib/systemd/system" })))
    end
  end)
  teardown(function() process.remove_dir(folder) end)

  local function analyze(words)
    return process.run("SYSTEMD_UNIT_PATH=" .. folder .. "/lib/systemd/system: systemd-analyze " .. words)
  end

  it("are read by systemd without a complaint", function()
    for _, kind in ipairs { "service", "socket" } do
      local code, output = analyze(("verify --man=no %s/lib/systemd/system/sluice@news.%s"):format(folder, kind))
      local own = {} -- of the units of this machine others complain, too
      for line in output:gmatch("[^\n]+") do
        if line:find("sluice", 1, true) then own[#own + 1] = line end
      end
      assert.same({}, own)
      assert.equal(0, code, output)
    end
  end)

  it("are read with the drop-in that HTTPS needs, and the server takes what that says", function()
    local units = folder .. "/lib/systemd/system"
    local drop_in = markdown.read("doc/tls.md").block("ini").text
    assert.equal(0, (process.run({ "mkdir", units .. "/sluice@news.service.d" })))
    process.write_file(units .. "/sluice@news.service.d/override.conf", drop_in)
    local code, output = analyze(("verify --man=no %s/sluice@news.service"):format(units))
    process.remove_dir(units .. "/sluice@news.service.d")
    assert.equal(0, code, output)
    assert.is_nil(output:match("[^\n]*sluice[^\n]*"))
    local said = 0
    for name, value in drop_in:gmatch("(SLUICE_[%w_]+)=(%S+)") do
      said = said + 1
      assert.same({}, require("sluice.live.variables").warnings(name .. "=" .. value .. "\0"))
    end
    assert.equal(5, said)
  end)

  it("start the command that is installed beside them", function()
    local text = process.read_file(folder .. "/lib/systemd/system/sluice@.service")
    assert.truthy(text:find(("\nExecStart=%s/bin/sluice run --no-watch "):format(folder), 1, true))
    assert.truthy(text:find(("\nExecReload=%s/bin/sluice reload\n"):format(folder), 1, true))
    assert.equal(2, select(2, text:gsub(folder:gsub("%p", "%%%0"), "")))
    for line in text:gmatch("\nExecStart=([^\n]+)") do -- its options are ones that there are
      local code, output = process.run((line:gsub("/srv/sluice/%%i/app.lua", "/nowhere.lua")))
      assert.equal(1, code, output)
      assert.matches("/nowhere.lua: there is no such file", output)
    end
  end)

  it(("expose the service by no more than %g"):format(EXPOSURE_MOST), function()
    local unit = folder .. "/lib/systemd/system/sluice@news.service"
    local code, output = analyze(("security --no-pager --offline=true --threshold=%d %s"):format(EXPOSURE_MOST * 10,
      unit))
    assert.equal(0, code, output)
    local exposure = tonumber(output:match("Overall exposure level[^:]*: ([%d.]+)"))
    assert.is_true(exposure <= EXPOSURE_MOST, output)
    assert.equal(exposure, tonumber(tree.read("doc/deploy.md"):match("systemd%-analyze security` says ([%d.]+),")))
  end)

  it("say what the page says of them", function()
    local service, socket = tree.read("systemd/sluice@.service"), tree.read("systemd/sluice@.socket")
    local page = markdown.read("doc/deploy.md").text
    local manual = tree.read("doc/sluice.1.in")
    for _, path in ipairs { "/srv/sluice/", "/etc/sluice/", "/var/lib/sluice/", "/run/sluice/" } do
      assert.truthy(page:find(path .. "news", 1, true) and manual:find(path .. "NAME", 1, true), path)
      local named = path:gsub("^/var/lib", "%%S"):gsub("^/run", "%%t")
      assert.truthy(service:find(named .. "%i", 1, true), named)
    end
    local seconds = tonumber(service:match("\nWatchdogSec=(%d+)\n"))
    assert.truthy(page:find(("`WatchdogSec=%d` the app's own loop reports every %d s"):format(seconds, seconds // 4), 1,
      true))
    assert.truthy(page:find(("A handler may hold the app for %d s"):format(seconds * 3 // 4), 1, true))
    assert.truthy(page:find("`LimitNOFILE` is " .. service:match("\nLimitNOFILE=(%d+)\n"), 1, true))
    assert.truthy(page:find(("(`%s`)"):format(socket:match("\nListenStream=(%S+)\n")), 1, true))
  end)
end)
