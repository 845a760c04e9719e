--- Runs draws against a server, many connections side by side in one loop, and collects what
--- does not fit. A draw depends on its seed and on the server's port and tags only.
local deadline = require("spec.support.deadline")
local draw = require("spec.wire.front.draw")
local site = require("spec.wire.front.site")
local socket = require("socket")
local talk = require("spec.wire.front.talk")

local run = {}

local WIDTH = 64            -- connections side by side
local SLOW_WIDTH = 16       -- ... of which so many may take seconds
local PROGRESS_SECONDS = 15 -- for which nothing may stand still
local BEATS = 4             -- connections that ask between rounds: more than threads
local STARVED = site.STALL_SECONDS / 3 -- a turn that took so long says that the machine was busy

-- ---- Rounds -------------------------------------------------------------------------------

local BEAT = "GET /-/healthz HTTP/1.1\r\nHost:localhost\r\n\r\n"

--- Connections that are asked something between rounds: their answers say that the server has
--- had its turn, so that pieces arrive as pieces without any sleep.
local function new_beats(port)
  local list = {}
  for i = 1, BEATS do
    list[i] = socket.tcp4()
    list[i]:settimeout(10 * deadline.scale)
    assert(list[i]:connect("127.0.0.1", port))
    list[i]:setoption("tcp-nodelay", true)
  end
  return list
end

local function beat(list)
  for _, sock in ipairs(list) do assert(sock:send(BEAT)) end
  for _, sock in ipairs(list) do
    repeat local line = assert(sock:receive("*l")) until line == ""
    assert(sock:receive(3) == "ok\n")
  end
end

local function poll(active, now, wait)
  local readers, writers, by_sock = {}, {}, {}
  for _, t in ipairs(active) do
    if not t.done then
      by_sock[t.sock] = t
      if t:wants_read(now) then readers[#readers + 1] = t.sock end
      if t.blocked then writers[#writers + 1] = t.sock end
    end
  end
  for _, sock in ipairs((socket.select(readers, writers, wait))) do by_sock[sock]:read(now) end
end

-- ---- Draws --------------------------------------------------------------------------------

local function new_talk(seed, at)
  math.randomseed(seed)
  local t = talk.new(draw.is_slow(seed) and draw.slow_connection() or draw.connection(at), at)
  t.seed = seed
  return t
end

local function count(totals, t)
  totals.connections = (totals.connections or 0) + 1
  totals.answers = (totals.answers or 0) + #t.reader.list
  totals.starved = (totals.starved or 0) + (t.starved and 1 or 0)
  for _, a in ipairs(t.reader.list) do totals[a.status] = (totals[a.status] or 0) + 1 end
end

local function tell(t, problem)
  local r = t.requests[problem.at] or {}
  local what = r.spoiler and " (" .. r.spoiler .. ")" or ""
  return table.concat {
    ("seed %d, request %d of %d%s: %s\n"):format(t.seed, problem.at, #t.requests, what, problem.why),
    ("  route %s; written in %s, ends by %s; reads %d a round after %d rounds%s, rcvbuf %s\n"):format(r.route or "?",
      t.pieces, t.ending, t.bytes, t.held, t.slow and ", slowly" or "", t.rcvbuf or "the kernel's"),
    ("%q"):format((t.heads[problem.at] or ""):sub(1, 1500)),
  }
end

--- Take what is over out of the list.
local function collect(active, now, state)
  for i = #active, 1, -1 do
    local t = active[i]
    if not t.done and now - t.moved > state.patience then t:close() end
    if t.done then
      table.remove(active, i)
      if t.slow then state.slow = state.slow - 1 end
      count(state.totals, t)
      local problem = t:judge()
      if problem then state.problems[#state.problems + 1] = tell(t, problem) end
    end
  end
end

--- The seeds of either kind, in order.
local function sorted(seeds)
  local lists = { slow = {}, quick = {} }
  for _, seed in ipairs(seeds) do table.insert(lists[draw.is_slow(seed) and "slow" or "quick"], seed) end
  return lists.slow, lists.quick
end

--- The list with the next seed: slow ones are begun as early as they may, so that the last is not waited for.
local function next_list(state)
  local slow = state.slow < SLOW_WIDTH and state.slow_seeds.at <= #state.slow_seeds and state.slow_seeds
  return slow or state.seeds.at <= #state.seeds and state.seeds or nil
end

local function fill(active, state, at)
  local list = next_list(state)
  while list and #active < WIDTH do
    local t = new_talk(list[list.at], at)
    list.at = list.at + 1
    if t.slow then state.slow = state.slow + 1 end
    t:connect(at.port)
    active[#active + 1] = t
    list = next_list(state)
  end
end

--- The seeds first … last.
function run.range(first, last)
  local seeds = {}
  for seed = first, last do seeds[#seeds + 1] = seed end
  return seeds
end

--- Draw these seeds. Returns problems (texts; it ends soon after `most`) and totals. options:
--- most (1), patience (seconds without progress).
function run.draws(at, seeds, options)
  options = options or {}
  local state = { slow = 0, problems = {}, totals = {},
    patience = (options.patience or PROGRESS_SECONDS) * deadline.scale }
  state.slow_seeds, state.seeds = sorted(seeds)
  state.slow_seeds.at, state.seeds.at = 1, 1
  local active, beats = {}, new_beats(at.plain_port or at.port)
  local turned = socket.gettime()
  repeat
    fill(active, state, at)
    local busy = false
    for _, t in ipairs(active) do busy = t:step() or busy end
    if busy then beat(beats) end
    local now = socket.gettime()
    poll(active, now, busy and 0 or 0.02)
    now = socket.gettime()
    for _, t in ipairs(active) do t.starved = t.starved or now - turned > STARVED end
    turned = now
    collect(active, now, state)
  until (#active == 0 and not next_list(state)) or #state.problems >= (options.most or 1)
  for _, t in ipairs(active) do t:close() end
  for _, sock in ipairs(beats) do sock:close() end
  return state.problems, state.totals
end

return run
