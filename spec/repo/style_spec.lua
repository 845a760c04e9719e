--- The rules of the house that a machine can read: sizes, names, what must not be there.
local process = require("spec.support.process")
local tree = require("spec.support.tree")

local C_FILE_LINES, C_FUNCTION_LINES = 600, 70
local LUA_FILE_LINES, LUA_FUNCTION_LINES = 300, 60
local EXAMPLE_LINES, EXAMPLE_MODULE_LINES = 60, 150

local TOP_LEVEL = { "Makefile", "README.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "CHANGELOG.md",
  "Containerfile",
  "csrc", "debian", "doc", "examples", "lua", "spec", "systemd" }
local UNSAFE = { "strcpy", "strcat", "sprintf", "vsprintf", "strtok", "atoi", "atol", "gets", "alloca" }

local function line_count(path)
  return select(2, tree.read(path):gsub("\n", "\n"))
end

--- Each violation is one readable line; none is what we want.
local function check(pattern, judge)
  local wrong = {}
  for _, path in ipairs(tree.files(pattern)) do
    judge(path, function(text, ...) wrong[#wrong + 1] = path .. text:format(...) end)
  end
  assert.same({}, wrong)
end

describe("the repository", function()
  it("has only the known names at the top", function()
    local known = {}
    for _, name in ipairs(TOP_LEVEL) do known[name] = true end
    check(".", function(path, say)
      local top = path:match("^[^/]+")
      if not (known[top] or top:find("^%.") or top:find("%.rockspec$")) then say(" does not belong here") end
    end)
  end)

  it("names no folder of a developer's machine", function()
    check(".", function(path, say)
      local text = tree.read(path)
      if text:find("\0", 1, true) then return end -- a picture
      for _, top in ipairs { "wo" .. "rk", "fa" .. "rm", "ro" .. "ot", "ho" .. "me" } do
        local at = ("\n" .. text):find("[^%w_.%-/]/" .. top .. "/")
        if at then say(":%d names /%s", select(2, text:sub(1, at - 1):gsub("\n", "")) + 1, top) end
      end
    end)
  end)

  it("ends lines cleanly", function()
    check("%.[chlm][ujd]?[as]?$", function(path, say)
      local text = tree.read(path)
      if text:find("\r") then say(" has a CR") end
      if text ~= "" and text:sub(-1) ~= "\n" then say(" does not end with a newline") end
      for n, line in tree.lines(path) do
        if line:find("%s$") then say(":%d ends with a blank", n) end
        if line:find("\t") then say(":%d has a tab", n) end
      end
    end)
  end)
end)

describe("csrc", function()
  it("keeps files below " .. C_FILE_LINES .. " lines and functions below " .. C_FUNCTION_LINES, function()
    check("^csrc/.*%.[ch]$", function(path, say)
      if line_count(path) > C_FILE_LINES then say(": %d lines", line_count(path)) end
      local start, name
      for n, line in tree.lines(path) do
        if line:find("^[%a_][^;]*%(") then start, name = n, line:match("([%w_]+)%(") end
        if line == "}" and start then
          if n - start + 1 > C_FUNCTION_LINES then say(":%d %s: %d lines", start, name, n - start + 1) end
          start = nil
        end
      end
    end)
  end)

  it("opens each file with a comment and calls nothing unsafe", function()
    check("^csrc/.*%.[ch]$", function(path, say)
      local text = tree.read(path)
      if text:sub(1, 2) ~= "/*" then say(" has no top comment") end
      for _, name in ipairs(UNSAFE) do
        local at = text:find("%f[%w_]" .. name .. "%(")
        if at then say(":%d calls %s", select(2, text:sub(1, at):gsub("\n", "")) + 1, name) end
      end
    end)
  end)
end)

describe("Lua files", function()
  it("are below " .. LUA_FILE_LINES .. " lines in lua/ and start by saying what they are", function()
    check("^lua/.*%.lua$", function(path, say)
      if line_count(path) > LUA_FILE_LINES then say(": %d lines", line_count(path)) end
      local text = tree.read(path):gsub("^#![^\n]*\n", "")
      if text:sub(1, 2) ~= "--" then say(" has no top comment") end
    end)
  end)

  it("raise at the user's line by looking for it, not by a count of calls, which goes wrong", function()
    check("^lua/.*%.lua$", function(path, say)
      local text = tree.read(path)
      for at, call in text:gmatch("%f[%w_.:]()error(%b())") do
        local level = call:match(",%s*(%d+)%)$")
        if level and tonumber(level) > 2 then
          say(":%d error(…, %s): options.raise or caller.raise", select(2, text:sub(1, at):gsub("\n", "")) + 1, level)
        end
      end
    end)
  end)

  it("have functions below " .. LUA_FUNCTION_LINES .. " lines", function()
    local files = tree.files("^lua/.*%.lua$")
    for _, path in ipairs(tree.files("^spec/support/.*%.lua$")) do files[#files + 1] = path end
    local wrong, seen = {}, 0
    local _, listing = process.run(("for f in %s; do luac5.4 -p -l $f || echo FAILED $f; done 2>&1 | grep -v '^[^fFl]'")
      :format(table.concat(files, " ")))
    assert.is_nil(listing:match("FAILED[^\n]*") or listing:match("luac[^\n]*"))
    for path, first, last in listing:gmatch("function <([^\n]-):(%d+),(%d+)>") do
      local length = last - first + 1
      seen = seen + 1
      if length > LUA_FUNCTION_LINES then wrong[#wrong + 1] = ("%s:%s %d lines"):format(path, first, length) end
    end
    assert.is_true(seen > #files)
    assert.same({}, wrong)
  end)

  it("are short when they are examples", function()
    check("^examples/.*%.lua$", function(path, say)
      local most = path:find("/app%.lua$") and EXAMPLE_LINES or EXAMPLE_MODULE_LINES
      if line_count(path) > most then say(": %d lines", line_count(path)) end
      if tree.read(path):sub(1, 2) ~= "--" then say(" does not say what it shows") end
    end)
  end)

  it("wait with a deadline in specs, never with a sleep", function()
    check("^spec/.*_spec%.lua$", function(path, say)
      for n, line in tree.lines(path) do
        if line:find("socket%.sleep") or line:find("os%.execute%(%s*[\"']sleep") then say(":%d sleeps", n) end
      end
    end)
  end)
end)
