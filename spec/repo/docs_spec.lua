--- The documents of the repository: sizes, links, the names of files, functions and commands in
--- them. (What they run: docs_programs_spec, first_hour_spec. Their tables: docs_tables_spec,
--- stability_spec.)
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local tree = require("spec.support.tree")

local README_BYTES, PAGE_BYTES = 12 * 1024, 30 * 1024
local PAGES = {
  "CONTRIBUTING.md", "README.md", "SECURITY.md", "doc/alerts.md", "doc/api/README.md", "doc/api/access.md",
  "doc/api/channels.md", "doc/api/clients.md", "doc/api/outgoing.md", "doc/api/reload.md", "doc/api/requests.md",
  "doc/api/sqlite.md", "doc/api/store.md", "doc/api/timers.md", "doc/auth.md", "doc/browser.md",
  "doc/changes.md", "doc/cluster.md", "doc/console.md", "doc/demo.md",
  "doc/deploy.md", "doc/design.md", "doc/durability.md", "doc/durable-streams.md", "doc/editor.md",
  "doc/first-hour.md", "doc/html.md", "doc/hub.md",
  "doc/inbox.md", "doc/jobs.md", "doc/lab.md", "doc/limits.md",
  "doc/mail.md", "doc/metrics.md", "doc/migrating.md", "doc/operating.md", "doc/outbox.md", "doc/protocol.md",
  "doc/publishing.md", "doc/react.md",
  "doc/rooms.md", "doc/runs.md",
  "doc/sources.md", "doc/stability.md", "doc/system.md", "doc/testing.md", "doc/tls.md", "doc/tools.md",
  "doc/use-cases.md", "doc/when-not.md",
  "examples/react/README.md",
  "examples/templates/alerts/README.md", "examples/templates/chat/README.md", "examples/templates/feed/README.md",
  "examples/templates/htmx/README.md", "examples/templates/jobs/README.md", "spec/bench/compare/README.md" }

local doc = markdown.pages()

-- A page without its blocks.
local function prose(text) return (("\n" .. text):gsub("\n```.-\n```", "")) end

-- { ["#heading"] = true } as a browser of the repository makes them.
local function anchors_of(path)
  local list = {}
  for heading in prose(tree.read(path)):gmatch("\n#+ ([^\n]+)") do
    list["#" .. heading:lower():gsub("[^%w%-_ ]", ""):gsub(" ", "-")] = true
  end
  return list
end

-- "doc/api/../x.md" -> "doc/x.md"
local function resolve(folder, target)
  local path = (folder .. target):gsub("%f[^/\0]%./", "")
  local n
  repeat path, n = path:gsub("[^/]+/%.%./", "", 1) until n == 0
  return path
end

describe("the pages", function()
  it("are these, each of a size that can be read", function()
    assert.same(PAGES, markdown.paths())
    for _, path in ipairs(PAGES) do
      local limit = path == "README.md" and README_BYTES or PAGE_BYTES
      assert.is_true(#tree.read(path) <= limit, ("%s: %d bytes"):format(path, #tree.read(path)))
    end
  end)

  it("link to what is there", function()
    local reached = { ["README.md"] = true }
    for _, path in ipairs(PAGES) do
      for target in prose(tree.read(path)):gmatch("%]%(([^)%s]+)%)") do
        if not target:find("^https?:") then
          local file, anchor = target:match("^([^#]*)(#?.*)$")
          local found = file == "" and path or resolve(path:match("^.*/") or "", file)
          assert.truthy(lfs.attributes(found, "mode"), path .. " links to " .. target)
          if anchor ~= "" then assert.is_true(anchors_of(found)[anchor], path .. " links to " .. target) end
          reached[found] = true
        end
      end
    end
    for _, path in ipairs(PAGES) do assert.is_true(reached[path], "no page links to " .. path) end
  end)

  it("name files that are there", function()
    for path in doc.text:gmatch("`([%w_]+/[%w_./-]+)`") do
      local known = path:find("^csrc/") or path:find("^lua/") or path:find("^spec/") or path:find("^examples/")
      if known or path:find("^doc/") then assert.truthy(lfs.attributes(path, "mode"), path) end
    end
  end)

  it("name every folder in the layout", function()
    local layout = tree.read("CONTRIBUTING.md"):match("## Layout.-\n```text\n(.-)\n```")
    local named, above, folders = {}, {}, {}
    for line in layout:gmatch("[^\n]+") do
      local indent, name = line:match("^( *)([%w_./]+)/ ")
      above[#indent // 2] = name
      named[table.concat(above, "/", 0, #indent // 2)] = true
    end
    for _, path in ipairs(tree.files("^[%l]+/.+")) do
      for folder in path:gmatch("()/") do folders[path:sub(1, folder - 1)] = true end
    end
    for folder in pairs(folders) do
      local known = named[folder] or folder:find("^examples/") or folder:find("^spec/%l+/") or folder == "lua"
      assert.truthy(known, folder .. " is not in the layout")
    end
    for folder in pairs(named) do assert.equal("directory", lfs.attributes(folder, "mode"), folder) end
  end)

  it("name commands that exist", function()
    local makefile, setup = tree.read("Makefile"), tree.read(".ci/setup")
    local targets = {}
    for names in makefile:gmatch("\n([%l -]+):[^=]") do
      for name in names:gmatch("%S+") do targets[name] = true end
    end
    for _, block in ipairs(doc.blocks) do
      for line in (block.lang == "sh" and block.text or ""):gmatch("[^\n]+") do
        local target = line:match("^make ([%l-]+)")
        local file = line:match("LUAROCKS_CONFIG=(%S+)")
        if target then assert.truthy(targets[target], line) end
        if file then assert.equal("file", lfs.attributes(file, "mode")) end
        for package in (line:match("apt%-get install (.*)") or ""):gmatch("%S+") do
          assert.truthy(setup:find("%f[%w]" .. package:gsub("%p", "%%%0") .. "%f[^%w.-]"), package)
        end
      end
    end
  end)

  it("have JavaScript that is JavaScript", function()
    local folder = process.temp_dir()
    for _, block in ipairs(doc.blocks) do
      local script = block.lang == "js" and block.text
        or block.lang == "html" and block.text:match("<script>(.-)</script>")
      if script then
        process.write_file(folder .. "/page.mjs", script)
        local code, output = process.run { "node", "--check", folder .. "/page.mjs" }
        assert.equal(0, code, output)
      end
    end
    process.remove_dir(folder)
  end)

  it("describe every public function, and no other", function()
    local meta = tree.meta()
    local owners = { App = "app:", Request = "req:", Client = "client:" }
    local exists = { ["app:store"] = true, ["app:chanel"] = true } -- not yet there; a mistake that is shown
    for owner, name in meta:gmatch("\nfunction ([%w.]+)[:.]([%w_]+)%(") do
      local full = (owners[owner] or owner .. ".") .. name
      exists[full] = true
      local described = false
      for _, path in ipairs(PAGES) do
        described = described or path ~= "doc/stability.md" and tree.read(path):find("%f[%w]" .. name .. "%f[^%w_]")
      end
      assert.truthy(described, full .. " is on no page")
    end
    for _, pattern in ipairs { "%f[%w]app:[%l_]+", "%f[%w]req:[%l_]+", "%f[%w]client:[%l_]+",
      "%f[%w]sluice%.json%.%l+", "%f[%w]sluice%.log%.%l+" } do
      for name in doc.text:gmatch(pattern) do
        assert.truthy(exists[name] or name == "sluice.json.null", name .. " does not exist")
      end
    end
  end)
end)
