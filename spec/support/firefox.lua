--- Whether there is a Firefox: spec.support.browser starts it.
local browser = require("spec.support.browser")

return { NAME = "Firefox", installed = function() return browser.installed("firefox") end }
