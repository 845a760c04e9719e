--- Queued writes of net/sock and net/ring: each way of sending says the same of a socket with room, of
--- one with some, of a full one, of one whose peer is gone and of one that was reset, and brings the same bytes.
local core = require("sluice.core")
local sock = require("sluice.core.testing_sock")

local BATCH, PIPE, RESET = 128, 32, 104 -- RING_BATCH, EPIPE, ECONNRESET
local WAYS = { "send", "delayed", core.io_uring() and "ring" }

-- By what is left of its number: 1 takes a part, 2 is full, 3 is gone, 4 gets two pieces, 5 nothing, 6 was reset.
local KINDS = 8

local function open(way, n)
  local set = sock.new(way)
  for i = 1, n do
    local kind = i % KINDS
    set:pair((kind == 1 or kind == 2) and 4096 or 0, kind == 6)
    if kind == 2 then set:fill(i) elseif kind == 3 then set:close(i) elseif kind == 6 then set:reset(i) end
  end
  return set
end

local function text_of(i)
  local kind = i % KINDS
  if kind == 4 then return ("head of %d\n"):format(i), ("body of %d\n"):format(i):rep(i % 50 + 1) end
  if kind == 5 then return "", "" end
  if kind == 1 then return "", ("x"):rep(8190) end
  return "", ("what socket %d is sent\n"):format(i):rep(i % 50 + 1)
end

-- Write to each, flush: what was said, and what the peers have.
local function play(way, n, before_flush)
  local set <close> = open(way, n)
  local texts, said, got = {}, {}, {}
  for i = 1, n do
    texts[i] = { text_of(i) } -- they stay
    said[i] = set:write(i, texts[i][1], texts[i][2])
  end
  if before_flush then before_flush(set) end
  local results = set:flush()
  for i = 1, n do
    if way ~= "send" then
      assert.equal("queued", said[i])
      said[i] = results[i]
    end
    got[i] = (i % KINDS == 3 or i % KINDS == 6) and "" or set:read(i)
  end
  assert.same({}, set:flush()) -- each result once
  return said, got, set:has_ring()
end

describe("a set of sockets", function()
  after_each(function() sock.fail_after(0) end)

  it("says and sends the same whichever way it has, in one batch and in several", function()
    for _, n in ipairs { 1, 2, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 5 } do
      local said, got = play("send", n)
      for i = 1, n do
        local kind, head, body = i % KINDS, text_of(i)
        if kind == 1 then assert.is_true(said[i] > 0 and said[i] < #body, said[i])
        elseif kind == 2 then assert.equal(0, said[i])
        elseif kind == 3 then assert.equal(-PIPE, said[i])
        elseif kind == 6 then assert.equal(-RESET, said[i])
        else assert.same({ #head + #body, head .. body }, { said[i], got[i] }) end
      end
      for _, way in ipairs(WAYS) do
        local other_said, other_got = play(way, n)
        assert.same(said, other_said, way)
        assert.same(got, other_got, way)
      end
    end
  end)

  if core.io_uring() then
    it("goes on with send() when the kernel takes nothing", function()
      local said, got = play("send", BATCH + 60)
      local ring_said, ring_got, has_ring = play("ring", BATCH + 60, function() sock.fail_after(1) end)
      assert.is_false(has_ring)
      assert.same({ said, got }, { ring_said, ring_got })
    end)

    it("is refused where a step of its start fails, and keeps nothing open", function()
      local n = 0
      repeat
        n = n + 1
        sock.fail_after(n)
        local ok, set = pcall(sock.new, "ring")
        sock.fail_after(0)
        if ok then set:shut() else assert.is_string(set) end
      until ok or n > 20
      assert.is_true(n > 2 and n <= 20)
    end)
  end
end)
