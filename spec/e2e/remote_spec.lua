--- The commands that ask a running server, when something else listens at its socket: one line, and code 1.
local lfs = require("lfs")
local process = require("spec.support.process")
local unix = require("socket.unix")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"

local COMMANDS = { { "reload" }, { "routes" }, { "explain", "client", "a" }, { "explain", "channel", "a" },
  { "repl", "--eval", "1" } }

local ANSWERS = { "<html>", '{"ok":7}', '{"ok":false}', '{"error":{"message":{}}}',
  '{"ok":true,"routes":[1],"subject":{"kind":"client","id":"a"},"because":[{}],"timeline":{"a":1},"text":{}}',
  '{"ok":true,"kind":"reload","generation":"x","routes":{"a":{}},"found":"open","subject":7,"printed":[]}',
  '{"ok":true,"routes":[{"method":"GET","path":"/","kind":"handler","guards":[{}]}],"text":1}' }

describe("a server that is no Sluice", function()
  local folder
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    process.stop_all()
    process.remove_dir(folder)
  end)

  -- As many of a command as there are answers, side by side: each takes another one.
  local function ask_all(words, n)
    local path = ("%s/%d"):format(folder, n)
    local listener, running = assert(unix()), {}
    assert(listener:bind(path))
    assert(listener:listen(#ANSWERS))
    listener:settimeout(10)
    for i = 1, #ANSWERS do
      running[i] = process.spawn({ SLUICE, table.unpack(words) }, { env = { SLUICE_SOCKET = path } })
    end
    return running, listener, path
  end

  local function answer(listener, body)
    local c = assert(listener:accept())
    c:settimeout(10)
    repeat until assert(c:receive("*l")) == ""
    c:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"):format(#body, body))
    c:close()
  end

  it("is named in one line, whatever it answers", function()
    local asked = {}
    for n, words in ipairs(COMMANDS) do asked[n] = { ask_all(words, n) } end
    for n, words in ipairs(COMMANDS) do
      local running, listener, path = table.unpack(asked[n])
      for _, body in ipairs(ANSWERS) do answer(listener, body) end
      listener:close()
      local want = ("sluice: the server at %s answered something else than a Sluice\n"):format(path)
      for _, p in ipairs(running) do assert.same({ 1, want }, { p:wait(10), p:log() }, words[1]) end
    end
  end)
end)
