--- What is served while servers are killed: durable and memory channels of each kind, mixed on
--- streams. The event's name is its channel, and its data a text that begins with its token.
local world = {}

--- Channels: the judge knows them by these words alone. `history` is what a log keeps at least.
world.channels = {
  dlog = { kind = "log", durable = true, history = 100000 },
  dshort = { kind = "log", durable = true, history = 10 },
  dkey = { kind = "keyed", durable = true, history = 15 },
  dstate = { kind = "state", durable = true },
  mlog = { kind = "log", history = 10000 },
  mkey = { kind = "keyed", history = 15 },
  mstate = { kind = "state" },
}

world.names = { "dlog", "dshort", "dkey", "dstate", "mlog", "mkey", "mstate" }

world.streams = {
  ["/all"] = world.names,
  ["/stored"] = { "dlog", "dshort", "dkey", "dstate" },
  ["/mixed"] = { "mlog", "dlog", "mstate" },
  ["/values"] = { "dkey", "mkey", "dstate", "mstate" },
}

world.paths = { "/all", "/stored", "/mixed", "/values" }

--- A stream of the newcomer that asks where a run begins.
world.PROBE = "/probe"

local function declarations()
  local lines = {}
  for _, name in ipairs(world.names) do
    local c = world.channels[name]
    lines[#lines + 1] = ("app:channel(%q, { history = %s, durable = %s%s%s })"):format(name,
      c.history or '"latest"', c.durable or false, c.kind ~= "log" and ', key = "k"' or "",
      c.kind == "keyed" and ', rewind = "latest"' or "")
  end
  for path, names in pairs(world.streams) do
    lines[#lines + 1] = ('app:stream(%q, { channels = { "%s" } })'):format(path, table.concat(names, '", "'))
  end
  return table.concat(lines, "\n")
end

world.app = ([[
local sluice = require("sluice")
local app = sluice.app()
%s
app:stream("%s", "mlog")
app:post("/pub/:channel", function(req)
  local q, channel = req.query, req.params.channel
  local id, message, code = app:publish(channel, channel, req.body, { key = q.key, idempotency = q.idem,
    remove = q.remove ~= nil, wait = q.nowait == nil })
  if not id then return { code = code, message = message } end
  return { id = id, again = code == true }
end)
return app
]]):format(declarations(), world.PROBE)

return world
