--- The programs of doc/publishing.md, each in its language, publish to the app of that page. What is not installed is
--- skipped: python3, php, mcs and mono for C#, node, and Debian's nginx with Lua for OpenResty.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")
local socket = require("socket")
local sse = require("spec.support.sse")

local ADDRESS, MESSAGE = "http://127.0.0.1:5121", "Order 7 is paid"

-- The statements of the page as a program that an older compiler takes, too.
local function csharp(text)
  local using, body = text:match("^(.-)\n\n(.*)$")
  return using .. "\nusing System.Threading.Tasks;\nclass P {\nstatic async Task Run() {\n" .. body
    .. "}\nstatic void Main() { Run().GetAwaiter().GetResult(); }\n}\n"
end

local LANGUAGES = {
  { "python", file = "p.py", needs = { "python3" }, run = "python3 p.py" },
  { "php", file = "p.php", needs = { "php" }, run = "php p.php" },
  { "csharp", file = "p.cs", needs = { "mcs", "mono" }, run = "mcs -r:System.Net.Http.dll p.cs && mono p.exe",
    make = csharp },
  { "mjs", file = "p.mjs", needs = { "node" }, run = "node p.mjs" },
}

-- Debian's nginx with Lua, as .ci/setup unpacks it; $ROOT is where, $D a folder of its own.
local OPENRESTY, NGINX = lfs.currentdir() .. "/build/openresty", [[
daemon off; master_process off; pid $D/pid; error_log $D/error.log warn;
load_module $ROOT/usr/lib/nginx/modules/ndk_http_module.so;
load_module $ROOT/usr/lib/nginx/modules/ngx_http_lua_module.so;
events { worker_connections 64; }
http {
  access_log off;
  lua_package_path "$ROOT/usr/share/lua/5.1/?.lua;;";
  client_body_temp_path $D/b; proxy_temp_path $D/p; fastcgi_temp_path $D/f; uwsgi_temp_path $D/u; scgi_temp_path $D/s;
  server {
    listen 127.0.0.1:$PORT;
$BLOCK
  }
}
]]

local function start_openresty(block)
  local folder, unused = process.temp_dir(), source.listen()
  local values = { D = folder, ROOT = OPENRESTY, PORT = tostring(unused.port), BLOCK = block }
  unused:close()
  process.write_file(folder .. "/conf", (NGINX:gsub("%$(%u+)", values)))
  local p = process.spawn({ OPENRESTY .. "/usr/sbin/openresty", "-p", folder, "-e", folder .. "/error.log", "-c",
    folder .. "/conf" }, { folders = { folder },
    env = { LD_LIBRARY_PATH = select(2, process.run { "find", OPENRESTY, "-name", "libluajit*.so*", "-printf", "%h",
      "-quit" }) } })
  deadline.eventually(function()
    if p:code() then deadline.give_up(p:log()) end
    local s = socket.connect("127.0.0.1", values.PORT)
    return s and s:close()
  end, 20, "OpenResty listens")
  return tonumber(values.PORT), function() return p:log() .. (process.read_file(folder .. "/error.log") or "") end
end

local function have(program) return (process.run { "sh", "-c", "command -v " .. program }) == 0 end

describe("the page about publishing", function()
  local doc, s, folder = markdown.read("doc/publishing.md"), nil, nil

  setup(function()
    folder = process.temp_dir()
    s = server.start { app = doc.block("lua").text }
  end)
  teardown(function()
    process.stop_all()
    process.remove_dir(folder)
  end)

  local function block(lang)
    local text = doc.block(lang).text
    assert.truthy(text:find(ADDRESS, 1, true) and text:find("order-7", 1, true), lang)
    return (text:gsub(ADDRESS:gsub("%p", "%%%0"), s.url):gsub("order%-7", "order-of-" .. lang))
  end

  -- A page gets what `publish` publishes; a second time it is not published.
  local function assert_publishes(publish)
    local page <close> = setmetatable({ stream = sse.connect(s.port, "/api/sse/connect") },
      { __close = function(self) self.stream:close() end })
    assert(page.stream:wait_for("hello"))
    for _ = 1, 2 do publish() end
    local c = http.connect(s.port)
    c:request("POST", "/api/sse/heartbeat", { ["X-API-Key"] = "key-of-ops" })
    local e = assert(page.stream:next_event(5))
    if e.event == "sync" then e = assert(page.stream:next_event(5)) end
    assert.same({ "notification", MESSAGE }, { e.event, json.decode(e.data).message })
    assert.equal("heartbeat", assert(page.stream:next_event(5)).event)
  end

  for _, language in ipairs(LANGUAGES) do
    local lang = language[1]
    it("publishes from " .. lang .. ", once", function()
      for _, name in ipairs(language.needs) do
        if not have(name) then return pending(name .. " is not installed") end
      end
      local text = block(lang)
      process.write_file(folder .. "/" .. language.file, (language.make or function(t) return t end)(text))
      assert_publishes(function()
        local code, output = process.run(language.run, { dir = folder, seconds = 60 })
        assert.equal(0, code, output)
        assert.truthy(output:find("%w+%-%d+"), output) -- the id
      end)
    end)
  end

  it("publishes from OpenResty, once", function()
    if not lfs.attributes(OPENRESTY) then return pending("nginx with Lua is not installed") end
    local port, log = start_openresty(block("nginx"))
    assert_publishes(function()
      local answer = http.get(port, "/pay")
      assert.equal(202, answer.status, answer.body .. log())
    end)
  end)

  it("has a block for each language that it names", function()
    local languages = { nginx = true, lua = true, sh = true, text = true }
    for _, language in ipairs(LANGUAGES) do languages[language[1]] = true end
    for _, b in ipairs(doc.blocks) do assert.is_true(languages[b.lang], b.place) end
    assert.equal(#LANGUAGES + 4, #doc.blocks)
  end)
end)
