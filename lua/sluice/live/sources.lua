--- The text of an app, as warnings read it: functions, calls, and the names that expressions begin
-- with. Heuristics, by patterns: what they cannot read is marked unread. Keeps nothing in memory.
local sources = {}

local EXPRESSION_BYTES = 2000 -- that are looked at

--- A text without its comments; the lines stay where they are.
-- @tparam string text
-- @treturn string
function sources.without_comments(text)
  text = text:gsub("%-%-%[(=*)%[.-%]%1%]", function() return "" end)
  return (text:gsub("%-%-[^\n]*", ""))
end

--- The lines of a function, without comments.
-- @tparam sluice.Generation generation
-- @tparam function fn
-- @treturn string|nil nil when it is in no file of the app
function sources.body_of(generation, fn)
  local info = debug.getinfo(fn, "S")
  local path = info.source:match("^@(.*)")
  local text = path and (generation.sources[path] or generation.sources["./" .. path])
  if not text then return nil end
  local out, n = {}, 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    n = n + 1
    if n >= info.linedefined and n <= info.lastlinedefined then out[#out + 1] = line end
  end
  return sources.without_comments(table.concat(out, "\n"))
end

--- The text that an expression begins with: "room/7", "room/" .. id, ("room/%s"):format(id).
-- @tparam string expression
-- @treturn table|nil { name, open }; open: more follows. Nil when it begins with no text
function sources.name_of(expression)
  local quote, name, after = expression:match("^%s*([\"'])(.-)%1%s*(.?.?)")
  if quote then return { name = name, open = after == ".." } end
  quote, name = expression:match("^%s*%(%s*([\"'])(.-)%1%s*%)%s*:%s*format")
  if quote then return { name = name:match("^[^%%]*"), open = true } end
end

-- Each call of a method in a text: line, and what follows the parenthesis.
local function each_call(text, method)
  local next_call, line, last = text:gmatch("()[:.]%s*" .. method .. "%s*%(()"), 1, 1
  return function()
    local at, from = next_call()
    if not at then return nil end
    line = line + select(2, text:sub(last, at - 1):gsub("\n", ""))
    last = at
    return line, text:sub(from, from + EXPRESSION_BYTES)
  end
end

--- The names that the calls of a method are given, in all files of an app.
-- @tparam sluice.Generation generation
-- @tparam string method
-- @tparam[opt=""] string before a pattern of the arguments before the name
-- @treturn {table,...} { name, open, where }, and `unread` when some name cannot be read
function sources.calls(generation, method, before)
  local list = {}
  for _, path in ipairs(generation.files) do
    local text = sources.without_comments(generation.sources[path] or "")
    for line, rest in each_call(text, method) do
      local from = rest:match("^" .. (before or "") .. "()")
      local item = from and sources.name_of(rest:sub(from))
      if item then item.where = ("%s:%d"):format(path, line) else list.unread = true end
      list[#list + 1] = item
    end
  end
  return list
end

--- Find what is called, in the text of an app's files without its comments.
-- @tparam sluice.Generation generation
-- @tparam {table,...} rows each with a Lua pattern first
-- @tparam function found called with "file:line" and the row
function sources.find(generation, rows, found)
  for _, path in ipairs(generation.files) do
    local n = 0
    for line in ((generation.sources[path] or "") .. "\n"):gmatch("(.-)\n") do
      n = n + 1
      local code = line:gsub("%-%-.*$", "")
      for _, row in ipairs(rows) do
        if code:find(row[1]) then found(("%s:%d"):format(path, n), row) end
      end
    end
  end
end

return sources
