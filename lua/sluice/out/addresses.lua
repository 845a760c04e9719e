--- Addresses of mail (RFC 5322 3.4): "ann@example.org", "Ann <ann@example.org>", or
--- { name = "Ann", address = "ann@example.org" }. ASCII only: a domain with other letters is
--- written in its xn-- form. Keeps nothing in memory.
local addresses = {}

local ADDRESS_MAX, LOCAL_MAX, NAME_MAX = 254, 64, 200
local ATOM = "^[%w!#$%%&'*+/=?^_`{|}~.-]+$"

local function is_domain(text)
  if text:find("^%[[%x.:]+%]$") or text:find("^%[IPv6:[%x.:]+%]$") then return true end
  for label in (text .. "."):gmatch("([^.]*)%.") do
    local fine = #label >= 1 and #label <= 63 and label:find("^[%w-]+$")
      and not label:find("^%-") and not label:find("%-$")
    if not fine then return false end
  end
  return true
end

--- What is wrong with an address, or nil.
-- @tparam string text
-- @treturn string|nil
function addresses.fault(text)
  local who, domain = text:match("^(.*)@([^@]*)$")
  local shown = ("'%s'"):format((text:sub(1, 100):gsub("%c", "?")))
  if not who then return shown .. " is no address: name@domain is expected" end
  if #text > ADDRESS_MAX or #who > LOCAL_MAX then return shown .. " is too long for an address" end
  if text:find("[\x80-\xff]") then
    return shown .. " has letters beyond ASCII: write the domain in its xn-- form"
  end
  local fine = who:find(ATOM) and not who:find("^%.") and not who:find("%.$")
    and not who:find("..", 1, true)
  if not fine or not is_domain(domain) then return shown .. " is no address" end
end

local function split(text)
  local name, address = text:match("^%s*(.-)%s*<%s*([^<>]*)%s*>%s*$")
  if not name then return nil, text:match("^%s*(.-)%s*$") end
  local quoted = name:match('^"(.*)"$')
  if quoted then name = quoted:gsub("\\(.)", "%1") end
  return name ~= "" and name or nil, address
end

--- Read one.
-- @tparam string field its name, for messages
-- @param given
-- @treturn table|nil { name, address }; or nil, message
function addresses.read(field, given)
  local name, address
  if type(given) == "string" then
    if given:find("[\r\n]") then return nil, field .. ": a line break is no part of an address" end
    name, address = split(given)
  elseif type(given) == "table" then
    name, address = given.name, given.address
  end
  if type(address) ~= "string" or (name ~= nil and type(name) ~= "string") then
    return nil, field .. ': an address is "name@domain", "Name <name@domain>" or '
      .. "{ name =, address = }"
  end
  if type(given) == "string" and address:find(",", 1, true) then
    return nil, field .. ": several addresses are a list"
  end
  local fault = addresses.fault(address)
  if fault then return nil, field .. ": " .. fault end
  if name and (name:find("%c") or #name > NAME_MAX or not utf8.len(name)) then
    return nil, ("%s: a name is UTF-8 of at most %d bytes without control characters")
      :format(field, NAME_MAX)
  end
  return { name = name, address = address }
end

--- Read one or a list.
-- @treturn {table,...}|nil or nil, message
function addresses.list(field, given)
  if given == nil then return {} end
  local is_list = type(given) == "table" and given.address == nil
  local out = {}
  for i, one in ipairs(is_list and given or { given }) do
    local read, message = addresses.read(field, one)
    if not read then return nil, message end
    out[i] = read
  end
  return out
end

return addresses
