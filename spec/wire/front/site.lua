--- The app that the drawn requests go to, and what the model may know of it: its routes, its
--- files, the texts that it answers. The app says what reached its handler, in a text that
--- the model writes as well (`site.echo`).
local http = require("spec.support.http")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")

local site = {}

site.ADMIN_KEY = "kEy-0123456789abcdef0123456789abcdef"
site.ALLOWED_HOST, site.ALLOWED_ORIGIN = "front.example", "https://shop.example"
site.scheme = "http" -- of the server that was started last
site.MAX_BODY = 65536
site.MAX_PIECES = 200000 -- of a body that the handler takes in pieces
site.STALL_SECONDS = 3 -- a socket that takes nothing for so long is closed
site.TEXT_MAX = 1024 * 1024

-- Each line says where it stands, so that what is missing or doubled shows.
local PRELUDE = [[
local function make_text(size)
  local lines = {}
  for n = 0, size // 8 do lines[#lines + 1] = ("%07d\n"):format(n) end
  return table.concat(lines):sub(1, size)
end
local function shown(text)
  return (text:gsub("[^%w._~/ -]", function(c) return ("%%%02X"):format(c:byte()) end))
end
local function echo(facts)
  local out = {}
  for _, name in ipairs { "method", "path", "host", "ip", "list", "body" } do
    if facts[name] then out[#out + 1] = name .. "=" .. shown(facts[name]) end
  end
  for _, kind in ipairs { "params", "query", "cookies" } do
    local names = {}
    for name in pairs(facts[kind] or {}) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      out[#out + 1] = kind .. "." .. shown(name) .. "=" .. shown(facts[kind][name])
    end
  end
  return table.concat(out, "\n") .. "\n"
end
]]

site.text, site.echo = load(PRELUDE .. "return make_text(" .. site.TEXT_MAX .. "), echo")()

local APP = [[
local sluice = require("sluice")
local app = sluice.app()

local function say(req)
  return 200, echo { method = req.method == "HEAD" and "GET" or req.method, path = req.path, host = req.host
    and req.host:lower(), ip = req.ip,
    list = req.headers["x-list"], body = req.body, params = req.params, query = req.query, cookies = req.cookies }
end
local function refuse() return 401, "sign in", { ["WWW-Authenticate"] = "Cookie realm=x" } end

app:cors("/open/**", { origins = { ORIGIN }, credentials = true })
app:guard("/closed/**", refuse)
app:guard("/passed/**", function() return true end)
for _, prefix in ipairs { "", "/open", "/closed", "/passed" } do
  app:static(prefix .. "/files", FOLDER)
  for _, method in ipairs { "get", "post", "put", "patch", "delete" } do
    app[method](app, prefix .. "/echo/:name", say)
  end
  app:get(prefix .. "/star/*", say)
  app:get(prefix .. "/rest/*rest", say)
  app:post(prefix .. "/mirror", function(req) return 200, req.body or "" end)
  app:post(prefix .. "/pieces", { body = "stream", max = MAX_PIECES }, function(req)
    local list = {}
    for piece in req:chunks() do list[#list + 1] = piece end
    return 200, table.concat(list)
  end)
  app:post(prefix .. "/some/:n", { body = "stream", max = MAX_PIECES }, function(req)
    local next_piece = req:chunks()
    for _ = 1, math.tointeger(tonumber(req.params.n)) do next_piece() end
    return 200, "some"
  end)
  app:post(prefix .. "/json", function(req) return req:json() end)
  app:get(prefix .. "/size/:n", function(req) return 200, TEXT:sub(1, math.tointeger(tonumber(req.params.n))) end)
  app:get(prefix .. "/none", function() end)
  app:get(prefix .. "/broken", function() error("on purpose") end)
  app:stream(prefix .. "/constant", "news")
  app:stream(prefix .. "/planned", function() return "news" end)
  app:stream(prefix .. "/written", function(_, client)
    client:send("one", { n = 1 })
    client:send("two", { n = 2 })
    client:stop()
  end)
end
return app
]]

-- Name to size; and their types.
local FILES = { ["index.html"] = 300, ["empty.txt"] = 0, ["one.txt"] = 1, ["a b.txt"] = 700, ["\xc3\xa9+~.js"] = 5000,
  ["deep/er/page.html"] = 1500, ["40k.txt"] = 40960, ["300k.bin"] = 300000, ["1m.bin"] = 1024 * 1024 }
local TYPES = { html = "text/html; charset=utf-8", txt = "text/plain; charset=utf-8",
  js = "text/javascript; charset=utf-8",
  bin = "application/octet-stream" }

local function write_files(folder)
  lfs.mkdir(folder .. "/deep")
  lfs.mkdir(folder .. "/deep/er")
  for name, size in pairs(FILES) do process.write_file(folder .. "/" .. name, site.text:sub(1, size)) end
end

--- Paths below the prefix of the files: { size, type, tag }; tag is what the server called it.
local function know_files(port)
  local files = {}
  for name, size in pairs(FILES) do
    local path = "/" .. name
    local raw = path:gsub("[^%w/.]", function(c) return ("%%%02x"):format(c:byte()) end)
    files[path] = { size = size, type = TYPES[name:match("%w+$")], tag = http.get(port, "/files"
      .. raw).headers.etag }
  end
  files["/"] = files["/index.html"]
  return files
end

--- Start the server; options as server.start's. What comes back has `files` and `stop`.
function site.start(options)
  local folder = process.temp_dir()
  write_files(folder)
  local all = {}
  for name, value in pairs(options or {}) do all[name] = value end
  all.app = PRELUDE .. ("local TEXT, ORIGIN, FOLDER, MAX_PIECES = make_text(%d), %q, %q, %d\n"):format(
    site.TEXT_MAX, site.ALLOWED_ORIGIN, folder, site.MAX_PIECES) .. APP
  all.args = { "--trust-proxy", "yes", "--allow-host", site.ALLOWED_HOST, "--admin-key", site.ADMIN_KEY,
    "--stall-timeout", site.STALL_SECONDS, "--head-timeout", 60, "--body-timeout", 60 }
  local s = server.start(all)
  site.scheme = s.url:match("^%w+")
  s.files = know_files(s.port)
  function s.clean() process.remove_dir(folder) end
  return s
end

return site
