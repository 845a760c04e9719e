--- Pages of WebKitGTK (webkit.py) on a screen of Xvfb. It needs gir1.2-webkit2-4.1, python3-gi and xvfb.
---   webkit.open(url) -> a process that writes what the page posts to webkit.messageHandlers.said
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")

local webkit = { NAME = "WebKitGTK" }

local PYTHON = "/usr/bin/python3"

function webkit.installed()
  return process.run("command -v Xvfb && " .. PYTHON .. " spec/support/webkit.py") == 0
end

function webkit.open(url)
  local screen = process.spawn({ "Xvfb", "-displayfd", "1", "-nolisten", "tcp" }, { kind = "client" })
  local display = deadline.eventually(function() -- it tells first of displays that are taken
    return ("\n" .. screen:log()):match("\n(%d+)\n")
  end, 10, "a display")
  return process.spawn({ PYTHON, "spec/support/webkit.py", url },
    { kind = "client", env = { DISPLAY = ":" .. display } })
end

return webkit
