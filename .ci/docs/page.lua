--- One HTML page: what stands around the text. It needs no script; with one there is a search.
local page = {}

function page.escape(text)
  return (tostring(text):gsub('[&<>"]', { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

local escape = page.escape

--- The way from one page to the folder of all: "" or "../".
function page.up(path) return (path:gsub("[^/]+/", "../"):gsub("[^/]*$", "")) end

local function navigation(groups, path, up)
  local out = {}
  for _, group in ipairs(groups) do
    local list, here = {}, false
    for i, entry in ipairs(group) do
      local current = entry.path == path
      here = here or current
      list[i] = ('<li><a href="%s%s"%s>%s</a>'):format(up, entry.path, current and ' aria-current="page"' or "",
        escape(entry.title))
    end
    out[#out + 1] = ("<details%s><summary>%s</summary><ul>%s</ul></details>"):format(
      (here or group.open) and " open" or "", escape(group.name), table.concat(list))
  end
  return table.concat(out, "\n")
end

local WHOLE = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$TITLE · Sluice</title>
<link rel="icon" href="$UPlogo.svg">
<link rel="stylesheet" href="$UPlook.css">
<link rel="stylesheet" href="$UPdocs.css">
<script src="$UPsearch.js" data-up="$UP" defer></script>
<body class="docs">
<a class="skip" href="#text">To the text</a>
<header><a class="home" href="$UPindex.html">Sluice</a> <a href="$UPreference/index.html">All names</a>
<div id="search" role="search"></div></header>
<nav aria-label="Pages">
$NAVIGATION
</nav>
<main id="text">
$TEXT
</main>
]]

--- @tparam string path of the page, below the folder of all
-- @tparam string title
-- @tparam string text HTML
-- @tparam table groups of the navigation: { name, open, { path, title }, … }
-- @treturn string
function page.render(path, title, text, groups)
  local up = page.up(path)
  local values = { TITLE = escape(title), UP = up, TEXT = text, NAVIGATION = navigation(groups, path, up) }
  return (WHOLE:gsub("%$(%u+)", function(name)
    local key = name:sub(1, 2) == "UP" and "UP" or name
    return values[key] and values[key] .. (key == "UP" and name:sub(3) or "")
  end))
end

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
  while const let new await async class import from export default static using var]]):gmatch("%a+") do
  KEYWORDS[word] = true
end

local COMMENT = { lua = "^%-%-", sql = "^%-%-", js = "^//", mjs = "^//", tsx = "^//", csharp = "^//", python = "^#",
  nginx = "^#", yaml = "^#" }

--- The code of a block, escaped, with its strings, comments and keywords marked.
function page.highlight(code, lang)
  local comment, out, i = COMMENT[lang], {}, 1
  if not comment then return escape(code) end
  local function take(kind, to)
    out[#out + 1] = ('<span class="%s">%s</span>'):format(kind, escape(code:sub(i, to)))
    i = to + 1
  end
  while i <= #code do
    local quote = code:match("^[\"'`]", i)
    local _, to = code:find(quote and "^" .. quote .. "[^\n" .. quote .. "]*" .. quote or "^%f[%w_][%a_][%w_]*", i)
    if code:find(comment, i) then take("c", (code:find("\n", i, true) or #code + 1) - 1)
    elseif quote and to then take("s", to)
    elseif to and not quote and KEYWORDS[code:sub(i, to)] then take("k", to)
    else
      to = to or i
      out[#out + 1] = escape(code:sub(i, to))
      i = to + 1
    end
  end
  return table.concat(out)
end

return page
