--- Things that happen to streams, each planted with what brought it about: what `sluice explain` is held to.
--- This world knows the app and the words of doc/console.md, and nothing of how causes are found.
---
---   causes.APP, causes.RELOADED, causes.FLAGS      the app before and after its reload, and its flags
---   causes.LIST                                     { name, plant = fn(t) -> what to ask, cause, and more }
---
--- A case leaves its trace and goes on: all are planted into one server, in any order, and asked about when all
--- have happened. `late`: it needs the reload, which comes after the others. `now`: it is asked about at once,
--- since it is about how something stands.
local causes = {}

causes.FLAGS = { stall_timeout = 20, request_timeout = 5 }

causes.APP = [[
local sluice = require("sluice")
local app = sluice.app()
local allowed = app:state("allowed", { bob = true })

app:channel("short/:n", { history = 3 })
app:channel("aged/:n", { history = 100, ttl = 5 })
app:channel("both/:n", { history = 3, ttl = 5 })
app:channel("cut", { history = 50, ttl = false })
app:channel("turned", { history = 50, ttl = false })
app:channel("gone", { history = 20 })
app:channel("rooms/:id", { history = 5, ttl = 2 })
app:channel("prices", { history = "latest", key = "k", max_rate = 1 })
app:channel("batched", { history = 50, batch = 30 })
app:channel("flood", { history = 5 })
app:channel("strict", { history = 5, slow = "close" })
app:channel("quiet", { history = 5 })
app:channel("ruled", { history = 5, read = function(user) return user ~= nil and allowed()[user.id] == true end })

app:stream("/c/*name", function(req) return { channels = { req.params.name }, rewind = 0 } end)
app:stream("/ruled", "ruled")
app:stream("/removed", function(req, client)
  client:subscribe("quiet")
  sluice.sleep(100000)
end)
app:stream("/guarded", function(req) return 401, "sign in" end, "quiet")
app:stream("/missing", function(req) return nil, "no such thing", "ENOTFOUND" end)
app:stream("/broken", function(req) return "a" .. req.nothing end)
app:stream("/slow", function(req) sluice.sleep(60) return "quiet" end)
app:stream("/badname", function(req) return "a//b" end)
app:stream("/short-lived", function(req)
  req.user = { id = "eve", expires = sluice.time() + 3 }
  return true
end, "quiet")
app:stream("/written", function(req, client) client:send("hello", {}) end)

app:post("/flood/:name", function(req)
  for _ = 1, 90 do app:publish(req.params.name, "e", { text = ("x"):rep(60000) }) end
end)
app:post("/end/:how", function(req)
  for client in app:clients({ channel = "quiet" }) do
    if client.path == "/c/quiet" then
      if req.params.how == "stop" then client:stop() else client:close(req.params.how) end
    end
  end
end)
app:post("/forbid", function() allowed().bob = nil app:recheck("bob") allowed().bob = true end)
return app
]]

local function without(source, line) return (source:gsub("[^\n]*" .. line .. "[^\n]*\n", "")) end

causes.RELOADED = without(without(causes.APP, '"/removed"'), 'app:channel%("gone"')
  :gsub('"cut", { history = 50,', '"cut", { history = 1,')
  :gsub('"turned", { history = 50,', '"turned", { history = "latest",')
  :gsub('client:subscribe%("quiet"%)\n%s*sluice.sleep%(100000%)\nend%)\n', "")

local function publish(t, channel, from, to)
  local id
  for n = from, to or from do id = t:publish(channel, "e", { n = n, k = "a" }) end
  return id
end

--- A reader that was there for event 1, was away for some, and came back. Another one stays.
local function away(t, channel, n, meanwhile)
  t:connect("/c/" .. channel)
  local c = t:connect("/c/" .. channel)
  publish(t, channel, 1)
  c:wait_for("e")
  local id = c:last_id()
  c:close()
  publish(t, channel, 2, n)
  if meanwhile then meanwhile() end
  local back = t:connect("/c/" .. channel, { last_event_id = id })
  return back, id
end

local function reset_of(c) return { reset = c.hello.client } end
local function about(c) return { client = c.hello.client } end

--- Reads nothing while its channel floods.
local function flooded(t, channel)
  local c = t:connect("/c/" .. channel, { buffer = 4096 })
  c:stall()
  t:post("/flood/" .. channel)
  return c
end

local function ended(t, how)
  local c = t:connect("/c/quiet")
  t:post("/end/" .. how)
  c:close()
  return about(c)
end

causes.LIST = {
  -- resets
  { name = "more came than the history keeps", cause = "history", option = "history", pattern = "short/:n",
    plant = function(t) return reset_of((away(t, "short/a", 9))) end },
  { name = "the same, found by the id that the client had", cause = "history",
    plant = function(t)
      local _, id = away(t, "short/b", 9)
      return { reset = id }
    end },
  { name = "events grew too old", cause = "ttl", option = "ttl", pattern = "aged/:n", plant = function(t)
    return reset_of((away(t, "aged/a", 3, function() t:advance(20) end)))
  end },
  { name = "the history took some and age the rest: what took the first decides", cause = "history",
    plant = function(t) return reset_of((away(t, "short/c", 9, function() t:advance(700) end))) end },
  { name = "the age took some, and the history more", cause = "ttl", plant = function(t)
    return reset_of((away(t, "both/a", 2, function()
      t:advance(20)
      publish(t, "both/a", 3, 12)
    end)))
  end },
  { name = "a forgotten channel", cause = "forgotten", pattern = "rooms/:id", plant = function(t)
    local c = t:connect("/c/rooms/1")
    local id = publish(t, "rooms/1", 1)
    c:close()
    publish(t, "rooms/1", 2)
    t:advance(200)
    return reset_of(t:connect("/c/rooms/1", { last_event_id = id }))
  end },
  { name = "an id of another numbering", cause = "epoch", plant = function(t)
    publish(t, "short/d", 1)
    return reset_of(t:connect("/c/short/d", { last_event_id = "aaaaaaaaaaaaa-7" }))
  end },
  { name = "an id that was never given", cause = "future", plant = function(t)
    local id = publish(t, "short/e", 1)
    return reset_of(t:connect("/c/short/e", { last_event_id = id:match("^%w+") .. "-99999999999" }))
  end },
  { name = "an id that is none", cause = "unknown_id", plant = function(t)
    publish(t, "short/f", 1)
    return reset_of(t:connect("/c/short/f", { last_event_id = "what" }))
  end },
  { name = "a reader that lags further than is kept", cause = "backlog", plant = function(t)
    local c = flooded(t, "flood")
    c:stall(0)
    c:wait_for("reset")
    local id = c.hello.client
    c:close()
    return { reset = id }
  end },
  { name = "a read rule that changed its mind", cause = "read", pattern = "ruled", plant = function(t)
    local c = t:connect("/ruled", { user = "bob" })
    t:post("/forbid")
    return reset_of(c)
  end },
  { name = "a reload that keeps less", cause = "reload", late = true, says = "history 50→1", plant = function(t)
    local c = t:connect("/c/cut")
    publish(t, "cut", 1)
    c:wait_for("e")
    local id = c:last_id()
    c:close()
    publish(t, "cut", 2, 9)
    return function() return reset_of(t:connect("/c/cut", { last_event_id = id })) end
  end },
  { name = "a reload that makes a log a state", cause = "reload", late = true, says = "turned", plant = function(t)
    t:connect("/c/turned")
    local id = publish(t, "turned", 1)
    publish(t, "turned", 2)
    return function() return reset_of(t:connect("/c/turned", { last_event_id = id })) end
  end },
  -- ends
  { name = "slow = \"close\"", cause = "backlog", option = "slow", pattern = "strict",
    plant = function(t)
      local c = flooded(t, "strict")
      c:stall(0)
      t:advance(1)
      return about(c)
    end },
  { name = "a socket that takes nothing", cause = "stall", plant = function(t)
    local c = t:connect("/c/quiet", { buffer = 4096 })
    c:stall()
    for _ = 1, 4 do t:publish("quiet", "e", { text = ("x"):rep(60000) }) end
    t:advance(30)
    return about(c)
  end },
  { name = "a user whose time is over", cause = "expired", plant = function(t)
    local c = t:connect("/short-lived")
    t:advance(5)
    return about(c)
  end },
  { name = "client:close(\"revoked\")", cause = "revoked", where = true,
    plant = function(t) return ended(t, "revoked") end },
  { name = "client:stop()", cause = "stopped", where = true,
    plant = function(t) return ended(t, "stop") end },
  { name = "client:close(\"moved\")", cause = "closed", where = true,
    plant = function(t) return ended(t, "moved") end },
  { name = "a page that was left", cause = "left", plant = function(t)
    local c = t:connect("/c/quiet")
    c:close()
    return about(c)
  end },
  { name = "a function that returned", cause = "finished",
    plant = function(t) return about(t:connect("/written")) end },
  { name = "a client that polls no more", cause = "absence", plant = function(t)
    local c = t:connect("/c/quiet", { mode = "poll" })
    t:advance(30)
    local id = c.hello.client
    c:close()
    t:advance(120)
    return { client = id }
  end },
  { name = "a route that a reload removed, of an open stream", cause = "route", late = true, plant = function(t)
    local c = t:connect("/removed")
    return function() return about(c) end
  end },
  { name = "the same, for who comes afterwards", cause = "route", late = true, says = "-stream:/removed",
    plant = function(t) return function() t:connect("/removed") return { client = "/removed" } end end },
  -- refusals
  { name = "a guard", cause = "guard", where = true, plant = function(t)
    t:connect("/guarded")
    return { client = "/guarded" }
  end },
  { name = "a plan that says no", cause = "plan", says = "no such thing", plant = function(t)
    t:connect("/missing")
    return { client = "/missing" }
  end },
  { name = "a plan that fails", cause = "plan_error", says = "app.lua:", plant = function(t)
    pcall(t.connect, t, "/broken")
    return { client = "/broken" }
  end },
  { name = "a plan that does not come", cause = "slow_plan", plant = function(t)
    pcall(t.connect, t, "/slow")
    return { client = "/slow" }
  end },
  { name = "a plan that names what is no channel", cause = "channel", plant = function(t)
    t:connect("/badname")
    return { client = "/badname" }
  end },
  { name = "a read rule that says no", cause = "read", pattern = "ruled", plant = function(t)
    t:connect("/ruled", { user = "mallory" })
    return { client = "mallory" }
  end },
  -- how something stands
  { name = "a rate of the channel", cause = "rate", now = true, option = "max_rate", pattern = "prices",
    plant = function(t)
      local c = t:connect("/c/prices")
      publish(t, "prices", 1, 3)
      return about(c)
    end },
  { name = "a batch of the channel", cause = "rate", now = true, option = "batch", pattern = "batched",
    plant = function(t)
      local c = t:connect("/c/batched")
      publish(t, "batched", 1)
      return about(c)
    end },
  { name = "a full socket", cause = "socket", now = true, plant = function(t)
    local c = t:connect("/c/flood", { buffer = 4096 })
    c:stall()
    for _ = 1, 3 do t:publish("flood", "e", { text = ("x"):rep(60000) }) end
    return about(c)
  end },
  { name = "a filter that leaves out what comes", cause = "filter", now = true, plant = function(t)
    local c = t:connect("/c/short/g?types=other")
    publish(t, "short/g", 1, 2)
    return about(c)
  end },
  { name = "nobody publishes", cause = "publish", now = true,
    plant = function(t) return about(t:connect("/c/short/h")) end },
  { name = "nothing is wrong", cause = "nothing", now = true, plant = function(t)
    local c = t:connect("/c/short/i")
    publish(t, "short/i", 1)
    c:wait_for("e")
    return about(c)
  end },
  -- channels
  { name = "a channel that nobody follows", cause = "nobody", now = true, plant = function(t)
    publish(t, "short/j", 1)
    return { channel = "short/j" }
  end },
  { name = "a misspelt channel", cause = "publish", now = true, says = "short/k", plant = function(t)
    publish(t, "short/k", 1)
    t:connect("/c/shrot/k")
    return { channel = "shrot/k" }
  end },
  { name = "a channel that a reload declares no more", cause = "reload", late = true, says = "-channel:gone",
    plant = function(t)
      publish(t, "gone", 1)
      return function() return { channel = "gone" } end
    end },
  { name = "a channel whose events are too old", cause = "ttl", now = true, pattern = "aged/:n", plant = function(t)
    t:connect("/c/aged/z")
    publish(t, "aged/z", 1, 3)
    t:advance(20)
    return { channel = "aged/z" }
  end },
}

return causes
