--- `make docs`: the documents and the reference as static pages, into build/docs (or the folder that is named).
--- Ends with 1 when LDoc warns, or when meta/ and the comments do not have the same functions.
local here = arg[0]:match("^.*/")
package.path = here .. "?.lua;lua/?.lua;" .. package.path
local functions = require("functions")
local guides = require("guides")
local page = require("page")
local reference = require("reference")

local TO = arg[1] or "build/docs"

-- The documents by group, in the order of reading; others follow under "More".
local GROUPS = {
  { name = "Begin", open = true, "README", "doc/first-hour", "doc/use-cases", "doc/when-not", "doc/migrating",
    "doc/publishing" },
  { name = "API by task", "doc/api/README", "doc/api/channels", "doc/api/requests", "doc/api/access", "doc/api/timers",
    "doc/api/clients", "doc/api/store", "doc/api/reload", "doc/api/outgoing", "doc/api/sqlite" },
  { name = "Ready parts", "doc/auth", "doc/hub", "doc/inbox", "doc/jobs", "doc/rooms", "doc/alerts", "doc/changes",
    "doc/system", "doc/runs", "doc/mail", "doc/outbox", "doc/demo" },
  { name = "In pages", "doc/browser", "doc/react", "examples/react/README", "doc/html", "doc/durable-streams",
    "doc/editor" },
  { name = "Test and run", "doc/testing", "doc/lab", "doc/tools", "doc/deploy", "doc/operating", "doc/metrics",
    "doc/durability", "doc/protocol", "doc/tls", "SECURITY" },
  { name = "More", "doc/stability", "doc/design", "CONTRIBUTING", "CHANGELOG" },
}

local function read_file(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function write_file(path, text)
  os.execute(("mkdir -p '%s/%s'"):format(TO, path:match("^.*/") or ""))
  local file <close> = assert(io.open(TO .. "/" .. path, "wb"))
  assert(file:write(text))
end

local function documents()
  local set = {}
  local pipe <close> = assert(io.popen("ls *.md doc/*.md doc/*/*.md examples/react/README.md"))
  for path in pipe:lines() do set[path] = true end
  return set
end

-- Fill in paths and titles; what no group names goes to the last one.
local function groups_of(read, reference_pages)
  local grouped, groups = {}, {}
  for i, group in ipairs(GROUPS) do
    groups[i] = { name = group.name, open = group.open }
    for k, name in ipairs(group) do
      local path = name .. ".md"
      grouped[path] = true
      groups[i][k] = assert(read[path], path .. " is not there")
    end
  end
  local rest = {}
  for path, guide in pairs(read) do
    if not grouped[path] then rest[#rest + 1] = guide end
  end
  table.sort(rest, function(a, b) return a.title < b.title end)
  table.move(rest, 1, #rest, #groups[#groups] + 1, groups[#groups])
  local last = { name = "Reference", reference_pages.index }
  table.move(reference_pages, 1, #reference_pages, 2, last)
  table.insert(groups, #groups, last)
  return groups
end

-- A text in JavaScript.
local function quoted(text)
  return '"' .. text:gsub('[\\"]', "\\%0"):gsub("%c", " "):gsub("<", "\\u003c") .. '"'
end

-- What is found is listed in this order where words do not tell.
local function search_index(groups, pages)
  local rows = {}
  local function add(kind, title, url, within, text)
    local cells = { quoted(kind), quoted(title), quoted(url), quoted(within), quoted(text) }
    rows[#rows + 1] = "[" .. table.concat(cells, ",") .. "]"
  end
  for _, p in ipairs(pages) do
    for _, part in ipairs(p.parts) do
      local is_function = part.kind == "function"
      add(is_function and "f" or "c", is_function and reference.call_of(part.name) or part.name,
        functions.path_of(p.name) .. "#" .. part.name, functions.title_of(p),
        (is_function and part.summary .. " " .. part.description or part.text):gsub("%s+", " "))
      for _, field in ipairs(part.fields or {}) do
        add("o", field.name, functions.path_of(p.name) .. "#" .. part.name, part.name, field.text)
      end
    end
  end
  for _, group in ipairs(groups) do
    for _, guide in ipairs(group.name ~= "Reference" and group or {}) do
      for _, section in ipairs(guides.sections(guide.html)) do
        local place = guide.path .. "#" .. section.id
        add("s", section.title, place, guide.title, section.text)
        local within = guide.title .. ": " .. section.title
        for _, row in ipairs(section.rows) do add("r", row.title, place, within, row.text) end
      end
    end
  end
  return "window.sluiceIndex=[\n" .. table.concat(rows, ",\n") .. "\n];\n"
end

local pages, problems = reference.read()
if #problems > 0 then
  io.stderr:write(table.concat(problems, "\n"), "\n")
  os.exit(1)
end

local calls, classes = functions.places(pages)
local set, read = documents(), {}
for path in pairs(set) do read[path] = guides.read(path, set, calls) end
local explaining = {} -- the documents about functions: neither those to begin with nor "More"
for i = 2, #GROUPS - 1 do
  for _, name in ipairs(GROUPS[i]) do explaining[#explaining + 1] = read[name .. ".md"] end
end
functions.mention(pages, explaining)
local rendered = { index = functions.index(pages) }
for i, p in ipairs(pages) do rendered[i] = functions.render(p, classes) end
local groups = groups_of(read, rendered)

if not arg[1] then os.execute("rm -rf build/docs") end
local function write_page(p) write_file(p.path, page.render(p.path, p.title, p.html, groups)) end
for _, guide in pairs(read) do write_page(guide) end
for _, p in ipairs(rendered) do write_page(p) end
write_page(rendered.index)
write_file("search-index.js", search_index(groups, pages))
for name, from in pairs { ["docs.css"] = here, ["search.js"] = here, ["look.css"] = "examples/look/",
  ["logo.svg"] = "examples/look/" } do
  write_file(name, read_file(from .. name))
end
os.execute(("cp -r doc/images doc/*.yml doc/*.json '%s'"):format(TO))
print(("docs: %s/index.html"):format(TO))
