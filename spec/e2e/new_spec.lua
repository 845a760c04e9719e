--- `sluice new`: each template is an app that loads without a warning, passes its own spec, and serves its page.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local lfs = require("lfs")
local process = require("spec.support.process")
local sse = require("spec.support.sse")
local tree = require("spec.support.tree")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"

-- Each with the stream of its page, and what makes an event of that name come there.
local TEMPLATES = {
  feed = { "/api/news", "/api/news", '{"title":"Hello"}', "story" },
  chat = { "/api/rooms/lobby?name=ann", "/api/rooms/lobby/messages?name=ann", '{"text":"Hello"}', "said" },
  jobs = { "/api/job-events", "/api/jobs", '{"items":1}', "job-complete" },
  alerts = { "/api/figures", "/api/samples", '{"memory":99}', "alert" },
  htmx = { "/api/notes", "/api/notes", "text=Hello", "note" },
}

local folder

local function sluice(words, dir) return process.run({ SLUICE, table.unpack(words) }, { dir = dir or folder }) end

local function serve(dir)
  local p = process.spawn({ SLUICE, "run", "app.lua", "--port", "0", "--io-threads", "1" },
    { dir = dir, env = { XDG_RUNTIME_DIR = folder } })
  local port = deadline.eventually(function()
    if p:code() then deadline.give_up(p:log()) end
    return p:log():gsub("\\/", "/"):match("http://127%.0%.0%.1:(%d+)")
  end, 10)
  return p, math.tointeger(tonumber(port))
end

before_each(function() folder = process.temp_dir() end)
after_each(function()
  process.stop_all()
  process.remove_dir(folder)
end)

describe("sluice new", function()
  it("offers the templates that are there", function()
    local _, help = sluice { "new", "--help" }
    local there = {}
    for name in lfs.dir("examples/templates") do
      if not name:find("^%.") then
        there[name] = true
        assert.truthy(help:find("\n  " .. name .. " +%l"), name)
        assert.truthy(TEMPLATES[name], name)
      end
    end
    for name in pairs(TEMPLATES) do assert.is_true(there[name], name) end
  end)

  for name, row in pairs(TEMPLATES) do
    it("makes of " .. name .. " what runs at once, and passes its spec", function()
      local code, text = sluice { "new", "my-app", "--template", name }
      assert.equal(0, code, text)
      assert.matches("^my%-app: made from the template " .. name, text)
      local dir = folder .. "/my-app"
      for _, path in ipairs { "app.lua", "app_spec.lua", "README.md", "public/index.html" } do
        local made = assert(process.read_file(dir .. "/" .. path), path)
        assert.is_nil(made:find("%f[%w]NAME%f[%W]"), path)
      end
      assert.matches("^# my%-app\n", process.read_file(dir .. "/README.md"))
      code, text = sluice({ "check", "app.lua" }, dir)
      assert.equal(0, code, text)
      assert.is_nil(text:find("warnings", 1, true), text)
      code, text = sluice({ "test" }, dir)
      assert.equal(0, code, text)
      assert.matches("%d successes / 0 failures / 0 errors", text)
      local p, port = serve(dir)
      local page = http.get(port, "/")
      assert.same({ 200, true }, { page.status, page.body:find("<title>my-app</title>", 1, true) ~= nil })
      local stream, post, body, event = table.unpack(row)
      local c = sse.connect(port, stream)
      assert(c:wait_for("hello"))
      local kind = body:find("^{") and "application/json" or "application/x-www-form-urlencoded"
      local answer = http.post(port, post, body, { ["Content-Type"] = kind, ["X-API-Key"] = "change-me" })
      assert.is_true(answer.status < 300, answer.body)
      assert(c:wait_for(event, 5), event)
      c:close()
      assert.is_nil(p:log():find('"level":"error"', 1, true), p:log())
      assert.equal(0, p:stop())
    end)
  end

  it("says in each README what it shows there: commands that work", function()
    for name in pairs(TEMPLATES) do
      local text = tree.read(("examples/templates/%s/README.md"):format(name))
      assert.matches("\n    sluice run app%.lua\n", text)
      local curl = text:match("\n    (curl [^\n]+)\n")
      if curl then
        sluice { "new", name, "--template", name }
        local p, port = serve(folder .. "/" .. name)
        local line = curl:gsub("^curl ", "curl -s -o /dev/null -w '%%{http_code}' ", 1)
        local _, answer = process.run((line:gsub("127%.0%.0%.1:5121", "127.0.0.1:" .. port)))
        assert.matches("^20%d$", answer, curl)
        p:kill()
      end
    end
  end)

  it("names itself so that a shell finds it", function()
    local path = os.getenv("PATH")
    local function next_of(name, env)
      local _, text = process.run({ "env", "PATH=" .. env, SLUICE, "new", name }, { dir = folder })
      return text:match("\n  (%S+) run app%.lua"), text
    end
    assert.equal("sluice", (next_of("on", path .. ":" .. SLUICE:match("^(.*)/"))))
    local command, text = next_of("off", path:gsub("[^:]+", function(dir)
      return lfs.attributes(dir .. "/sluice") and folder .. "/none" or nil
    end))
    assert.equal(SLUICE, command, text)
  end)

  it("overwrites nothing, and leaves nothing half made", function()
    assert.equal(0, (sluice { "new", "a/b/c d" }))
    assert.matches("^# c d\n", process.read_file(folder .. "/a/b/c d/README.md"))
    assert.same({ 1, "sluice: a/b/c d is there already\n" }, { sluice { "new", "a/b/c d" } })
    process.write_file(folder .. "/file", "mine")
    assert.equal(1, (sluice { "new", "file" }))
    local below = { sluice { "new", "file/below" } }
    assert.equal(1, below[1])
    assert.matches("^sluice: file/below cannot be made: [^\n]+\n$", below[2])
    assert.equal("mine", process.read_file(folder .. "/file"))
    for _, name in ipairs { "", ".", "..", "a\nb", "-x%", "/" } do
      assert.is_true(sluice { "new", "--", name } > 0, name)
    end
    local code, text = sluice { "new", "x", "--template", "caht" }
    assert.equal(2, code)
    assert.matches("there is no 'caht', did you mean 'chat'?", text, 1, true)
    assert.equal(1, (process.run(("ulimit -f 1; trap '' XFSZ; %s new full"):format(SLUICE), { dir = folder })))
    assert.is_nil(lfs.attributes(folder .. "/full"))
    for name in lfs.dir(folder) do assert.is_nil(name:find("part", 1, true), name) end
  end)
end)
