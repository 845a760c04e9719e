--- The public functions: their types from lua/sluice/meta/, what LDoc says of them where they stand.
--- reference.read() -> pages, problems. A page is a file of meta/: { name, title, text, parts }; a part
--- is a class with fields, or a function; a problem is a sentence about a name that one of both lacks.
local reference = {}

-- The files of meta/ in the order of reading; further ones follow by name.
local ORDER = { "init", "app", "request", "stream", "stats" }

-- What an object is called in examples, where that is not the class in lower case.
local CALLED = { Request = "req", Test = "t", Stream = "c", HttpStream = "answer", Database = "db",
  EventStream = "parser" }

--- "Hub:alert" as one writes it: "hub:alert".
function reference.call_of(name)
  local owner, rest = name:match("^(%u%w*)([:.].+)$")
  if not owner then return name end
  return (CALLED[owner] or owner:sub(1, 1):lower() .. owner:sub(2)) .. rest
end

local function read_file(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

-- The paths of meta/, those of ORDER first.
local function meta_paths()
  local pipe <close> = assert(io.popen("ls lua/sluice/meta/*.lua"))
  local names, rest = {}, {}
  for path in pipe:lines() do rest[path:match("([%w_]+)%.lua$")] = path end
  for _, name in ipairs(ORDER) do
    names[#names + 1] = assert(rest[name], name)
    rest[name] = nil
  end
  local more = {}
  for _, path in pairs(rest) do more[#more + 1] = path end
  table.sort(more)
  return table.move(more, 1, #more, #names + 1, names)
end

-- A type at the start of a text, and what follows: "fun(a: b): c? text" -> "fun(a: b): c?", "text".
local function split_type(text)
  local depth, i = 0, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c:find("[({<%[]") then depth = depth + 1
    elseif c:find("[)}>%]]") then depth = depth - 1
    elseif c == '"' then i = text:find('"', i + 1, true) or #text
    elseif c == " " and depth == 0 and not text:sub(1, i - 1):find("[:,|]$") then break
    end
    i = i + 1
  end
  return text:sub(1, i - 1), text:sub(i + 1)
end

local READ = {}

function READ.class(state, value)
  local name, parent, text = value:match("^([%w_.]+):? ?([%w_.]*) ?(.*)$")
  if parent ~= "" and not parent:find("^sluice") then parent, text = "", value:match("^[%w_.]+ (.*)$") end
  state.class = { kind = "class", name = name, parent = parent ~= "" and parent or nil, text = text or "", fields = {} }
  table.insert(state.page.parts, state.class)
end

function READ.field(state, value)
  local name, optional, rest = value:match("^([%w_]+)(%??) (.*)$")
  local kind, text = split_type(rest)
  table.insert(state.class.fields, { name = name, optional = optional == "?", type = kind, text = text })
end

function READ.alias(state, value)
  local name, rest = value:match("^([%w_.]+) (.*)$")
  local kind, text = split_type(rest)
  table.insert(state.page.parts, { kind = "alias", name = name, type = kind, text = text })
end

function READ.param(state, value)
  local name, optional, rest = value:match("^([%w_.]+)(%??) (.*)$")
  local kind, text = split_type(rest)
  state.params[name] = { type = kind, optional = optional == "?", text = text }
end

READ["return"] = function(state, value) table.insert(state.returns, value) end
READ["overload"] = function(state, value) table.insert(state.overloads, value) end
function READ.generic() end
function READ.meta(state, value) state.page.module = value ~= "_" and value or nil end

local function begin(state) state.params, state.returns, state.overloads = {}, {}, {} end

local function add_function(state, name, arguments)
  local f = { kind = "function", name = name, params = {}, returns = state.returns, overloads = state.overloads }
  for argument in arguments:gmatch("[%w_.]+") do
    local given = state.params[argument] or {}
    f.params[#f.params + 1] = { name = argument, type = given.type, optional = given.optional, text = given.text or "" }
  end
  table.insert(state.page.parts, f)
  begin(state)
end

local function read_meta(path)
  local page = { name = path:match("([%w_]+)%.lua$"), path = path, parts = {} }
  local state = { page = page }
  begin(state)
  for line in read_file(path):gmatch("[^\n]+") do
    local tag, value = line:match("^%-%-%-@(%w+) ?(.*)$")
    local name, arguments = line:match("^function ([%w_.:]+)%(([^)]*)%)")
    if tag then assert(READ[tag], path .. ": ---@" .. tag)(state, value)
    elseif name then add_function(state, name, arguments)
    end
  end
  return page
end

-- By name, as meta/ has it: "hub.new", "Hub:alert", "sluice.json.encode".
local function read_ldoc(modules)
  local items, about = {}, {}
  for _, module in ipairs(modules) do
    local short = module.name:match("[^.]+$")
    about[module.name] = module
    for _, item in ipairs(module.items) do
      local owner = short == "init" and "sluice" or short == "json" and "sluice.json" or short
      local name = item.name:find("[.:]") and item.name or owner .. "." .. item.name
      if item.type == "function" then items[name] = item end
      for also in (item.also or ""):gmatch("%w+") do items[name:match("^.*[.:]") .. also] = item end
    end
  end
  return items, about
end

local function clean(text) return ((text or ""):gsub("%s+", " "):match("^%s*(.-)%s*$")) end

-- Put what LDoc says to a function of meta/; problems when they differ.
local function join(f, item, problems)
  if not item or clean(item.summary) == "" then
    problems[#problems + 1] = f.name .. " has no LDoc comment where it stands"
    return
  end
  f.summary, f.description, f.says, f.line = clean(item.summary), item.description or "", item.returns, item.line
  for i, param in ipairs(f.params) do
    local text = clean(item.params[item.param_names[i]])
    if text ~= "" then param.text = text end
  end
  local n = #item.param_names
  if n ~= #f.params and item.param_names[n] ~= "..." then
    problems[#problems + 1] = ("%s has %d parameters in meta/ and %d in its LDoc comment"):format(f.name, #f.params, n)
  end
end

local function join_all(pages, items, about)
  local problems, known, owners = {}, {}, {}
  for _, page in ipairs(pages) do
    local module = about[page.name] or about[page.name .. "s"]
    page.text = module and clean(module.summary) .. "\n" .. (module.description or "") or ""
    for _, part in ipairs(page.parts) do
      if part.kind == "function" then
        known[part.name], owners[part.name:match("^(.*)[.:]") or ""] = true, true
        join(part, items[part.name], problems)
      end
    end
  end
  for name in pairs(items) do
    local owner = name:match("^(%u[%w]*):%a")
    if owner and owners[owner] and not known[name] then
      problems[#problems + 1] = name .. " has an LDoc comment and is not in meta/"
    end
  end
  table.sort(problems)
  return problems
end

--- What LDoc prints of the files in config.ld: its items, and its warnings.
-- @treturn table modules
-- @treturn string "" when there are none
function reference.ldoc()
  local name = os.tmpname()
  local command = "cd .ci/docs && LUA_PATH='./?.lua;;' ldoc --filter ldoc_items.write . 2>" .. name
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  local warnings = read_file(name)
  os.remove(name)
  local modules = load(text, "=ldoc", "t", {})
  if not modules then error("LDoc has no answer: " .. warnings .. text:sub(1, 1000), 0) end
  return modules(), warnings
end

--- Read both.
-- @treturn table pages
-- @treturn table problems, each a sentence
function reference.read()
  local modules, warnings = reference.ldoc()
  local items, about = read_ldoc(modules)
  local pages = {}
  for i, path in ipairs(meta_paths()) do pages[i] = read_meta(path) end
  local problems = join_all(pages, items, about)
  for line in warnings:gmatch("[^\n]+") do table.insert(problems, "LDoc: " .. line) end
  return pages, problems
end

return reference
