--- doc/use-cases.md says of each use case which specs show that it works, by file and by the words of the test.
--- Nothing of that may be made up, and nothing may stand there without one.
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local shared = require("spec.support.shared")
local tree = require("spec.support.tree")

local PAGE, PER_TABLE = "doc/use-cases.md", { ["Good practice"] = true, Reminders = true,
  ["Mistakes that are easily made"] = true }

-- The checks that a text names: { { file, words }, … }: [name](../spec/x_spec.lua) "words".
local function checks_in(text)
  local list = {}
  for path, behind in text:gmatch("%]%(%.%./(spec/[^)]+)%)([^%[]*)") do
    list[#list + 1] = { path, behind:match('^%s+"([^"]+)"') }
  end
  return list
end

-- The lines of a spec that begin a test, one behind the other.
local titles = setmetatable({}, { __index = function(self, path)
  local lines = {}
  for _, line in tree.lines(path) do
    if line:find("^%s*it%(") then lines[#lines + 1] = line end
  end
  self[path] = table.concat(lines, "\n")
  return self[path]
end })

-- The code of the test with these words.
local function body_of(path, words)
  local text = tree.read(path)
  local at = text:find(words, 1, true)
  return text:sub(at, (text:find("\n%s*it%(", at) or #text))
end

-- { title, level, text } of each heading.
local function sections_of(text)
  local list = {}
  for line in text:gmatch("([^\n]*)\n") do
    local marks, title = line:match("^(#+) (.+)$")
    if marks then list[#list + 1] = { title = title, level = #marks, lines = {} }
    else table.insert(list[#list].lines, line)
    end
  end
  for _, section in ipairs(list) do section.text = table.concat(section.lines, "\n") end
  return list
end

-- The sections below a heading of the second level.
local function below(sections, title)
  local list, inside = {}, false
  for _, section in ipairs(sections) do
    if section.level == 2 then inside = section.title == title
    elseif inside then list[#list + 1] = section
    end
  end
  return list
end

local function rows_of(text)
  local rows = {}
  for line in text:gmatch("[^\n]+") do
    if line:find("^|") and not line:find("^|%-") then rows[#rows + 1] = line end
  end
  table.remove(rows, 1)
  return rows
end

describe("the page of use cases", function()
  local text = tree.read(PAGE)
  local sections = sections_of(text)

  it("names tests that there are", function()
    local checks = checks_in(text)
    assert.is_true(#checks > 60, #checks .. " checks")
    for _, check in ipairs(checks) do
      local path, words = check[1], check[2]
      assert.equal("file", lfs.attributes(path, "mode"), path)
      assert.truthy(words, path .. " is named without a test of it")
      words = words:gsub("%s+", " ")
      assert.truthy(titles[path]:find(words, 1, true), ('%s has no test "%s"'):format(path, words))
      assert.falsy(body_of(path, words):find("shared%."), words .. " is skipped in most checkouts")
    end
  end)

  it("leaves no heading without a test, and no row of a table", function()
    local table_of
    for _, section in ipairs(sections) do
      if section.level == 2 then table_of = PER_TABLE[section.title] end
      if section.level == 3 then assert.truthy(#checks_in(section.text) > 0, section.title) end
      for _, row in ipairs(table_of and rows_of(section.text) or {}) do
        assert.truthy(#checks_in(row:match("|([^|]+)|$")) > 0, row)
      end
    end
  end)

  it("names every example", function()
    for folder in lfs.dir("examples") do
      local is_example = folder ~= "look" and lfs.attributes("examples/" .. folder .. "/app.lua")
      if is_example and folder ~= "showcase" and folder ~= "alerts" and folder ~= "chat" then
        assert.truthy(text:find("`examples/" .. folder .. "`", 1, true), folder)
      end
    end
  end)

  it("has as much as the list that it answers", function()
    local list = shared.read("use-cases.md")
    if not list then return pending("no ../shared/use-cases.md") end
    local _, cases = list:gsub("\n### Use Case\n", "")
    assert.equal(cases, #below(sections, "Pages"))
    local patterns = list:match("\n### Automatic Event Patterns\n(.-)\n### Demo Mode")
    assert.equal(select(2, patterns:gsub("\n%*%*%d%. ", "")), #below(sections, "What triggers an event"))
    local practice = below(sections, "Good practice")
    local n = 0
    for bullets in list:match("\n## Best Practices[^\n]*\n(.-)\n## "):gmatch("### [^\n]+\n([^#]+)") do
      n = n + 1
      assert.equal(select(2, ("\n" .. bullets):gsub("\n%- ", "")), #rows_of(practice[n].text), practice[n].title)
    end
    assert.equal(n, #practice)
    local reminders = list:match("\nRemember to:(.+)$")
    for _, section in ipairs(sections) do
      if section.title == "Reminders" then
        assert.equal(select(2, reminders:gsub("\n%- ", "")), #rows_of(section.text))
      end
    end
  end)
end)

describe("the page about when not", function()
  it("says when not to use it, and links to what is better there", function()
    local doc = markdown.read("doc/when-not.md")
    for _, head in ipairs { "you need", "your case" } do
      local rows = doc.table(head)
      assert.is_true(#rows >= 8, head)
      for _, row in ipairs(rows) do
        assert.truthy(row[2]:find("%]%(https://"), row[1])
        assert.truthy(row[3] ~= "", row[1])
      end
    end
  end)
end)
