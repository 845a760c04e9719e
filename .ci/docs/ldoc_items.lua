--- What LDoc has found, as a Lua table on stdout: `ldoc --filter ldoc_items.write .`
--- Any Lua may run LDoc, so this is written for all of them.
local items = {}

local function text_of(value)
  if type(value) == "table" then
    local parts = {}
    for key, v in pairs(value) do parts[#parts + 1] = ("[%s]=%s"):format(text_of(key), text_of(v)) end
    return "{" .. table.concat(parts, ",") .. "}"
  end
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

local function strings(list)
  local out = {}
  for i, text in ipairs(list or {}) do out[i] = tostring(text) end
  return out
end

function items.write(modules)
  local out = {}
  for _, module in ipairs(modules) do
    local m = { name = module.name, file = module.file.filename, summary = module.summary,
      description = module.description, items = {} }
    for i, item in ipairs(module.items) do
      local params, names = {}, {}
      for k, name in ipairs(item.params or {}) do
        names[k] = name
        params[name] = item.params.map and item.params.map[name] or nil
      end
      m.items[i] = { name = item.name, type = item.type, line = item.lineno, summary = item.summary,
        description = item.description, params = params, param_names = names, returns = strings(item.ret),
        also = item.tags and item.tags.also and tostring(item.tags.also) or nil }
    end
    out[#out + 1] = m
  end
  print("return " .. text_of(out))
end

return items
