local options = require("sluice.options")

local KNOWN = { history = 100, ttl = 600, read = options.NONE, automatic = false }

-- A function with options, as the modules have them: errors name the line that called it.
local function make(given)
  local checked = options("channel 'a'", given, KNOWN)
  return checked
end

describe("options", function()
  it("fills in the defaults, also false, and leaves out what has none", function()
    assert.same({ history = 100, ttl = 600, automatic = false }, make())
    assert.same({ history = 5, ttl = 600, automatic = false, read = print },
      make({ history = 5, read = print }))
  end)

  it("keeps false where the default is true", function()
    assert.is_false(options("x", { a = false }, { a = true }).a)
  end)

  it("returns a new table", function()
    local given = { history = 5 }
    assert.not_equal(given, make(given))
    assert.same({ history = 5 }, given)
  end)

  it("names an unknown option, the one probably meant, and those known", function()
    local message = "channel 'a': unknown option 'histroy', did you mean 'history'? "
      .. "(known: automatic, history, read, ttl)"
    assert.has_error(function() make({ histroy = 1 }) end, message)
  end)

  it("suggests for one slip, whatever it is", function()
    for _, slip in ipairs({ "histry", "histoory", "hostory", "ihstory", "History", "HISTORY" }) do
      local _, message = pcall(make, { [slip] = 1 })
      assert.matches("did you mean 'history'?", message, 1, true)
    end
  end)

  it("suggests nothing for another word", function()
    for _, word in ipairs({ "size", "max_rate", "x", "" }) do
      local _, message = pcall(make, { [word] = 1 })
      assert.not_matches("did you mean", message, 1, true)
    end
  end)

  it("bounds what it repeats of a long name", function()
    local _, message = pcall(make, { [("x"):rep(1e6)] = 1 })
    assert.is_true(#message < 300)
  end)

  it("says that options are named when it meets a number", function()
    assert.has_error(function() make({ "latest" }) end,
      "channel 'a': options are named, got the key 1 (known: automatic, history, read, ttl)")
  end)

  it("refuses what is not a table", function()
    assert.has_error(function() make(5) end, "channel 'a': options must be a table, got number")
    assert.has_error(function() make(false) end,
      "channel 'a': options must be a table, got boolean")
  end)

  it("blames the caller of the function that checks", function()
    local function call() make({ bad = 1 }) end
    local line = debug.getinfo(call, "S").linedefined
    local _, message = pcall(call)
    assert.matches("options_spec.lua:" .. line .. ":", message, 1, true)
  end)

  it("blames further up by its level", function()
    local function inner(given)
      local checked = options("x", given, {}, 3)
      return checked
    end
    local function outer() local _ = inner({ bad = 1 }) end
    local function call() outer() end
    local line = debug.getinfo(call, "S").linedefined
    local _, message = pcall(call)
    assert.matches("options_spec.lua:" .. line .. ":", message, 1, true)
  end)
end)
