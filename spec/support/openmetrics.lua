--- Reads the two text formats of Prometheus as strictly as their grammars are: OpenMetrics 1.0 and
--- 0.0.4. Written apart from lua/sluice/requests/exposition.lua, against the specification.
---
---   local m = openmetrics.parse(text)            raises, with the line, at what is not allowed
---   m.value("sluice_resets_total", { reason = "slow" })     a number, or nil: there is no such sample
---   m.sum("sluice_streams")                      over all label sets
---   m.families.sluice_streams.type, .help, .unit, .samples
local openmetrics = {}

local OPEN_SUFFIXES = { counter = { _total = true, _created = true }, gauge = { [""] = true },
  histogram = { _bucket = true, _count = true, _sum = true, _created = true }, info = { _info = true } }
local PLAIN_SUFFIXES = { counter = { [""] = true }, gauge = { [""] = true },
  histogram = { _bucket = true, _count = true, _sum = true } }

local function fail(n, line, why) error(("line %d, %s: %s"):format(n, why, line), 0) end

-- The labels of "{…}", character by character, and what stands behind them.
local function read_labels(n, line, text)
  local labels, at = {}, 2
  while text:sub(at, at) ~= "}" do
    local name, next_at = text:match('^([%a_][%w_]*)="()', at)
    if not name then fail(n, line, "no label") end
    if labels[name] then fail(n, line, "a label comes twice") end
    local value = {}
    at = next_at
    while text:sub(at, at) ~= '"' do
      local char = text:sub(at, at)
      if char == "" or char == "\n" then fail(n, line, "the value does not end") end
      if char == "\\" then
        local escaped = ({ n = "\n", ["\\"] = "\\", ['"'] = '"' })[text:sub(at + 1, at + 1)]
        if not escaped then fail(n, line, "no such escape") end
        char, at = escaped, at + 1
      end
      value[#value + 1], at = char, at + 1
    end
    labels[name], at = table.concat(value), at + 1
    if text:sub(at, at) == "," then
      at = at + 1
      if text:sub(at, at) == "}" then fail(n, line, "a comma without a label") end
    elseif text:sub(at, at) ~= "}" then
      fail(n, line, "no comma between labels")
    end
  end
  return labels, text:sub(at + 1)
end

local function key_of(labels)
  local list = {}
  for name, value in pairs(labels) do list[#list + 1] = ("%s=%q"):format(name, value) end
  table.sort(list)
  return table.concat(list, ",")
end

local function read_sample(self, family, n, line)
  local name, rest = line:match("^([%a_:][%w_:]*)(.*)$")
  if not name then fail(n, line, "no name") end
  local labels = {}
  if rest:sub(1, 1) == "{" then labels, rest = read_labels(n, line, rest) end
  local number = rest:match("^ (%S+)$")
  local value = number and tonumber(number)
  if not value or number:find("[xXnN]") then fail(n, line, "no number") end
  local suffix = family and name:sub(1, #family.name) == family.name and name:sub(#family.name + 1)
  local allowed = self.is_open and OPEN_SUFFIXES or PLAIN_SUFFIXES
  if not suffix or not allowed[family.type][suffix] then fail(n, line, "not of the family above") end
  local key = name .. "{" .. key_of(labels) .. "}"
  if self.samples[key] then fail(n, line, "a sample comes twice") end
  self.samples[key] = value
  family.samples[#family.samples + 1] = { name = name, suffix = suffix, labels = labels, value = value, line = n }
  if family.type == "counter" and value < 0 then fail(n, line, "a counter below 0") end
  if suffix == "_info" and value ~= 1 then fail(n, line, "an info is 1") end
end

local function read_meta(self, family, n, line)
  local word, name, rest = line:match("^# (%u+) ([%a_:][%w_:]*) ?(.*)$")
  if not word then fail(n, line, "no descriptor") end
  if not family or family.name ~= name then
    if self.families[name] then fail(n, line, "the family was there before") end
    family = { name = name, samples = {} }
    self.families[name] = family
  end
  local field = ({ TYPE = "type", UNIT = "unit", HELP = "help" })[word]
  if not field or family[field] or #family.samples > 0 then fail(n, line, "out of place") end
  if field == "type" and not (self.is_open and OPEN_SUFFIXES or PLAIN_SUFFIXES)[rest] then
    fail(n, line, "no such type")
  end
  if field == "unit" and name:sub(-#rest - 1) ~= "_" .. rest then fail(n, line, "the name lacks its unit") end
  family[field] = rest
  return family
end

-- The buckets of one label set rise, the last one is the count.
local function check_histogram(family)
  local sets = {}
  for _, s in ipairs(family.samples) do
    local le = s.labels.le
    s.labels.le = nil
    local set = sets[key_of(s.labels)] or { at = -math.huge, n = 0 }
    sets[key_of(s.labels)], s.labels.le = set, le
    if s.suffix == "_bucket" then
      local bound = le == "+Inf" and math.huge or tonumber(le)
      if not bound or not (le == "+Inf" or le:find("[.e]")) then fail(s.line, le, "no bound") end
      if bound <= set.at or s.value < set.n then fail(s.line, le, "buckets do not rise") end
      set.at, set.n = bound, s.value
    else
      set[s.suffix] = s.value
    end
  end
  for key, set in pairs(sets) do
    assert(set.at == math.huge and set._count == set.n and set._sum, family.name .. " of " .. key .. " is not whole")
  end
end

local function finish(self)
  for name, family in pairs(self.families) do
    assert(family.type and family.help and family.help ~= "", name .. " has no type or no help")
    if family.type == "histogram" then check_histogram(family) end
  end
  function self.value(name, labels) return self.samples[name .. "{" .. key_of(labels or {}) .. "}"] end
  function self.sum(name)
    local sum = 0
    for key, value in pairs(self.samples) do
      if key:sub(1, #name + 1) == name .. "{" then sum = sum + value end
    end
    return sum
  end
  function self.counters()
    local list = {}
    for _, family in pairs(self.families) do
      for _, s in ipairs(family.type ~= "gauge" and family.samples or {}) do
        list[s.name .. "{" .. key_of(s.labels) .. "}"] = s.value
      end
    end
    return list
  end
  return self
end

--- Read a text. `is_open` false: of 0.0.4.
function openmetrics.parse(text, is_open)
  local self = { families = {}, samples = {}, is_open = is_open ~= false }
  assert(text:sub(-1) == "\n" and not text:find("\r"), "lines end with LF")
  assert(utf8.len(text), "UTF-8")
  local family, n, ended = nil, 0, false
  for line in text:gmatch("([^\n]*)\n") do
    n = n + 1
    if ended or line == "" then fail(n, line, "nothing may stand here") end
    if line == "# EOF" then ended = true
    elseif line:sub(1, 1) == "#" then family = read_meta(self, family, n, line)
    else read_sample(self, family, n, line) end
  end
  assert(ended == self.is_open, "# EOF ends OpenMetrics, and nothing else")
  return finish(self)
end

return openmetrics
