--- A script of a simulated Redis, as Redis would run it: what it is given, what it may use, and
-- what becomes of what it returns. In memory: the script, compiled.
local scripts = {}

local Script = {}
Script.__index = Script

local function digest(text)
  local a, b = 0xcbf29ce484222325, 5381
  for i = 1, #text do
    a = (a ~ text:byte(i)) * 0x100000001b3
    b = b * 33 + text:byte(i)
  end
  return ("%016x%016x%08x"):format(a, b, #text)
end

-- What a script is given for a reply, and what Redis makes of what it returns.
local function to_lua(reply)
  if type(reply) ~= "table" or reply.ok or reply.err then return reply end
  local out = {}
  for i, item in ipairs(reply) do out[i] = to_lua(item) end
  return out
end

local function from_lua(value)
  if value == nil or value == false then return false end
  if value == true then return 1 end
  if type(value) == "number" then return value // 1 | 0 end
  if type(value) ~= "table" or value.ok or value.err then return value end
  local out = {}
  for i, item in ipairs(value) do out[i] = from_lua(item) end
  return out
end

local function to_word(value)
  if math.type(value) == "float" then return ("%.17g"):format(value) end
  return tostring(value)
end

local function environment(execute)
  local function call(...)
    local words = { ... }
    for i, word in ipairs(words) do words[i] = to_word(word) end
    return to_lua(execute(words))
  end
  return { redis = { call = call, acl_check_cmd = function() return true end }, string = string,
    table = table, math = math, tonumber = tonumber, tostring = tostring, ipairs = ipairs,
    pairs = pairs, select = select, unpack = table.unpack, type = type }
end

--- Take one in.
-- @tparam string text with its first line, "#!lua flags=…"
-- @tparam function execute carries out one command: words -> reply
-- @treturn table with its name, whether it only reads, and whether it may need memory
function scripts.new(text, execute)
  local flags = text:match("^#!lua([^\n]*)")
  local env = environment(execute)
  local code = assert(load(text:gsub("^[^\n]*", "", 1), "=script", "t", env))
  return setmetatable({ name = digest(text), text = text, env = env, code = code,
    reads = flags:find("no-writes", 1, true) ~= nil,
    grows = flags:find("allow-oom", 1, true) ~= nil }, Script)
end

--- Run it.
-- @tparam {string,...} keys
-- @tparam {string,...} args
-- @return its reply
function Script:run(keys, args)
  self.env.KEYS, self.env.ARGV = keys, args
  return from_lua(self.code())
end

return scripts
