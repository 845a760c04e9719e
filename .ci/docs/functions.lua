--- The reference as pages: a page for each file of meta/, and one with all names.
local page = require("page")
local reference = require("reference")

local functions = {}

local escape = page.escape

local function wide(rows)
  return '<div class="wide" tabindex="0"><table>' .. table.concat(rows, "\n") .. "</table></div>"
end

-- `code` in a text, types that are classes as links.
local function marked(text)
  return (escape(text):gsub("`([^`]+)`", "<code>%1</code>"))
end

local function typed(text, where)
  return (escape(text):gsub("sluice%.[%w_.]*%w", function(name)
    return where[name] and ('<a href="%s">%s</a>'):format(where[name], name)
  end))
end

-- Paragraphs; lines that are indented are code.
local function paragraphs(text)
  local out, code, words = {}, {}, {}
  local function flush()
    if #words > 0 then out[#out + 1] = "<p>" .. marked(table.concat(words, " ")) .. "</p>" end
    if #code > 0 then
      out[#out + 1] = "<pre tabindex=\"0\"><code>" .. page.highlight(table.concat(code, "\n"), "lua") .. "</code></pre>"
    end
    code, words = {}, {}
  end
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    local indented = line:match("^   +(.*)$")
    if not line:find("%S") then
      if #words > 0 then flush() end
    elseif indented then
      if #words > 0 then flush() end
      code[#code + 1] = line:sub(4)
    else
      if #code > 0 then flush() end
      words[#words + 1] = line:match("^%s*(.-)%s*$")
    end
  end
  flush()
  return table.concat(out, "\n")
end

local function parameters(f, where)
  local rows = {}
  for i, p in ipairs(f.params) do
    local kind = p.type and "<code>" .. typed(p.type, where) .. "</code>" or ""
    rows[i] = ("<tr><th><code>%s</code><td>%s%s<td>%s"):format(escape(p.name), kind,
      p.optional and " or nothing" or "", marked(p.text))
  end
  if #rows == 0 then return "" end
  return wide(rows)
end

local function returned(f, where)
  local types, says = {}, {}
  for i, text in ipairs(f.returns) do types[i] = "<code>" .. typed(text, where) .. "</code>" end
  for _, text in ipairs(f.says or {}) do
    if text:find("%S") then says[#says + 1] = marked((text:gsub("%s+", " "))) end
  end
  if #types == 0 and #says == 0 then return "" end
  return ("<p>Returns %s%s"):format(table.concat(types, ", "), #says > 0 and ": " .. table.concat(says, "; ") or "")
end

-- "fun(self: sluice.App, seconds: number, fn: fun())" -> "seconds, fn"
local function overload_names(text)
  local inner = text:match("^fun(%b())"):sub(2, -2):gsub("%b()", ""):gsub("%b{}", ""):gsub("%b<>", "")
  local names = {}
  for argument in inner:gmatch("[^,]+") do
    local name = argument:match("^%s*([%w_.]+)")
    if name ~= "self" then names[#names + 1] = name end
  end
  return table.concat(names, ", ")
end

-- The documents that mention it: links.
local function mentioned(f)
  local links = {}
  for i = 1, math.min(#(f.mentions or {}), 5) do
    links[i] = ('<a href="../%s">%s</a>'):format(f.mentions[i].path, escape(f.mentions[i].title))
  end
  return #links > 0 and "<p>In " .. table.concat(links, ", ") .. "." or ""
end

local function function_html(f, where)
  local names, also = {}, {}
  for i, p in ipairs(f.params) do names[i] = p.name end
  local call, heading = reference.call_of(f.name), '<h3 id="%s"><a href="#%s"><code>%s(%s)</code></a></h3>\n'
  for i, text in ipairs(f.overloads) do
    also[i] = ("<p>Also <code>%s(%s)</code>."):format(escape(call), escape(overload_names(text)))
  end
  return heading:format(f.name, f.name, escape(call), escape(table.concat(names, ", ")))
    .. paragraphs(f.summary .. f.description) .. table.concat(also) .. parameters(f, where) .. returned(f, where)
    .. mentioned(f)
end

local function class_html(class, where)
  local rows = {}
  for i, field in ipairs(class.fields) do
    rows[i] = ("<tr><th><code>%s</code><td><code>%s</code>%s<td>%s"):format(field.name, typed(field.type, where),
      field.optional and " or nothing" or "", marked(field.text))
  end
  local parent = class.parent and "Also has what " .. typed(class.parent, where) .. " has. " or ""
  local text = "<p>" .. parent .. marked(class.text)
  return ('<h3 id="%s"><a href="#%s"><code>%s</code></a></h3>\n%s\n%s'):format(class.name, class.name,
    class.name, text, wide(rows))
end

local function alias_html(part, where)
  return ('<h3 id="%s"><a href="#%s"><code>%s</code></a></h3>\n<p><code>%s</code> %s'):format(part.name, part.name,
    part.name, typed(part.type, where), marked(part.text))
end

-- A class without fields is the name of an object, whose methods follow.
local function part_html(part, where)
  if part.kind == "function" then return function_html(part, where) end
  if part.kind == "alias" then return alias_html(part, where) end
  return #part.fields > 0 and class_html(part, where) or ('<span id="%s"></span>'):format(part.name)
end

function functions.path_of(name) return "reference/" .. name .. ".html" end

local TITLES = { init = "sluice", app = "App, Store", request = "Request", stream = "Client", stats = "Figures" }

function functions.title_of(p) return TITLES[p.name] or p.module or p.name end

--- Where each call is described, and each class: { ["app:publish"] = "reference/app.html#App:publish" }.
function functions.places(pages)
  local calls, classes = {}, {}
  for _, p in ipairs(pages) do
    for _, part in ipairs(p.parts) do
      local place = functions.path_of(p.name) .. "#" .. part.name
      if part.kind == "function" then calls[reference.call_of(part.name)] = place else classes[part.name] = place end
    end
  end
  return calls, classes
end

--- Tell each function which documents mention it.
function functions.mention(pages, guides)
  for _, p in ipairs(pages) do
    for _, part in ipairs(p.parts) do
      local place = functions.path_of(p.name) .. "#" .. part.name
      part.mentions = {}
      for _, guide in ipairs(guides) do
        if guide.mentions[place] then table.insert(part.mentions, guide) end
      end
    end
  end
end

--- The page of a file of meta/.
function functions.render(p, classes)
  local where, parts, fields = {}, {}, {}
  for name, place in pairs(classes) do where[name] = "../" .. place end
  for _, part in ipairs(p.parts) do
    local list = part.kind == "function" and parts or fields
    list[#list + 1] = part_html(part, where)
  end
  if #parts > 0 then table.insert(parts, 1, "<h2>Functions</h2>") end
  if #parts > 0 and #fields > 0 then parts[#parts + 1] = "<h2>Options and fields</h2>" end
  table.move(fields, 1, #fields, #parts + 1, parts)
  local title = functions.title_of(p)
  local head = p.module and p.module ~= "sluice" and ('<p><code>require("%s")</code>'):format(p.module) or ""
  return { path = functions.path_of(p.name), title = title, html = ("<h1>%s</h1>\n%s\n%s\n%s"):format(escape(title),
    head, paragraphs(p.text), table.concat(parts, "\n")) }
end

--- All names, in the order of the alphabet.
function functions.index(pages)
  local rows = {}
  for _, p in ipairs(pages) do
    for _, part in ipairs(p.parts) do
      local call = part.kind == "function" and reference.call_of(part.name) or part.name
      local text = part.kind == "function" and part.summary or part.text
      local link = ('<a href="%s.html#%s"><code>%s</code></a>'):format(p.name, part.name, call)
      rows[#rows + 1] = { call, ("<tr><th>%s<td>%s"):format(link, marked(text)) }
    end
  end
  table.sort(rows, function(a, b) return a[1]:lower() < b[1]:lower() end)
  for i, row in ipairs(rows) do rows[i] = row[2] end
  return { path = "reference/index.html", title = "All names",
    html = "<h1>All names</h1>\n" .. wide(rows) }
end

return functions
