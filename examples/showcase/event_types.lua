--- GET /api/event-types: what the stream can bring, and which lines publish it now. The parts say
--- it where they are loaded, so that it is true of the version that serves:
---
---   local tells = with.event_types.tells
---   app:every(20, tells(function() … end, "news"))      the function publishes `news`
---   tells(nil, "user-joined")                            what is called here does
local event_types = {}

local function shown(source, line)
  return ("%s:%d"):format(source:match("examples/.*$") or source:match("[^@].*$"), line)
end

local function place(fn)
  local at = debug.getinfo(fn, "S")
  return shown(at.source, at.linedefined)
end

--- The `rules` of each type, and the function that notes them.
function event_types.new()
  local self = { rules = {} }
  function self.tells(fn, ...)
    local at = not fn and debug.getinfo(2, "Sl")
    for _, name in ipairs { ... } do
      self.rules[name] = fn and place(fn) or shown(at.source, at.currentline)
    end
    return fn
  end
  return self
end

function event_types.routes(app, self, types)
  app:get("/api/event-types", function()
    local list = {}
    for i, row in ipairs(types) do
      list[i] = { name = row[1], page = row[2], automatic = row[3], example = row[4],
        description = row[5], rule = self.rules[row[1]] }
    end
    return list
  end)
end

return event_types
