--- Random users: they sign in, come with keys, tokens and tickets, open streams (some late, some written
--- by a coroutine), while rights expire and are revoked, keys are taken out of their file, and the app
--- reloads and crashes. A model knows until when each credential is good. Nothing protected may come
--- a second after that; nobody is refused before; nobody sees what is another's. Mistakes that are
--- planted into the module are all found. SEED= repeats one world.
local crypto = require("sluice.crypto")
local json = require("sluice.json")
local kit = require("spec.support.kit")
local process = require("spec.support.process")
local tokens = require("spec.support.tokens")

local NOW, STEPS = 1780000000, 120
local LATE = 1 -- seconds after the end of a right
local USERS = { "ann", "bob", "cyd" }
local SECRET = ("a secret of this spec "):rep(2)

local APP = [[
  local auth = require("sluice.auth").new(app, { keys = "keys.json", session = { secret = %q }, failures = false,
    jwt = { { issuer = "i", audience = "a", alg = "HS256", key = %q } } })
  auth:routes("/auth")
  app:channel("user/:id", { history = 50, read = function(user, p) return user ~= nil and user.id == p.id end })
  local function own(req) return { channels = { "user/" .. req.user.id } } end
  app:stream("/s", auth:user(), own)
  app:stream("/late", auth:user(), function(req)
    sluice.sleep(tonumber(req.query.wait))
    return own(req)
  end)
  app:stream("/written", auth:user(), function(req, client)
    sluice.sleep(tonumber(req.query.wait))
    client:subscribe("user/" .. req.user.id)
    for n = 1, 1000 do
      client:send("own", { user = req.user.id, n = n })
      sluice.sleep(0.5)
    end
  end)
  app:post("/in/:id", function(req)
    return 204, nil, auth:sign_in { id = req.params.id, expires = sluice.time() + req:json().live }
  end)
  app:post("/out", auth:user(), function(req) return 204, nil, auth:sign_out(req) end)
  app:task("revoke", function(what) assert(auth:revoke(what)) end)
  app:post("/revoke", function(req)
    local body = req:json()
    app:after(body.after, "revoke", body.what)
  end)]]

local TOKEN_KEY = tokens.secret(SECRET)

-- ---- The world ---------------------------------------------------------------------------

local World = {}
World.__index = World

local function chance(n) return math.random(n) == 1 end
local function pick(list) return list[math.random(#list)] end

local function write_keys(self)
  local rows = {}
  for _, key in ipairs(self.keys) do
    rows[#rows + 1] = { id = key.user, key = key.name, hash = crypto.hex(crypto.sha256(key.secret)) }
  end
  process.write_file(self.folder .. "/keys.json", json.encode(rows))
end

local function new_world(seed)
  math.randomseed(seed)
  local self = setmetatable({ folder = process.temp_dir(), keys = {}, credentials = {}, revocations = {},
    streams = {}, newest = {}, n = 0 }, World)
  write_keys(self)
  process.write_file(self.folder .. "/app.lua", kit.source(APP:format(SECRET, SECRET)))
  self.t = kit.open(self.folder .. "/app.lua", { now = NOW, seed = seed, waits = seed % 2 == 0 })
  return self
end

function World:now() return NOW + self.t:elapsed() end

-- A credential: until when it is good, and the request options that bring it.
function World:add(kind, user, ends, born, o)
  local c = { kind = kind, user = user, ends = ends, born = born, options = o or {} }
  self.credentials[#self.credentials + 1] = c
  for _, row in ipairs(self.revocations) do
    if born <= row.at and row.covers(c) then c.ends = math.min(c.ends, row.at) end
  end
  return c
end

-- What is to be revoked later is, from here on: a crash would forget it.
function World:pass()
  local last = 0
  for _, row in ipairs(self.revocations) do last = math.max(last, row.at) end
  if last >= self:now() then self.t:advance(last - self:now() + 0.01) end
end

local ACTS = {}

function ACTS.sign_in(self)
  local user, live = pick(USERS), math.random(2, 60)
  local born = self:now()
  local answer = self.t:post("/in/" .. user, { json = { live = live } })
  local cookie = answer.headers["Set-Cookie"]:match("^[^;]+")
  self:add("session", user, born + live, born, { headers = { Cookie = cookie } })
end

function ACTS.token(self)
  local user, now = pick(USERS), math.floor(self:now())
  local exp = now + math.random(2, 60)
  local text = tokens.make(TOKEN_KEY, { iss = "i", aud = "a", sub = user, exp = exp, iat = now })
  self:add("jwt", user, exp, now, { headers = { Authorization = "Bearer " .. text } })
end

function ACTS.key(self)
  self:pass()
  self.n = self.n + 1
  local key = { user = pick(USERS), name = "k" .. self.n, secret = "secret " .. self.n }
  table.insert(self.keys, key)
  write_keys(self)
  self.t:advance(1.1) -- it is read within a second
  key.credential = self:add("key", key.user, math.huge, self:now(), { headers = { ["X-API-Key"] = key.secret } })
  key.credential.name = key.name
end

function ACTS.take_key(self)
  if #self.keys == 0 then return end
  local key = table.remove(self.keys, math.random(#self.keys))
  for _, c in ipairs(self.credentials) do
    if (c.from or c) == key.credential then
      c.ends = math.min(c.ends, self:now() + 1) -- when the file is read
      c.vague = self:now() -- until then both are right
    end
  end
  write_keys(self)
end

function ACTS.ticket(self)
  if #self.credentials == 0 then return end
  local from = pick(self.credentials)
  if from.kind == "ticket" or from.vague then return end
  local answer = self.t:post("/auth/ticket", from.options)
  self:judge(from, answer.status, "a ticket")
  if answer.status ~= 200 then return end
  local c = self:add("ticket", from.user, from.ends, from.born)
  c.ticket, c.from, c.till = answer.json.ticket, from, self:now() + 30
end

-- What a revocation does to the model, from a moment on.
function World:revoke(at, covers)
  table.insert(self.revocations, { at = at, covers = covers })
  for _, c in ipairs(self.credentials) do
    if c.born <= at and covers(c.from or c) then c.ends = math.min(c.ends, at) end
  end
end

function ACTS.revoke(self)
  local after = chance(2) and 0 or math.random(20) / 10
  local what, covers
  local key = pick(self.keys)
  if key and chance(2) then
    what, covers = { key = key.name }, function(c) return c.name == key.name end
  else
    local user = pick(USERS)
    what, covers = { user = user }, function(c) return c.user == user end
  end
  local at = self:now() + after
  self.t:post("/revoke", { json = { what = what, after = after } })
  if after == 0 then self.t:advance(0.01) end
  self:revoke(at, covers)
end

function ACTS.sign_out(self)
  local list = {}
  for _, c in ipairs(self.credentials) do if c.kind == "session" then list[#list + 1] = c end end
  local c = #list > 0 and pick(list)
  if not c then return end
  local at = self:now()
  local answer = self.t:post("/out", c.options)
  self:judge(c, answer.status, "a sign-out")
  if answer.status == 204 then self:revoke(at, function(other) return other == c end) end
end

-- A right is over at the very moment; just before it, a moment is not enough to say who is first.
function World:judge(c, status, what)
  local now = self:now()
  if c.vague and now < c.vague + 1.1 then return end
  local good = now < c.ends
  if math.abs(now - c.ends) < 0.02 then return end
  local want = good and 2 or 4
  if status // 100 ~= want then
    error(("%s of %s by %s: %d, though it ends %.2f s from now"):format(what, c.user, c.kind, status,
      c.ends - now), 0)
  end
end

function ACTS.connect(self)
  if #self.credentials == 0 or #self.streams > 30 then return end
  local c = pick(self.credentials)
  local path = pick({ "/s", "/s", "/late?wait=", "/written?wait=" })
  local wait = path:find("=$") and math.random(40) / 10 or 0
  if wait > 0 then path = path .. wait end
  local used
  if c.ticket then
    path = path .. (wait > 0 and "&" or "?") .. "ticket=" .. c.ticket
    used, c.used = c.used, true
  end
  local began = self:now()
  if wait > 0 and chance(2) then -- the right ends in mid-plan
    local user, after = c.user, wait * math.random()
    self.t:post("/revoke", { json = { what = { user = user }, after = after } })
    self:revoke(began + after, function(other) return other.user == user end)
  end
  local s = self.t:connect(path, c.options)
  s.credential = c
  if c.ticket and (used or began >= c.till) then
    if s.status == 200 and s.hello then error("a ticket was taken twice, or late", 0) end
  elseif wait == 0 then
    self:judge(c, s.status, "a stream")
  end
  if s.status == 200 and not s:events("bye")[1] then table.insert(self.streams, s) end
  if s.status == 200 then table.insert(self.all, s) end
end

function ACTS.publish(self)
  for _, user in ipairs(USERS) do
    self.n = self.n + 1
    self.newest[user] = self.n
    self.t:publish("user/" .. user, "secret", { user = user, n = self.n })
  end
end

function ACTS.advance(self) self.t:advance(math.random(30) / 10) end
function ACTS.reload(self) assert(self.t:reload()) end

function ACTS.kill(self)
  self:pass()
  self.t:kill()
  for _, c in ipairs(self.credentials) do if c.ticket then c.used = true end end
  self.streams = {}
end

local DRAW = { "sign_in", "sign_in", "token", "token", "key", "take_key", "ticket", "ticket", "revoke", "sign_out",
  "connect", "connect", "connect", "connect", "connect", "publish", "publish", "publish", "publish", "advance",
  "advance", "advance", "reload" }

-- What a stream was given.
local function check(s)
  local c = s.credential
  for _, name in ipairs({ "secret", "own" }) do
    for _, e in ipairs(s:events(name)) do
      if e.data.user ~= c.user then error("an event of another user", 0) end
      if e.at > c.ends + LATE + 0.02 then
        error(("%s: an event %.2f s after the right by %s was over"):format(c.user, e.at - c.ends, c.kind), 0)
      end
    end
  end
end

function World:run()
  self.all = {}
  for step = 1, STEPS do
    local act = chance(60) and "kill" or pick(DRAW)
    self.at = ("step %d, %s"):format(step, act)
    ACTS[act](self)
    for i = #self.streams, 1, -1 do
      if self.streams[i]:events("bye")[1] then table.remove(self.streams, i) end
    end
  end
  self.at = "the end"
  self.t:advance(LATE + 0.5)
  ACTS.publish(self)
  self.t:settle()
  for _, s in ipairs(self.all) do check(s) end
  for _, s in ipairs(self.streams) do
    if not s.credential.vague and self:now() < s.credential.ends - 0.1 and not s:events("bye")[1] then
      s:wait_for("secret", 0, { n = self.newest[s.credential.user] })
    end
  end
  local problem = self.t:log("error")[1]
  if problem then error("the log says: " .. problem, 0) end
end

local function try(seed)
  local world = new_world(seed)
  local ok, problem = pcall(world.run, world)
  if ok then ok, problem = pcall(world.t.stop, world.t) else pcall(world.t.stop, world.t) end
  process.remove_dir(world.folder)
  if ok then return true end
  if type(problem) == "table" then problem = problem.message end
  return false, ("SEED=%d, %s: %s"):format(seed, world.at or "", tostring(problem))
end

-- ---- Mistakes ----------------------------------------------------------------------------

-- The class of an object of a part of the module.
local function class_of(part, ...)
  local function state() return {} end
  local fake = setmetatable({}, { __index = function() return function() return state end end })
  return getmetatable(require("sluice.auth." .. part).new(fake, "x", ...))
end

local Revoked = class_of("revoked", { keep = 1, durable = false })
local Tickets = class_of("tickets", {})
local Keys = class_of("keys", {}, {})
local users = require("sluice.auth.users")

local MISTAKES = {
  ["a revocation does not refuse"] = { Revoked, "has", function() return function() return false end end },
  ["a revocation ends no stream"] = { Revoked, "close", function() return function() return 0 end end },
  ["a revocation is not stored"] = { Revoked, "add", function(add)
    return function(self, ...)
      local kept = self.kept
      self.kept = setmetatable({ set = function() return true end }, { __index = kept })
      local n = add(self, ...)
      self.kept = kept
      return n
    end
  end },
  ["a request whose guards have agreed is forgotten"] = { Revoked, "watch", function()
    return function() return function() end end
  end },
  ["expires is not passed on"] = { users, "new", function(new)
    return function(given, ...)
      local copy = {}
      for name, value in pairs(type(given) == "table" and given or {}) do copy[name] = value end
      copy.expires = nil
      return new(copy, ...)
    end
  end },
  ["a user is known too long"] = { users, "new", function(new)
    return function(given, ...)
      local copy = {}
      for name, value in pairs(type(given) == "table" and given or {}) do copy[name] = value end
      copy.expires = copy.expires and copy.expires + 3
      return new(copy, ...)
    end
  end },
  ["a ticket is good twice"] = { Tickets, "take", function(take)
    return function(self, ticket)
      local row = self.state().rows[ticket]
      local user, why = take(self, ticket)
      self.state().rows[ticket] = row
      return user, why
    end
  end },
  ["a ticket forgets what made it"] = { users, "known_by", function() return function() return {} end end },
  ["keys that are gone stay"] = { Keys, "compare", function() return function() end end },
  ["a new session is revoked with the old ones"] = { Revoked, "has", function(has)
    return function(self, user)
      return has(self, { id = user.id, key = user.key, session = user.session, digest = user.digest })
    end
  end },
}

describe("random users", function()
  after_each(kit.stop_all)

  it("get nothing a second after their right is over, and are not refused before", function()
    local given = tonumber(os.getenv("SEED"))
    local n = given and 1 or os.getenv("SLUICE_SPEC_FULL") and 300 or 5
    local first = given or os.getenv("SLUICE_SPEC_FULL") and os.time() % 1000000 * 1000 or 1
    for seed = first, first + n - 1 do
      local ok, problem = try(seed)
      assert.is_true(ok, problem)
    end
  end)

  for name, mistake in pairs(MISTAKES) do
    it("show that " .. name, function()
      local class, field, plant = table.unpack(mistake)
      local good = class[field]
      finally(function() class[field] = good end)
      class[field] = plant(good)
      for seed = 1, 40 do
        if not try(seed) then return end
      end
      error("not found by 40 worlds")
    end)
  end
end)
