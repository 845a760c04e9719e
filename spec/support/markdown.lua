--- A document as a spec sees it: its code blocks in order, its tables, and what a terminal
--- showed compared with what the document says it shows.
---
---   local doc = markdown.read("README.md"), or markdown.pages(): all documents as one
---   doc.blocks[1] -> { lang, text, line, path, place }; doc.block("nginx") -> the only one of that language
---   doc.table("flag") -> rows of cells of the table whose first head is `flag`
---   markdown.matches(expected, actual) -> boolean
local json = require("sluice.json")
local tree = require("spec.support.tree")

local markdown = {}

local ANY = "…"

local function read_blocks(text)
  local blocks, open, n = {}, nil, 0
  for line in text:gmatch("([^\n]*)\n") do
    n = n + 1
    local fence = line:match("^```(%w*)$")
    if fence and open then
      open.text = table.concat(open, "\n") .. "\n"
      open = nil
    elseif fence then
      open = { lang = fence, line = n + 1 }
      blocks[#blocks + 1] = open
    elseif open then
      open[#open + 1] = line
    end
  end
  assert(not open, "a code block is not closed")
  return blocks
end

local function read_cells(line)
  local cells = {}
  for cell in line:sub(2):gmatch("(.-)|") do cells[#cells + 1] = cell:match("^%s*(.-)%s*$") end
  return cells
end

--- The rows below a table's head; several tables may have the same first head.
local function find_tables(text, head)
  local tables, inside = {}, nil
  for line in text:gmatch("([^\n]*)\n") do
    if line:sub(1, 1) ~= "|" then
      inside = nil
    elseif inside then
      if not line:find("^|%-") then inside[#inside + 1] = read_cells(line) end
    elseif read_cells(line)[1] == head then
      inside = {}
      tables[#tables + 1] = inside
    else
      inside = {} -- another table
    end
  end
  return tables
end

local function document(text, blocks)
  local doc = { text = text, blocks = blocks }
  --- The only block of a language.
  function doc.block(lang)
    local found
    for _, block in ipairs(blocks) do
      if block.lang == lang then
        assert(not found, "several blocks are of " .. lang)
        found = block
      end
    end
    return assert(found, "no block is of " .. lang)
  end
  --- The rows of the only table with that first head.
  function doc.table(head)
    local tables = find_tables(text, head)
    assert(#tables == 1, ("%d tables begin with '%s'"):format(#tables, head))
    return tables[1]
  end
  return doc
end

--- Read a file.
function markdown.read(path)
  local text = tree.read(path)
  local blocks = read_blocks(text)
  for _, block in ipairs(blocks) do block.path, block.place = path, path .. ":" .. block.line end
  return document(text, blocks)
end

--- The documents of the repository, by path: all but the changelog.
function markdown.paths()
  local list = {}
  for _, path in ipairs(tree.files("%.md$")) do
    if path ~= "CHANGELOG.md" then list[#list + 1] = path end
  end
  return list
end

--- All of them as one; each block knows its path.
function markdown.pages()
  local texts, blocks = {}, {}
  for i, path in ipairs(markdown.paths()) do
    local doc = markdown.read(path)
    texts[i] = doc.text
    table.move(doc.blocks, 1, #doc.blocks, #blocks + 1, blocks)
  end
  return document(table.concat(texts, "\n"), blocks)
end

--- Whether a block is a whole app, a spec of one.
function markdown.is_program(block) return block.lang == "lua" and block.text:find("\nreturn app\n$") ~= nil end
function markdown.is_test(block)
  return block.lang == "lua" and block.text:find('require("sluice.testing")', 1, true) ~= nil
end

--- The texts between backticks.
function markdown.code(cell)
  local list = {}
  for code in cell:gmatch("`([^`]+)`") do list[#list + 1] = code end
  return list
end

local function same_value(wanted, got)
  if wanted == ANY then return got ~= nil end
  if type(wanted) ~= "table" or type(got) ~= "table" then return wanted == got end
  for name, value in pairs(wanted) do
    if not same_value(value, got[name]) then return false end
  end
  for name in pairs(got) do
    if wanted[name] == nil then return false end
  end
  return true
end

-- "id: …" and the like: the pieces between the dots, in order, from start to end.
local function same_text(wanted, got)
  local pieces = {}
  for piece in (wanted .. ANY):gmatch("(.-)" .. ANY) do pieces[#pieces + 1] = piece end
  if #pieces == 1 then return wanted == got end
  local first, last = pieces[1], table.remove(pieces)
  if got:sub(1, #first) ~= first then return false end
  local at = 1
  for _, piece in ipairs(pieces) do
    local _, to = got:find(piece, at, true)
    if not to then return false end
    at = to + 1
  end
  return #got - #last + 1 >= at and got:sub(#got - #last + 1) == last
end

-- JSON is compared as values: the order of its names says nothing.
local function same_line(wanted, got)
  local prefix, rest = wanted:match("^(data: )({.*)$")
  if not prefix then prefix, rest = "", wanted end
  if rest:find("^[{%[]") and got:sub(1, #prefix) == prefix then
    local value = json.decode((rest:gsub(":" .. ANY .. "([,}])", ':"' .. ANY .. '"%1')))
    local actual = json.decode(got:sub(#prefix + 1))
    if value and actual then return same_value(value, actual) end
  end
  return same_text(wanted, got)
end

local function lines_of(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do list[#list + 1] = line end
  return list
end

--- Whether a text is what was announced. "…" alone stands for any lines, within a line for any
--- text, as a JSON value for any value. Blank lines and heartbeats do not count.
function markdown.matches(expected, actual)
  local wanted, got = lines_of(expected), lines_of((actual:gsub("\n:\n", "\n")))
  local function rest(w, g)
    if w > #wanted then return g > #got end
    if wanted[w] ~= ANY then
      return g <= #got and same_line(wanted[w], got[g]) and rest(w + 1, g + 1)
    end
    for next_g = g, #got + 1 do
      if rest(w + 1, next_g) then return true end
    end
    return false
  end
  return rest(1, 1)
end

return markdown
