--- The documents as pages: cmark-gfm makes HTML of them, and here links, headings and code are seen to.
local page = require("page")

local guides = {}

local REPOSITORY = "https://github.com/sluice-lua/sluice/blob/main/"

--- Where the page of a document is: "doc/api/README.md" -> "api/index.html".
function guides.path_of(path)
  return (path:gsub("^doc/", ""):gsub("README%.md$", "index.html"):gsub("%.md$", ".html"))
end

--- The name of a heading in addresses, as the repository's own pages make it.
function guides.slug(title) return (title:lower():gsub("[^%w%-_ ]", ""):gsub(" ", "-")) end

local function plain(html)
  return (html:gsub("<[^>]+>", ""):gsub("&(%w+);", { amp = "&", lt = "<", gt = ">", quot = '"' }))
end

-- "doc/api/" and "../x.md" -> "doc/x.md"
local function resolve(folder, target)
  local path = folder .. target
  while path:find("[^/]+/%.%./") do path = path:gsub("[^/]+/%.%./", "", 1) end
  return path
end

local function new_href(self, target)
  if target:find("^%a+:") or target:find("^#") then return target end
  local file, anchor = target:match("^([^#]*)(#?.*)$")
  local path = resolve(self.folder, file)
  if self.pages[path] then return page.up(self.path) .. guides.path_of(path) .. anchor end
  if path:find("^doc/") then return page.up(self.path) .. path:sub(5) end -- an image, a file beside
  return REPOSITORY .. path
end

-- `app:publish(…)` leads to where it is described.
local function link_code(self, code)
  local call = plain(code):match("^([%a_]+[:.][%w_.]+)")
  local target = call and self.calls[call]
  if not target then return "<code>" .. code .. "</code>" end
  self.mentions[target] = true
  return ('<a class="call" href="%s%s"><code>%s</code></a>'):format(page.up(self.path), target, code)
end

local function see_to(self, html)
  html = html:gsub('<pre><code class="language%-(%w+)">(.-)</code></pre>', function(lang, code)
    return ("<pre><code>%s</code></pre>"):format(page.highlight(plain(code), lang))
  end):gsub("<pre>", '<pre tabindex="0">'):gsub("<th></th>", "<td></td>")
  html = html:gsub("<h(%d)>(.-)</h%d>", function(level, inner)
    local id = guides.slug(plain(inner))
    return ('<h%s id="%s"><a href="#%s">%s</a></h%s>'):format(level, id, id, inner:gsub("</?a[^>]*>", ""), level)
  end)
  html = html:gsub('(<a href=")([^"]+)"', function(before, target) return before .. new_href(self, target) .. '"' end)
  html = html:gsub('( src=")([^"]+)"', function(before, target) return before .. new_href(self, target) .. '"' end)
  html = html:gsub('( srcset=")([^"]+)"', function(before, target) return before .. new_href(self, target) .. '"' end)
  html = html:gsub("(<%l+>)<code>(.-)</code>", function(before, code)
    return before .. link_code(self, code)
  end)
  html = html:gsub("([ (])<code>([^<]*)</code>", function(before, code) return before .. link_code(self, code) end)
  return (html:gsub("<table>", '<div class="wide" tabindex="0"><table>'):gsub("</table>", "</table></div>"))
end

--- { title, id, text, rows } of each section, for the search; a row is of a table whose first cell is code.
function guides.sections(html)
  local list = {}
  for at, id, title, behind in html:gmatch('()<h%d id="([^"]+)">(.-)</h%d>()') do
    if #list > 0 then list[#list].to = at - 1 end
    list[#list + 1] = { id = id, title = plain(title), from = behind, to = #html }
  end
  for _, section in ipairs(list) do
    local text = html:sub(section.from, section.to)
    section.text = plain(text):gsub("%s+", " ")
    section.rows = {}
    for name, behind in text:gmatch("<tr>%s*<td>[^\n]-<code>([^<]+)</code>[^\n]*</td>(.-)</tr>") do
      table.insert(section.rows, { title = plain(name), text = plain(behind):gsub("%s+", " ") })
    end
  end
  return list
end

local function run(path)
  local pipe <close> = assert(io.popen("cmark-gfm --unsafe -e table -e strikethrough '" .. path .. "'"))
  local html = pipe:read("a")
  return html ~= "" and html or error("cmark-gfm has made nothing of " .. path, 0)
end

--- The page of a document.
-- @tparam string path "doc/hub.md"
-- @tparam table pages set of the documents that have pages
-- @tparam table calls "app:publish" -> "reference/app.html#App:publish"
-- @treturn table { path, title, html, mentions = { "reference/app.html#App:publish" = true } }
function guides.read(path, pages, calls)
  local html = run(path)
  local self = { folder = path:match("^.*/") or "", path = guides.path_of(path), pages = pages, calls = calls,
    mentions = {} }
  html = see_to(self, html)
  local title = plain(html:match("<h1[^>]*>(.-)</h1>") or path)
  return { path = self.path, title = title, html = html, mentions = self.mentions }
end

return guides
