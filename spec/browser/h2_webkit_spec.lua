--- WebKitGTK over HTTP/2, without a proxy: see h2/sixty.lua. With SLUICE_SPEC_FULL=1 only. It needs gir1.2-webkit2-4.1,
--- python3-gi and xvfb, as webkit_spec does.
local process = require("spec.support.process")
local webkit = require("spec.support.webkit")

if not (os.getenv("SLUICE_SPEC_FULL") and webkit.installed()) then return end

describe("WebKitGTK", function()
  teardown(function() process.stop_all("client") end)
  require("spec.browser.h2.sixty")("WebKitGTK", webkit.open, { deaf = true })
end)
