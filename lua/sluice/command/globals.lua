--- Finds the globals that an app's functions use, by reading the compiled chunk: what is
-- neither Lua's nor set at the top level will raise when the handler runs.
-- The format is that of string.dump in Lua 5.4, with its debug information.
-- Keeps nothing in memory.
local globals = {}

local HEADER = "\27Lua\x54\0\x19\x93\r\n\x1a\n\4\8\8"
local HEADER_BYTES = 4 + 1 + 1 + 6 + 3 + 8 + 8
local GETTABUP, SETTABUP = 11, 15
local ABSOLUTE = -128 -- a line that stands in a list of its own

local Reader = {}
Reader.__index = Reader

function Reader:byte()
  self.at = self.at + 1
  return self.text:byte(self.at - 1)
end

-- Seven bits a byte, the high ones first; the last byte is marked.
function Reader:int()
  local n = 0
  while true do
    local byte = self:byte()
    n = n << 7 | byte & 0x7f
    if byte >= 0x80 then return n end
  end
end

function Reader:string()
  local size = self:int()
  if size == 0 then return nil end
  self.at = self.at + size - 1
  return self.text:sub(self.at - size + 1, self.at - 1)
end

function Reader:skip(bytes) self.at = self.at + bytes end

local CONSTANT_BYTES = { [0x00] = 0, [0x01] = 0, [0x11] = 0, [0x13] = 8, [0x03] = 8 }

local function read_constants(r)
  local list = {}
  for i = 0, r:int() - 1 do
    local bytes = CONSTANT_BYTES[r:byte()]
    if bytes then r:skip(bytes) else list[i] = r:string() end
  end
  return list
end

local function read_lines(r, first)
  local deltas, lines, absolute = {}, {}, {}
  for i = 0, r:int() - 1 do
    local delta = r:byte()
    deltas[i] = delta < 128 and delta or delta - 256
  end
  for _ = 1, r:int() do
    local pc = r:int()
    absolute[pc] = r:int()
  end
  local line = first
  for pc = 0, #deltas do
    line = deltas[pc] == ABSOLUTE and absolute[pc] or line + (deltas[pc] or 0)
    lines[pc] = line
  end
  return lines
end

local function read_code(r)
  local code = {}
  for pc = 0, r:int() - 1 do
    code[pc] = ("<I4"):unpack(r.text, r.at)
    r:skip(4)
  end
  return code
end

-- What a function does with globals, told to found(name, line, depth).
local function judge(f, depth, found)
  for pc = 0, #f.code do
    local i = f.code[pc] or 0
    local op, a, b, c = i & 0x7f, i >> 7 & 0xff, i >> 16 & 0xff, i >> 24 & 0xff
    if op == GETTABUP and f.upvalues[b] == "_ENV" then
      found(f.constants[c], f.lines[pc], depth)
    elseif op == SETTABUP and f.upvalues[a] == "_ENV" then
      found(f.constants[b], f.lines[pc], depth)
    end
  end
end

local function read_function(r, depth, found)
  r:string()
  local first = r:int()
  r:int()
  r:skip(3)
  local f = { code = read_code(r), constants = read_constants(r), upvalues = {} }
  for _ = 1, r:int() do r:skip(3) end
  for _ = 1, r:int() do read_function(r, depth + 1, found) end
  f.lines = read_lines(r, first)
  for _ = 1, r:int() do
    r:string()
    r:int()
    r:int()
  end
  for i = 0, r:int() - 1 do f.upvalues[i] = r:string() end
  judge(f, depth, found)
end

--- Walk the uses of globals in a file's text.
-- @tparam string text
-- @tparam function found called with name, line, depth (0: the top level)
function globals.walk(text, found)
  local chunk = load(text, "=x", "t")
  local dump = chunk and string.dump(chunk)
  if not dump or dump:sub(1, #HEADER) ~= HEADER then return end
  local r = setmetatable({ text = dump, at = HEADER_BYTES + 2 }, Reader)
  read_function(r, 0, found)
end

--- The globals of a generation that would raise in its handlers: sentences.
-- @tparam sluice.Generation generation
-- @treturn {string,...}
function globals.undeclared(generation)
  local list, told = {}, {}
  for _, path in ipairs(generation.files) do
    local text = (generation.sources[path] or ""):gsub("^#[^\n]*", "", 1)
    globals.walk(text, function(name, line, depth)
      local known = name == nil or rawget(generation.environment, name) ~= nil
      local key = ("%s:%d: '%s'"):format(path, line or 0, tostring(name))
      if depth == 0 or known or told[key] then return end
      told[key] = true
      list[#list + 1] = key .. " is not declared: use local, or app:state for what must survive"
    end)
  end
  return list
end

return globals
