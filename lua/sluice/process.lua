--- What belongs to the process and to no app: the generation that is being loaded, and
-- the runtime that serves. The one place with state in a module, because a function like
-- sluice.sleep() is called without an object.
local process = {
  loading = nil, -- sluice.Generation while its files run
  runtime = nil, -- sluice.Runtime whose callback runs (in specs: the last one made)
  os = os, -- what apps see as `os`: in a test the clock and the settings are the test's
  outgoing = nil, -- in a test: answers the requests that the app would send to other servers
}

return process
