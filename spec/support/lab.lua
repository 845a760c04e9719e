--- `sluice lab` in a process of its own, for specs.
---
---   local l = lab.start(url, { "--profile", "train" })     l.port, l.url, l.control; l.process
---   l.post("cut"); l.post("away", { seconds = 1 }); l.state(); l.wait_said("^cut")
--- Ended by process.stop_all.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")

local lab = {}

lab.SLUICE = lfs.currentdir() .. "/build/bin/sluice"

--- What it printed: its first object, and one for each fault.
local function said(p)
  local list = {}
  for line in p:log():gmatch("([^\n]*)\n") do
    local object = line:sub(1, 1) == "{" and json.decode(line)
    if object then list[#list + 1] = object end
  end
  return table.remove(list, 1), list
end

--- Start one on free ports; words are more arguments, behind a "--" too.
function lab.start(url, words, env)
  local line = { lab.SLUICE, "lab", url, "--port", "0", "--control", "0", "--json", table.unpack(words or {}) }
  local p = process.spawn(line, { kind = "lab", env = env })
  local first = deadline.eventually(function()
    local object = said(p)
    if p:code() and not object then deadline.give_up("the lab has ended: " .. p:log()) end
    return object
  end, 5, "the lab says where it is")
  local self = { process = p, first = first, url = first.url, port = tonumber(first.url:match(":(%d+)")) // 1 | 0,
    control = tonumber(first.control:match(":(%d+)")) // 1 | 0 }

  --- The answer of a control route, which must be good.
  function self.post(what, body)
    local headers = body and { ["Content-Type"] = "application/json" } or {}
    local answer = http.post(self.control, "/lab/" .. what, body and json.encode(body) or "", headers)
    assert(answer.status < 300, answer.body)
    return answer.status == 200 and json.decode(answer.body) or nil
  end

  function self.state() return json.decode(http.get(self.control, "/lab").body) end

  --- The faults that it printed so far.
  function self.said() return select(2, said(p)) end

  --- Wait for a fault of that kind; it.
  function self.wait_said(kind, seconds)
    return deadline.eventually(function()
      for _, fault in ipairs(self.said()) do
        if fault.fault == kind then return fault end
      end
    end, seconds or 10, "the lab says " .. kind)
  end
  return self
end

return lab
