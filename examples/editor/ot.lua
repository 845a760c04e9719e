--- Operational transformation of plain text, the same as public/ot.js: a spec holds both equal.
---
--- A change is a list, read from the start of the text: 5 keeps five characters, "abc" inserts,
--- -3 deletes three; the rest of the text is kept. { 5, "abc", -3 } on "hello you" is "helloabcu".
--- A character is a code point. Only one form of each change is made: equal neighbours are one,
--- what is inserted stands before what is deleted, nothing is kept at the end.
local sluice = require("sluice")
local ot = {}

local function size(part)
  return type(part) == "string" and utf8.len(part) or math.abs(part)
end

-- The n characters behind the first `from`.
local function cut(text, from, n)
  local first = utf8.offset(text, from + 1)
  return text:sub(first, utf8.offset(text, n + 1, first) - 1)
end

--- Append a part to a change.
function ot.add(change, part)
  local last = change[#change]
  if part == 0 or part == "" then return change end
  if type(part) == "string" then
    local gone = math.type(last) and last < 0 and table.remove(change)
    last = change[#change]
    if type(last) ~= "string" then last, change[#change + 1] = "", "" end
    change[#change] = last .. part
    if gone then change[#change + 1] = gone end
  elseif math.type(last) and (last < 0) == (part < 0) then
    change[#change] = last + part
  else
    change[#change + 1] = part
  end
  return change
end

local function finish(change)
  if math.type(change[#change]) and change[#change] > 0 then change[#change] = nil end
  return sluice.json.array(change)
end

-- Gives the parts one after the other, or the first n characters of the next one.
local function reader(change)
  local i, left = 1, change[1]
  return {
    peek = function() return left end,
    take = function(n)
      local part = left
      if n and n < size(part) then
        if type(part) == "string" then
          part, left = cut(part, 0, n), cut(part, n, size(part) - n)
        else
          part = part < 0 and -n or n
          left = left - part
        end
      else
        i = i + 1
        left = change[i]
      end
      return part
    end,
  }
end

--- The change `a` for a text in which `b`, made at the same time, stands already. Where both insert
--- at one place, b's text comes first; with a_first, a's.
function ot.transform(a, b, a_first)
  local out, mine, theirs = {}, reader(a), reader(b)
  while mine.peek() do
    local x, y = mine.peek(), theirs.peek()
    if type(x) == "string" and (a_first or type(y) ~= "string") then
      ot.add(out, mine.take())
    elseif type(y) == "string" then
      ot.add(out, size(theirs.take()))
    else
      local n = math.min(math.abs(x), math.abs(y or x))
      local part = mine.take(n)
      if not y or theirs.take(n) > 0 then ot.add(out, part) end
    end
  end
  return finish(out)
end

--- The text with the change; nil when it is longer than the text.
function ot.apply(text, change)
  local out, at = {}, 1 -- in bytes
  for _, part in ipairs(change) do
    if type(part) == "string" then
      out[#out + 1] = part
    else
      local till = utf8.offset(text, math.abs(part) + 1, at)
      if not till then return nil end
      if part > 0 then out[#out + 1] = text:sub(at, till - 1) end
      at = till
    end
  end
  return table.concat(out) .. text:sub(at)
end

--- How many characters a change adds, and how many it needs.
function ot.measure(change)
  local added, needed = 0, 0
  for _, part in ipairs(change) do
    if type(part) == "string" then added = added + utf8.len(part)
    else
      needed = needed + math.abs(part)
      if part < 0 then added = added + part end
    end
  end
  return added, needed
end

--- Where a position is after a change; what is inserted just there comes behind it, or with
--- `pushed` before it.
function ot.shift(position, change, pushed)
  local at, out = 0, position
  for _, part in ipairs(change) do
    if at > position or at == position and not pushed then break end
    if type(part) == "string" then out = out + utf8.len(part)
    else
      if part < 0 then out = out - math.min(-part, position - at) end
      at = at + math.abs(part)
    end
  end
  return out
end

--- What a client sent as a change, in the one form; or nil and what is wrong with it.
function ot.read(list)
  if type(list) ~= "table" or #list > 1000 then return nil, "a list of at most 1000 parts" end
  local out = {}
  for i, part in ipairs(list) do
    local number = type(part) ~= "string" and math.tointeger(part) -- of "7" it would be one, too
    if type(part) == "string" then
      if not utf8.len(part) or part:gsub("[\t\n]", ""):find("[%c\127]") then
        return nil, ("part %d: no control characters; line ends are \\n"):format(i)
      end
    elseif not number or number > 1000000 or number < -1000000 then
      return nil, ("part %d: a text or an integer is expected"):format(i)
    end
    ot.add(out, number or part)
  end
  return finish(out)
end

return ot
