--- Runs the matrix of clients: opens a row's client on its streams, wherever it runs, and judges what it saw.
local browser = require("spec.support.browser")
local cases = require("spec.browser.matrix.cases")
local clients = require("spec.support.clients")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local webkit = require("spec.support.webkit")
local ROWS = require("spec.browser.matrix.rows")

local run = {}

local MODULES = lfs.currentdir() .. "/build/node/node_modules/"
local STREAMS_A_HOST = 5 -- a browser opens six HTTP/1.1 connections to each

local HERE = { chromium = browser.installed, firefox = function() return browser.installed("firefox") end,
  webkit = webkit.installed, node = function() return true end,
  java = function() return process.run("command -v javac") == 0 end }

--- The rows of this run; those that cannot run here are printed.
function run.chosen(full)
  local only, list = os.getenv("CLIENT"), {}
  for _, row in ipairs(ROWS) do
    if only and ("," .. only .. ","):find("," .. row.name .. ",", 1, true) or not only and (full or row.quick) then
      if HERE[row.runs]() then list[#list + 1] = row else io.write(("skipped: %s\n"):format(row.name)) end
    end
  end
  assert(#list > 0, "no such client")
  return list
end

--- A folder of what pages load.
function run.pages()
  local folder = process.temp_dir()
  local files = { ["page.html"] = "spec/browser/matrix/page.html", ["page.mjs"] = "spec/browser/matrix/page.mjs",
    ["follow.mjs"] = "spec/support/follow.mjs" }
  for _, row in ipairs(ROWS) do
    for name, path in pairs(row.files or {}) do files[name] = MODULES .. path end
  end
  for name, path in pairs(files) do
    process.write_file(folder .. "/" .. name, assert(process.read_file(path), path))
  end
  return folder
end

local browsers = {}

function run.stop_browsers()
  for _, b in pairs(browsers) do b.stop() end
  browsers = {}
end

local function escape(text)
  return (text:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function page_address(base, what)
  return base .. "/lib/page.html#" .. escape(json.encode(what))
end

-- Streams of a page in frames of as many hosts as it needs; HTTP/2 needs one.
local function frames(row, base, paths)
  local list = {}
  local size = row.alone and 1 or STREAMS_A_HOST
  for first = 1, #paths, size do
    local host = base:find("^https") and base or base:gsub("127%.0%.0%.1", ("h%d.localhost"):format(
      (first - 1) // STREAMS_A_HOST))
    local streams = {}
    for i = first, math.min(first + size - 1, #paths) do streams[#streams + 1] = { i, host .. paths[i] } end
    list[#list + 1] = page_address(host, { client = row.client or row.name, streams = streams })
  end
  return list
end

-- JSON has no lists with holes: streams by number.
local function by_number(map)
  local list = {}
  for key, rows in pairs(map) do list[tonumber(key)] = rows end
  return list
end

local function open_page(row, base, paths)
  local address = page_address(base, { frames = frames(row, base, paths) })
  if row.runs == "webkit" then return clients.of_process(row.name, webkit.open(address), paths) end
  browsers[row.runs] = browsers[row.runs] or browser.start(row.runs)
  local page = browsers[row.runs].open(address, { apart = row.runs == "chromium" }) -- six connections are for each
  return clients.watch(row.name, paths, function() return by_number(page.eval("streams")) end)
end

--- Follow these paths of a server.
function run.follow(row, base, paths)
  local urls = {}
  for i, path in ipairs(paths) do urls[i] = base .. path end
  if row.runs == "node" then return clients.npm(row.client or row.name, urls) end
  if row.runs == "java" then return clients.java(urls) end
  return open_page(row, base, paths)
end

--- A row's client with a stream for each case.
function run.open(row, base, proxied)
  local paths, at = {}, {}
  local id = row.name:gsub("%W", "") .. (proxied and "-nginx-" or "-")
  for _, case in ipairs(cases.STREAMS) do
    if case ~= "post" or row.post then
      paths[#paths + 1] = ("/%s/%s/%s?by=%s%s%s"):format(case == "gzip" and "packed" or "s", case, row.form or "named",
        id, case, (case == "post" or row.client == "ai") and "&post=1" or "")
      at[case] = #paths
    end
  end
  local c = run.follow(row, base, paths)
  c.at, c.row, c.proxied, c.sees_all, c.verdicts = at, row, proxied, not row.form, {}
  function c.seen(case) return c.asked[id .. case] or {} end
  return c
end

--- What a client is expected to do in a case.
function run.expected(c, case)
  local row = c.row
  return c.proxied and row.proxied and row.proxied[case] or row.but and row.but[case]
    or case:find("^post") and not row.post and "cannot" or "works"
end

--- Whether that is what was expected: what a broken end takes away is sometimes still there.
local function meets(expected, verdict)
  return verdict == expected or expected == "may miss the end" and (verdict == "works" or verdict == "misses the end")
end

--- Wait until each client does what is expected of it in the cases of a phase, and keep what it did.
function run.judge(all, phase, seconds, asked)
  pcall(deadline.eventually, function()
    local good = true
    local said = asked and asked()
    for _, c in ipairs(all) do
      c.look()
      c.asked = said
      for _, case in ipairs(cases.list) do
        if case[2] == phase then
          local verdict = case[3](c)
          c.verdicts[case[1]] = verdict
          good = good and meets(run.expected(c, case[1]), verdict)
        end
      end
    end
    return good
  end, seconds)
end

-- What a client saw, for who looks into why it does something else.
local function print_rows(c, case, verdict)
  local stream = c.at[case:match("^%l+")] or case == "own last word" and c.at.done or case == "reset" and c.at.short
  io.write(("%s%s: %s: %s\n"):format(c.row.name, c.proxied and ", nginx" or "", case, verdict))
  local rows = c.rows(stream or c.at.life)
  for i = math.max(1, #rows - 15), #rows do io.write("    ", json.encode(rows[i]), "\n") end
end

--- What was expected of all, and what they did, where these differ.
function run.table_of(all)
  local wanted, got = {}, {}
  for _, c in ipairs(all) do
    local name = c.row.name .. (c.proxied and ", nginx" or "")
    wanted[name], got[name] = {}, {}
    for _, case in ipairs(cases.list) do
      local is, verdict = run.expected(c, case[1]), c.verdicts[case[1]]
      if not meets(is, verdict) then
        print_rows(c, case[1], verdict)
        wanted[name][case[1]], got[name][case[1]] = is, verdict
      end
    end
    if not next(got[name]) then wanted[name], got[name] = nil, nil end
  end
  return wanted, got
end

return run
