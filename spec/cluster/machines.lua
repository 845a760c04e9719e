--- Machines with `sluice run` around one redis-server, each behind a proxy that can cut, and visitors that publish and
--- read there all the while. Everything happens in turns of this process; a case fails something between them.
---
---   local m = machines.start { seed = 1, nodes = 3, redis = { appendonly = "yes" }, hop = 2 }
---     `redis = false`: one ordinary server, no Redis. `bytes`: of an event. `pace`: seconds between two of a writer.
---     `sentinels`: so many, which watch Redis and `m.replica`; machines ask those, and no proxy is between.
---     `power`: Redis can lose it (redis.lua).
---     `durable`: as --cluster-durable: what is acknowledged has to be there in the end, whatever fails.
---     `owns`: machines have channels of their own, on which they publish, and readers follow them, too.
---     `tails`: events that the short channel keeps, of each machine.
---     `args`: more words for `sluice run`. `env`: of the servers. `hop`: seconds after which a reader goes on to
---     another machine.
---   m:go(n)                   until n more publishes were answered, by whatever machine
---   m:wait(fn, seconds, what) until fn says so
---   m:kill(i), m:open(i)      a machine dies, and comes back as another process;  m.nodes[i].server, .proxy
---   m:doubt(), m:loss()       Redis has failed; and may have lost what it had acknowledged
---   m:finish() -> what checker.lua found
local checker = require("spec.cluster.checker")
local deadline = require("spec.support.deadline")
local dice = require("spec.support.dice")
local middle = require("spec.support.middle")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local sentinels = require("spec.support.sentinels")
local server = require("spec.support.server")
local socket = require("socket")
local visitors = require("spec.cluster.visitors")

local machines = { NAME = "spec" }

local Machines = {}
Machines.__index = Machines

machines.SHORT = 20 -- events that its channel keeps
machines.serve = server.start

local CHANNELS = { "a", "b", "tail" }
local FOLLOWED = { { "a", "b" }, { "a", "tail" }, { "b" }, { "a", "b", "tail" } }
local READERS, WRITERS = 9, 6
local STAY = 3         -- readers that go on only when they are cut
local PACE = 0.02      -- seconds between two publishes of a writer, on average
local PATIENCE = 12    -- seconds, then a writer gives up waiting for an answer
local BACK_SECONDS = 0.1

local APP = [[
local app = require("sluice").app()
app:channel("a", { history = 50000, durable = %s })
app:channel("b", { history = 50000, durable = %s })
app:channel("tail", { history = %d })
local OWN, token = {}, %q
if token ~= "" then
  OWN = { "own", "load" }
  app:channel("own", { history = 0, shared = false })
  app:channel("load", { history = "latest", shared = false })
  local n = 0
  app:every(0.05, { per = "node" }, function()
    n = n + 1
    app:publish("own", "own", token .. " " .. n)
    app:publish("load", "load", token .. " " .. n, { key = "k" })
  end)
end
for _, names in ipairs { { "a", "b" }, { "a", "tail" }, { "b" }, { "a", "b", "tail" } } do
  local path = "/follow/" .. table.concat(names, "-")
  app:stream(path, { channels = table.move(OWN, 1, #OWN, #names + 1, names) })
end
for _, name in ipairs { "a", "b" } do app:stream("/all/" .. name, { channels = { name }, rewind = "all" }) end
app:post("/pub/:channel", function(req)
  local id, message, code = app:publish(req.params.channel, req.params.channel, req.body)
  if not id then return { code = code, message = message } end
  return { id = id }
end)
return app
]]

--- Start all of it; see the top.
function machines.start(options)
  local self = setmetatable({ options = options, random = dice(options.seed or 1), nodes = {}, readers = {},
    writers = {}, ops = {}, calm = true, lossy = {}, short = { tail = true }, answers = 0,
    tails = options.tails or {}, began = socket.gettime() }, Machines)
  if options.redis ~= false then
    self.redis = redis.start { tcp = true, power = options.power,
      config = options.redis or { appendonly = "yes", appendfsync = "always" } }
  end
  if options.sentinels then self:add_sentinels(options.sentinels) end
  for i = 1, options.nodes or 3 do self:open(i) end
  for i = 1, options.readers or READERS do
    self.readers[i] = visitors.reader(FOLLOWED[(i - 1) % #FOLLOWED + 1])
    self.readers[i].stays = i <= STAY
  end
  for i = 1, options.writers or WRITERS do self.writers[i] = visitors.writer("w" .. i, self.ops) end
  return self
end

function Machines:add_sentinels(n)
  local config = { replicaof = "127.0.0.1 " .. self.redis.port }
  for name, value in pairs(self.redis.config) do config[name] = value end
  self.replica = redis.start { tcp = true, config = config }
  self.sentinels = sentinels.start(self.redis, self.replica, { n = n, down_ms = 2000 })
  self.sentinels:await_replica()
end

-- Where the i-th machine is told that Redis is.
local function url_of(self, node)
  if self.sentinels then return self.sentinels.url end
  node.proxy = node.proxy or middle.proxy(self.redis.port)
  return ("redis://127.0.0.1:%d"):format(node.proxy.port)
end

--- Open the i-th machine, on a port of its own.
function Machines:open(i)
  local node = self.nodes[i] or {}
  self.nodes[i] = node
  local args, is_durable = { table.unpack(self.options.args or {}) }, tostring(self.options.durable ~= nil)
  if self.redis then
    local keeps = self.options.durable
    if keeps then table.move({ "--cluster-durable", keeps }, 1, 2, #args + 1, args) end
    table.move({ "--cluster", url_of(self, node), "--cluster-name", machines.NAME, "--cluster-node",
      "machine" .. i }, 1, 6, #args + 1, args)
  end
  node.runs = (node.runs or 0) + 1
  node.token = self.options.owns and ("m%d.%d"):format(i, node.runs) or ""
  local app = APP:format(is_durable, is_durable, self.tails[i] or machines.SHORT, node.token)
  node.server = machines.serve { app = app, args = args,
    env = self.options.env, tls = false,
    io_threads = i % 2 + 1, meanwhile = function() self:each_proxy(function(proxy) proxy:step() end) end }
  node.asleep = false
end

function Machines:kill(i)
  self.nodes[i].server.kill()
end

--- SIGSTOP; its visitors notice nothing but silence.
function Machines:stop(i)
  self.nodes[i].server.signal("STOP")
  self.nodes[i].asleep = true
end

function Machines:wake(i)
  self.nodes[i].server.signal("CONT")
  self.nodes[i].asleep = false
end

function Machines:each_proxy(fn)
  for i, node in ipairs(self.nodes) do
    if node.proxy then fn(node.proxy, i) end
  end
end

--- How often the proxies did something: "was_cut", "swallowed".
function Machines:proxies(what)
  local n = 0
  self:each_proxy(function(proxy) n = n + (proxy[what] or 0) end)
  return n
end

function Machines:doubt() self.calm = false end

function Machines:loss()
  self.calm = false
  self.lossy[#self.lossy + 1] = socket.gettime()
end

-- ---- Turns ------------------------------------------------------------------------------------

-- Some machine, another than that one where there is one.
local function pick_node(self, but)
  local n = #self.nodes
  local i = self.random(n)
  if i == but and n > 1 then i = i % n + 1 end
  return i, self.nodes[i].server.port
end

local function move_reader(self, reader, now)
  if reader.sock and now >= reader.hops then reader:leave("hop") end
  if reader.sock or now < (reader.back or 0) then return end
  reader.back = now + BACK_SECONDS
  local i, port = pick_node(self, reader.node)
  if not reader:go(port, i, self.nodes[i].token) then return end
  local hop = self.options.hop or 2
  reader.node, reader.hops = i, reader.stays and math.huge or now + hop * (0.5 + self.random(1000) / 1000)
end

local function move_writer(self, writer, now)
  if writer.op and now > writer.op.asked + PATIENCE then
    writer:lose()
    writer.node = nil
  end
  if writer.op or self.quiet or now < (writer.due or 0) then return end
  writer.due = now + (self.options.pace or PACE) * self.random(2000) / 1000
  local i, port
  if writer.node and self.random(8) > 1 then i, port = writer.node, self.nodes[writer.node].server.port
  else i, port = pick_node(self, writer.node) end
  if self.nodes[i].asleep then -- what stands before them knows by now
    writer.node = nil
    return
  end
  writer.node = writer:ask(port, i, CHANNELS[self.random(#CHANNELS)], self.options.bytes) and i or nil
end

local function listen(self, seconds)
  local socks, owner = {}, {}
  local function add(one)
    if not one.sock then return end
    owner[one.sock] = one
    socks[#socks + 1] = one.sock
  end
  for _, reader in ipairs(self.readers) do add(reader) end
  for _, writer in ipairs(self.writers) do if writer.op then add(writer) end end
  if self.marker and self.marker.op then add(self.marker) end
  for _, sock in ipairs((socket.select(socks, nil, seconds))) do
    local one = owner[sock]
    if one.op then
      if one:read() then self.answers = self.answers + 1 end
    elseif not one:read() then
      one:leave("cut")
    end
  end
end

--- One turn: visitors come and go, proxies pass on, what has come is read.
function Machines:turn()
  local now = socket.gettime()
  for _, reader in ipairs(self.readers) do move_reader(self, reader, now) end
  for _, writer in ipairs(self.writers) do move_writer(self, writer, now) end
  for _ = 1, self.redis and 4 or 1 do
    self:each_proxy(function(proxy) proxy:step() end)
    listen(self, 0.001)
  end
end

function Machines:wait(fn, seconds, what)
  local left = deadline.after(seconds or 20)
  repeat
    self:turn()
    local so = fn()
    if so then return so end
  until left() <= 0
  error("it never came to this: " .. what, 2)
end

--- Go on for so many answers.
function Machines:go(n)
  local upto = self.answers + n
  self:wait(function() return self.answers >= upto end, 60, n .. " more answers")
end

--- Go on for so long, whoever is answered.
function Machines:pass(seconds)
  local ends = socket.gettime() + seconds
  repeat self:turn() until socket.gettime() >= ends
end

-- ---- The end ------------------------------------------------------------------------------------

-- One last event in each channel, which all readers must get.
local function publish_marks(self)
  local uids = {}
  self.marker = visitors.writer("end", self.ops)
  for _, channel in ipairs(CHANNELS) do
    self:wait(function()
      if not self.marker.op then self.marker:ask(self.nodes[1].server.port, 1, channel) end
      if self.marker.op then self:wait(function() return not self.marker.op end, PATIENCE, "an answer") end
      return self.ops[#self.ops].result == "ok"
    end, 60, "the last event of " .. channel .. " is accepted")
    uids[channel] = self.ops[#self.ops].uid
  end
  return uids
end

-- What a newcomer is shown of a channel on a machine.
local function show(self, i, channel, last)
  local witness, list = visitors.reader { channel }, {}
  witness.path = "/all/" .. channel
  self:wait(function()
    if not witness.sock then witness:go(self.nodes[i].server.port, i) end
    if witness.sock and not witness:read() then witness:leave("cut") end
    return witness:has_all { [channel] = last }
  end, 20, ("machine %d shows all of %s"):format(i, channel))
  witness:leave("final")
  for _, one in ipairs(witness.log) do
    if one.what == "event" then list[#list + 1] = { uid = one.uid, id = one.id } end
  end
  return list
end

--- All machines and Redis must be up again. What the checker found, and `kept`: what it was given.
function Machines:finish()
  self.quiet = true
  self:wait(function()
    for _, writer in ipairs(self.writers) do if writer.op then return false end end
    return true
  end, PATIENCE + 5, "all publishes are answered")
  local uids = publish_marks(self)
  local function all_there()
    for _, reader in ipairs(self.readers) do
      if not reader:has_all(uids) then return false end
    end
    return true
  end
  pcall(self.wait, self, all_there, 30, "all readers have the last events") -- or the checker says who has not
  local shown = {}
  for i in ipairs(self.nodes) do
    shown[i] = {}
    for _, channel in ipairs { "a", "b" } do shown[i][channel] = show(self, i, channel, uids[channel]) end
  end
  for _, reader in ipairs(self.readers) do reader:leave("final") end
  self.kept = { ops = self.ops, readers = self.readers, shown = shown, short = self.short, calm = self.calm,
    lossy = self.lossy, durable = self.options.durable ~= nil, owns = self.options.owns }
  return checker.check(self.kept)
end

--- The logs of the machines, for who looks for a cause.
function Machines:logs()
  local list = {}
  for i, node in ipairs(self.nodes) do list[i] = ("machine %d:\n%s"):format(i, node.server.log()) end
  return table.concat(list, "\n")
end

--- End what runs; a second time does nothing.
function Machines:close()
  for _, node in ipairs(self.nodes) do
    node.server.kill()
    if node.proxy then node.proxy:shut() end
  end
  for _, writer in ipairs(self.writers) do writer:lose() end
  self.nodes, self.writers = {}, {}
  for _, name in ipairs { "sentinels", "replica", "redis" } do
    if self[name] then self[name]:stop() end
    self[name] = nil
  end
end

--- What a run has left behind, in a file: times from its beginning, who, what.
function Machines:write_down(path)
  local lines = {}
  local function add(at, who, ...)
    lines[#lines + 1] = ("%10.4f %s %s"):format(at - self.began, who, table.concat({ ... }, " "))
  end
  for _, op in ipairs(self.ops) do
    add(op.asked, op.lane, "asks machine " .. op.node, op.channel, op.uid)
    if op.answered then add(op.answered, op.lane, op.uid, op.result, op.id or op.code or "") end
  end
  for i, reader in ipairs(self.readers) do
    for _, one in ipairs(reader.log) do
      add(one.at, "reader" .. i, one.what, one.channel or one.node or one.how or "", one.uid or one.reason or "",
        one.id or "")
    end
  end
  table.sort(lines)
  process.write_file(path, table.concat(lines, "\n") .. "\n")
end

return machines
