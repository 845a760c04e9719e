--- A server whose Redis says more than it may: what the process keeps of it is measured.
local deadline = require("spec.support.deadline")
local liars = require("spec.support.liar")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

local problem = not redis.installed() and redis.NAME
  or os.getenv("SLUICE_PRELOAD") and "a sanitizer keeps what is freed" -- and is slow with what is long
if problem then
  describe("a server whose Redis lies", function() pending(problem) end)
  return
end

local LONG = ("x"):rep(9 * 2 ^ 20 | 0)

describe("a server whose Redis lies", function()
  it("keeps no more of it than its bound, and says so in a line", function()
    local real = redis.start()
    local liar = liars.start(real)
    local s = server.start { app = 'return require("sluice").app()', tls = false, args = { "--cluster",
      "redis://127.0.0.1:" .. liar.port, "--cluster-name", "test" }, meanwhile = function() liar:step() end }
    finally(function()
      s.kill()
      liar:shut()
      real:stop()
    end)
    local function until_log(words, so)
      deadline.eventually(function()
        for _ = 1, 50 do liar:step() end
        return select(2, s.log():gsub(words, "")) >= so
      end, 20, words)
    end
    until_log("cluster: live", 1)
    local before = s.peak()
    for i, text in ipairs { "$536870912\r\n" .. LONG, "+" .. LONG, "*262000\r\n" .. (":1\r\n"):rep(262000) } do
      local lies = 0
      liar.lie = function(kind)
        if kind == "beat" and lies == 0 then
          lies = 1
          return text
        end
      end
      until_log("cluster: live", i + 1)
    end
    assert.is_nil(s.code())
    assert.equal(2, select(2, s.log():gsub("larger than any that is asked for", "")))
    local grown = (s.peak() - before) / 2 ^ 20
    assert.is_true(grown < 32, ("it has grown by %.1f MiB"):format(grown))
  end)
end)
