--- `make docs`: LDoc has nothing to warn of, its comments and meta/ have the same functions, and the pages lead to each
--- other, need no script to be read, and nothing from elsewhere. (What meta/ has is what there is: spec/unit/meta_spec,
--- spec/kit/meta_spec. The search: spec/browser/docs_spec.)
local lfs = require("lfs")
local process = require("spec.support.process")
local tree = require("spec.support.tree")

local HAS_TOOLS = (process.run("command -v ldoc && command -v cmark-gfm")) == 0

local function skip() return pending("lua-ldoc or cmark-gfm is not installed") end

-- What the reader of both says, in a Lua of its own, of a checkout whose files were edited: { path, from, to }.
local function problems_with(edits)
  local folder = process.temp_dir()
  finally(function() process.remove_dir(folder) end)
  assert(os.execute(("cp -r lua .ci %s"):format(folder)))
  for _, edit in ipairs(edits) do
    local path, from, to = table.unpack(edit)
    local text = process.read_file(folder .. "/" .. path)
    local at = assert(text:find(from, 1, true), from)
    process.write_file(folder .. "/" .. path, text:sub(1, at - 1) .. to .. text:sub(at + #from))
  end
  return process.run("lua5.4 .ci/docs/build.lua out", { dir = folder })
end

describe("the reference", function()
  it("is said by LDoc without a warning, and is what meta/ has", function()
    if not HAS_TOOLS then return skip() end
    local code, output = process.run { "lua5.4", "-e", [[package.path = ".ci/docs/?.lua;" .. package.path
      local pages, problems = require("reference").read()
      io.write(#pages, "\n", table.concat(problems, "\n"))]] }
    assert.equal(0, code, output)
    assert.equal(#tree.files("^lua/sluice/meta/.*%.lua$") .. "\n", output)
  end)

  it("is not made when a comment, a parameter or a function is missing", function()
    if not HAS_TOOLS then return skip() end
    local code, output = problems_with {
      { "lua/sluice/hub.lua", "--- Publish an `alert`.", "-- ." },
      { "lua/sluice/rooms.lua", "-- @tparam sluice.App app\n", "" },
      { "lua/sluice/meta/hub.lua", "function Hub:notification(body) end", "function Hub:notification(body, more) end" },
      { "lua/sluice/meta/hub.lua", "function Hub:data_update(body) end", "" },
    }
    assert.equal(1, code, output)
    for _, problem in ipairs { "Hub:alert has no LDoc comment where it stands",
      "rooms.new: undocumented formal argument: 'given'",
      "Hub:notification has 2 parameters in meta/ and 1 in its LDoc comment",
      "Hub:data_update has an LDoc comment and is not in meta/" } do
      assert.truthy(output:find(problem, 1, true), output)
    end
  end)
end)

describe("the pages of make docs", function()
  local folder, pages = nil, {}

  setup(function()
    if not HAS_TOOLS then return end
    folder = process.temp_dir()
    local code, output = process.run { "lua5.4", ".ci/docs/build.lua", folder }
    assert.equal(0, code, output)
    local _, list = process.run("find . -name '*.html'", { dir = folder })
    for path in list:gmatch("%./([^\n]+)") do pages[path] = process.read_file(folder .. "/" .. path) end
  end)
  teardown(function() if folder then process.remove_dir(folder) end end)

  it("are one for each document and each module", function()
    if not HAS_TOOLS then return skip() end
    for _, path in ipairs(tree.files("^doc/.*%.md$")) do
      local page = path:gsub("^doc/", ""):gsub("README%.md$", "index.html"):gsub("%.md$", ".html")
      assert.truthy(pages[page], page)
    end
    for _, path in ipairs(tree.files("^lua/sluice/meta/.*%.lua$")) do
      assert.truthy(pages["reference/" .. path:match("([%w_]+)%.lua$") .. ".html"], path)
    end
    assert.truthy(pages["index.html"]:find("Sluice is a Server-Sent-Events server", 1, true))
  end)

  it("say of each public function what it does, also without a script", function()
    if not HAS_TOOLS then return skip() end
    local index, n = pages["reference/index.html"], 0
    for name in tree.meta():gmatch("\nfunction ([%w_.:]+)%(") do
      local place = index:match('href="([%w_]+%.html)#' .. name:gsub("%p", "%%%0") .. '"')
      assert.truthy(place, name .. " is not among all names")
      assert.truthy(pages["reference/" .. place]:find('<h3 id="' .. name .. '">.-</h3>\n<p>%w'), name)
      n = n + 1
    end
    assert.is_true(n > 200)
  end)

  it("lead to each other, to headings that there are", function()
    if not HAS_TOOLS then return skip() end
    local n = 0
    for path, html in pairs(pages) do
      for target in html:gmatch('%f[%w]href="([^"]+)"') do
        if not target:find("^https?:") then
          local file, anchor = target:match("^([^#]*)#?(.*)$")
          local found = file == "" and path or (path:match("^.*/") or "") .. file
          while found:find("[^/]+/%.%./") do found = found:gsub("[^/]+/%.%./", "", 1) end
          local there = pages[found] or lfs.attributes(folder .. "/" .. found, "mode")
          assert.truthy(there, path .. " leads to " .. target)
          local is_there = anchor == "" or pages[found]:find('id="' .. anchor .. '"', 1, true)
          assert.truthy(is_there, path .. " leads to " .. target)
          n = n + 1
        end
      end
    end
    assert.is_true(n > 2000, n .. " links")
  end)

  it("take nothing from elsewhere, and one script", function()
    if not HAS_TOOLS then return skip() end
    for path, html in pairs(pages) do
      assert.equal(1, select(2, html:gsub("<script", "")), path)
      for tag, given in html:gmatch("<(%l+)([^>]*)>") do
        if tag ~= "a" then assert.falsy(given:find("://", 1, true), path .. ": <" .. tag .. given .. ">") end
      end
    end
  end)
end)
