--- Figures as text for Prometheus and whatever reads its format: OpenMetrics 1.0, or the older
-- text format 0.0.4. Keeps nothing in memory.
--
--   local out = exposition.new(true)                                -- true: OpenMetrics
--   out:family("sluice_requests", "counter", "Requests so far.")
--   out:sample({ thread = "io0" }, 17)                              -- sluice_requests_total{…} 17
--   return out:text()
local exposition = {}

local Exposition = {}
Exposition.__index = Exposition

local TYPES = {
  [true] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
  [false] = "text/plain; version=0.0.4; charset=utf-8",
}

--- The Content-Type of a text.
function exposition.type(is_open) return TYPES[is_open] end

-- The quality that an Accept header gives a media type, or nil: it does not name it.
local function quality(accept, media)
  for item in accept:gmatch("[^,]+") do
    if item:match("^%s*([^;%s]*)"):lower() == media then
      return tonumber(item:match(";%s*[qQ]%s*=%s*([%d.]+)")) or 1
    end
  end
end

--- Whether a scraper is answered in OpenMetrics: unless it prefers the older format.
-- @tparam string|nil accept
-- @treturn boolean
function exposition.wants_open(accept)
  if not accept then return true end
  local open, plain = quality(accept, "application/openmetrics-text"), quality(accept, "text/plain")
  return not plain or (open ~= nil and open >= plain)
end

--- A text to add to.
function exposition.new(is_open)
  return setmetatable({ is_open = is_open, suffix = "" }, Exposition)
end

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ['"'] = '\\"' }

--- A text as the value of a label: names come from apps.
local function quoted(text)
  if not utf8.len(text) then text = text:gsub("[\128-\255]", "?") end
  return '"' .. text:gsub('[\\\n"]', ESCAPES) .. '"'
end

local function number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  return value % 1 == 0 and ("%.1f"):format(value) or ("%.9g"):format(value)
end

local function labels_of(labels, le)
  local list = {}
  for name, value in pairs(labels) do list[#list + 1] = name .. "=" .. quoted(value) end
  table.sort(list)
  if le then list[#list + 1] = 'le="' .. le .. '"' end
  return #list > 0 and "{" .. table.concat(list, ",") .. "}" or ""
end

--- Begin a family: all samples of one name.
-- @tparam string name without suffix
-- @tparam string kind "counter", "gauge", "histogram" or "info"
-- @tparam string help
-- @tparam[opt] string unit the name ends with it
function Exposition:family(name, kind, help, unit)
  self.name = name
  self.suffix = kind == "counter" and "_total" or kind == "info" and "_info" or ""
  local shown = self.is_open and name or name .. self.suffix
  if not self.is_open and kind == "info" then kind = "gauge" end
  self[#self + 1] = ("# TYPE %s %s"):format(shown, kind)
  if unit and self.is_open then self[#self + 1] = ("# UNIT %s %s"):format(shown, unit) end
  self[#self + 1] = ("# HELP %s %s"):format(shown, (help:gsub('[\\\n"]', ESCAPES)))
end

--- Add a sample.
-- @tparam table labels
-- @tparam number value
function Exposition:sample(labels, value)
  self[#self + 1] = self.name .. self.suffix .. labels_of(labels) .. " " .. number(value)
end

--- Add a histogram of the core.
-- @tparam table labels
-- @tparam table h the count of each bucket, and `sum`
-- @tparam {integer,...} scale upper bounds
-- @tparam integer divisor from the unit of both to that of the name
function Exposition:histogram(labels, h, scale, divisor)
  local n = 0
  for i, count in ipairs(h) do
    n = n + count
    local le = scale[i] and number(scale[i] / divisor) or "+Inf"
    self[#self + 1] = ("%s_bucket%s %d"):format(self.name, labels_of(labels, le), n)
  end
  local plain = labels_of(labels)
  self[#self + 1] = ("%s_count%s %d"):format(self.name, plain, n)
  self[#self + 1] = ("%s_sum%s %s"):format(self.name, plain, number(h.sum / divisor))
end

--- The whole text.
function Exposition:text()
  if self.is_open then self[#self + 1] = "# EOF" end
  return table.concat(self, "\n") .. "\n"
end

return exposition
