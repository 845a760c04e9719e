--- How often spec/run.lua runs what starts a server: with one I/O thread and with two, with send() and
--- through a ring of io_uring.
local plan = require("spec.support.plan")
local tree = require("spec.support.tree")

-- path -> { ["1 off"] = true, … } of all specs that start a server and no browser
local function runs(asked, full, rings)
  local files, out = {}, {}
  for _, path in ipairs(tree.files("^spec/%w+/[%w_]+_spec%.lua$")) do
    local text = tree.read(path)
    local starts = text:find("spec%.support%.server") or text:find("spec%.support%.live")
    local once = text:find("spec%.support%.browser") or path:find("^spec/browser/") or path:find("^spec/repo/")
    if starts and not once then
      files[#files + 1], out[path] = path, {}
    end
  end
  assert.is_true(#files > 50)
  local jobs = plan.jobs(files, asked, full, rings)
  for _, list in ipairs { jobs.beside, jobs.timed, jobs.alone } do
    for _, job in ipairs(list) do
      for _, path in ipairs(job.files) do
        if not (job.waits or job.tls) then
          local key = job.threads .. " " .. job.ring
          assert.is_nil(out[path][key], path .. " twice")
          out[path][key] = true
        end
      end
    end
  end
  return out
end

local SEND, TWO = { ["1 off"] = true }, { ["1 off"] = true, ["2 auto"] = true }
local FOUR = { ["1 off"] = true, ["1 auto"] = true, ["2 off"] = true, ["2 auto"] = true }

describe("what starts a server", function()
  it("runs with send() on one thread and through a ring on two, or once where neither matters", function()
    local twice = 0
    for path, ways in pairs(runs()) do
      if ways["2 auto"] then twice = twice + 1 end
      assert.same(ways["2 auto"] and TWO or SEND, ways, path)
    end
    assert.is_true(twice >= 30, twice)
  end)

  it("runs in all four ways with the full size", function()
    for path, ways in pairs(runs(nil, true, true)) do assert.same(FOUR, ways, path) end
  end)

  it("runs in all four ways under a sanitizer, where it runs twice without one", function()
    local plain = runs()
    for path, ways in pairs(runs(nil, false, true)) do
      assert.same(plain[path]["2 auto"] and FOUR or SEND, ways, path)
    end
  end)

  it("runs once more over TLS where only wire.lua asks it, and all of HTTP's with the full size", function()
    local function over_tls(full, how)
      local out, files = {}, tree.files("^spec/%w+/[%w_]+_spec%.lua$")
      for _, list in pairs(plan.jobs(files, nil, full)) do
        for _, job in ipairs(list) do
          for _, path in ipairs(job.tls == (how or "1") and job.files or {}) do out[#out + 1] = path end
        end
      end
      table.sort(out)
      return out
    end
    assert.same({ "spec/wire/http_pieces_spec.lua", "spec/wire/http_streams_spec.lua" }, over_tls())
    local full = tree.files("^spec/wire/http_[%w_]+_spec%.lua$")
    table.insert(full, 1, "spec/wire/front_spec.lua")
    assert.same(full, over_tls(true))
    assert.same({ "spec/wire/http_streams_spec.lua" }, over_tls(false, "h2"))
    assert.same({ "spec/wire/http_cors_spec.lua", "spec/wire/http_fields_spec.lua", "spec/wire/http_polls_spec.lua",
      "spec/wire/http_streams_spec.lua" }, over_tls(true, "h2"))
  end)

  it("runs once where the number of threads is asked for", function()
    for path, ways in pairs(runs("2")) do assert.same({ ["2 auto"] = true }, ways, path) end
    for path, ways in pairs(runs("1")) do assert.same(SEND, ways, path) end
  end)
end)
