--- How a generation becomes the current one: methods of the runtime. All that can fail comes
-- first: what is prepared, then the configuration of the core, which may have to wait for the
-- store; installing cannot fail. Keeps nothing in memory of its own.
local browser_files = require("sluice.app.browser_files")
local callbacks = require("sluice.live.callbacks")
local channels = require("sluice.app.channels")
local control = require("sluice.requests.control")
local difference = require("sluice.live.difference")
local direct = require("sluice.requests.direct")
local files = require("sluice.app.files")
local hooks = require("sluice.app.hooks")
local limits = require("sluice.app.limits")
local locals = require("sluice.live.locals")
local page = require("sluice.console.page")
local routes = require("sluice.app.routes")
local shared_stores = require("sluice.live.shared_stores")
local state = require("sluice.app.state")
local store = require("sluice.app.store")
local stored = require("sluice.live.stored")
local warnings = require("sluice.live.warnings")

local swap = {}

local WARNINGS_MOST = 20 -- that the log gets of one generation

-- One number per route name, the same in all generations.
local function id_of(self, name)
  if not self.ids[name] then
    self.ids[name] = #self.names + 1
    self.names[#self.names + 1] = name
  end
  return self.ids[name]
end

-- In a cluster stores are channels.
local function policies_of(self, generation)
  local is_shared = self.is_shared or generation.is_shared
  local has_any = next(generation.stores) or next(generation.tasks)
  if not is_shared or not has_any then return generation.policies end
  local policies = table.move(generation.policies, 1, #generation.policies, 1, {})
  table.insert(policies, shared_stores.POLICY)
  channels.hide_stores(generation)
  return policies
end

local function snapshot(self, generation)
  local policies = policies_of(self, generation) -- before routes, which ask who may read
  local function number(name) return id_of(self, name) end
  local list = routes.for_core(generation, number)
  files.for_core(generation, number, list)
  local cors = browser_files.for_core(list, generation.cors)
  control.for_core(list, number)
  page.for_core(list)
  -- While no hook is about clients, a stream of a constant plan costs this thread nothing. Hooks
  -- that a reload adds get what happens from then on.
  return { routes = list, policies = policies, cors = cors,
    news = hooks.ask_for_clients(generation) }
end

--- What is logged about a generation when it goes live: of a server all that `sluice check` says,
-- in a test, which publishes by itself, what the code does at fault.
-- @tparam sluice.Generation generation
-- @treturn {string,...}
function swap.warnings_of(self, generation)
  local found = self.is_served and warnings.of(generation) or generation.warnings
  local more = #found - WARNINGS_MOST
  if more > 0 then
    found = table.move(found, 1, WARNINGS_MOST, 1, {})
    found[WARNINGS_MOST + 1] = ("%d warnings more: sluice check prints all"):format(more)
  end
  generation.found = found
  return found
end

--- Do everything that can fail before a generation goes live; changes nothing.
-- @tparam sluice.Generation generation
-- @treturn table|nil prepared, for Runtime:configure
-- @treturn sluice.Failure
function swap.prepare(self, generation)
  local ok, problem = generation:check()
  if not ok then return nil, problem end
  local prepared = { generation = generation, notes = {} }
  ok, problem = generation:aside("migrate", function()
    prepared.states, prepared.faults = state.prepare(self.states, generation, prepared.notes)
  end)
  if not ok then return nil, problem end
  ok, problem = generation:aside("check", function()
    prepared.snapshot = snapshot(self, generation)
    generation.direct = direct.routes(generation, self.names)
    generation.description = difference.describe(generation)
    generation.noted = locals.note(generation)
  end)
  if not ok then return nil, problem end
  local known = {} -- which the log has already
  for _, text in ipairs(self.generation and self.generation.found or {}) do known[text] = true end
  for _, text in ipairs(self:warnings_of(generation)) do
    if not known[text] then table.insert(prepared.notes, text) end
  end
  return prepared
end

--- Give the core the routes and policies of a prepared generation. When they change what is
-- durable the store is asked first: it gives a ticket, and the answer says whether they are in
-- force.
-- @treturn boolean|integer|nil true, or a ticket; or nil, message, code
function swap.configure(self, prepared)
  local is_needed = self.is_shared and store.has_durable or stored.is_needed
  if self.generation and not self.stored.is_open and is_needed(prepared.generation) then
    local opened, message = self.stored:open(prepared.generation)
    if not opened then return nil, message, "ESTORE" end
  end
  local answer, message, code = self.server:configure(prepared.snapshot)
  if answer == true then callbacks.forget_channels(self)
  elseif answer then callbacks.policies(self, true) end
  return answer, message, code
end

--- Take the states as they are now: they have changed while the core waited.
function swap.migrate_again(self, prepared)
  local notes = {}
  local ok, problem = prepared.generation:aside("migrate", function()
    prepared.states, prepared.faults = state.prepare(self.states, prepared.generation, notes)
  end)
  if ok then return end
  table.insert(prepared.notes, "a state is what it was before the reload waited for the disk: "
    .. problem.message)
end

--- Make a prepared generation, whose configuration is in force, the current one: one step,
-- between two turns of the loop.
function swap.install(self, prepared)
  local generation, old = prepared.generation, self.generation
  local notes = prepared.notes
  for _, text in ipairs(state.install(self.states, prepared.states, prepared.faults, old)) do
    table.insert(notes, text)
  end
  generation.runtime, generation.server = self, self.server
  self.generation = generation
  self.server:limit(limits.for_core(generation, self.limits))
  generation.phase = "live"
  if self.is_shared then
    self.stores:warm(generation)
    hooks.hear(self, generation)
  end
  self.retirement:add(generation)
  if old then
    for _, text in ipairs(locals.changed(old.noted)) do table.insert(notes, text) end
    self.retirement:begin(old)
  end
end

--- The same where no store can have to be asked.
-- @treturn boolean|nil true, or nil, message (the core refused the routes)
function swap.swap(self, prepared)
  local ok, message, code = self:configure(prepared)
  if not ok then return nil, message, code end
  self:install(prepared)
  return true
end

return swap
