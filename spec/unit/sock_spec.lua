--- The socket's seam: a write whose result comes later. What clients get may not differ by a byte, and
--- each bug that is planted there shows.
local core = require("sluice.core")
local planted = require("spec.support.planted")
local story = require("spec.support.sock_story")

local has_ring = core.io_uring() ~= nil

describe("a socket whose writes are queued", function()
  it("brings every client the same bytes", function()
    assert.is_nil(story.difference("send", "delayed"))
  end)

  if not has_ring then return end

  it("brings every client the same bytes through a ring", function()
    assert.is_nil(story.difference("send", "ring"))
  end)
end)

describe("that story", function()
  local find = (os.getenv("SLUICE_PRELOAD") or not has_ring) and pending or it -- nothing here is for a sanitizer
  local BUGS = { [401] = "a stream that is in a batch is taken for one whose block is out",
    [402] = "a write that was cut short is taken for whole", [403] = "a block is let go of before its result" }

  local function play(bug)
    return planted.run_bug(bug, "-e",
      [[local story = require("spec.support.sock_story")
      local d = story.difference("send", "ring") or story.difference("send", "delayed")
      if d then error(d, 0) end]])
  end

  lazy_setup(function() planted.build("core") end)

  find("shows nothing where there is no bug", function()
    local code, output = play(0)
    assert.equal(0, code, output)
  end)

  for bug, what in pairs(BUGS) do
    find("shows that " .. what, function() assert.not_equal(0, (play(bug))) end)
  end
end)
