--- Real browsers over HTTPS with the certificate that `--tls dev` makes, trusted as its line in the log says: a page,
--- eight streams of it, more than HTTP/1.1 would let it have, and eight POSTs between them.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")
require("spec.support.firefox") -- both are there

local APP = [==[
local app = require("sluice").app()
app:channel("news", {})
local told = {}
app:get("/page", function()
  return 200, [[<!doctype html><title>page</title><script>
    let opened = 0, heard = 0;
    for (let i = 0; i < 8; i++) {
      const stream = new EventSource("/s?" + i);
      stream.addEventListener("hello", () => {
        if (++opened === 8) for (let k = 0; k < 8; k++) fetch("/pub", { method: "POST", body: "over TLS" });
      });
      stream.addEventListener("text", (e) => {
        if (++heard === 64) fetch("/told?" + e.data.replace(" ", "+") + "," + heard + "," + isSecureContext);
      });
    }
  </script>]], { ["Content-Type"] = "text/html" }
end)
app:post("/pub", function(req) app:publish("news", "text", req.body) return 204 end)
app:get("/told", function(req) table.insert(told, req.query_text) return 204 end)
app:get("/tell", function() return 200, table.concat(told, " ") end)
app:stream("/s", { channels = { "news" } })
return app
]==]

local CHROMIUM = os.getenv("CHROMIUM") or "/usr/bin/chromium"

describe("a page over --tls dev", function()
  local s, home, ca
  setup(function()
    home = process.temp_dir()
    s = server.start({ app = APP, env = { XDG_RUNTIME_DIR = home }, args = { "--tls", "dev", "--tls-port", 0 } })
    ca = s.wait_log("certutil [^\n]- %-i (%S-) "):gsub("\\/", "/")
  end)
  teardown(function()
    server.stop_all()
    process.remove_dir(home)
  end)

  local function trust(folder)
    for _, words in ipairs({ { "-N", "--empty-password" }, { "-A", "-t", "C,,", "-n", "sluice-dev", "-i", ca } }) do
      local code, out = process.run({ "certutil", "-d", "sql:" .. folder, table.unpack(words) })
      assert.equal(0, code, out)
    end
  end

  local function told()
    local r = http.get(s.port, "/tell")
    assert(r.status == 200, r.body)
    return r.body
  end

  local function visit(words)
    local before = told()
    local p = process.spawn(words, { env = { HOME = home } })
    deadline.eventually(function() return told() ~= before end, 30, "the page has had its event")
    p:kill()
    return told():sub(#before + 1):match("%S+$")
  end

  it("works in Chromium", function()
    process.run({ "mkdir", "-p", home .. "/.pki/nssdb" })
    trust(home .. "/.pki/nssdb")
    assert.equal("over+TLS,64,true", visit({ CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu",
      "--user-data-dir=" .. home .. "/chromium", "--remote-debugging-port=0",
      ("https://localhost:%d/page"):format(s.tls_port()) }))
  end)

  it("works in Firefox", function()
    process.run({ "mkdir", "-p", home .. "/firefox" })
    trust(home .. "/firefox")
    assert.equal("over+TLS,64,true", visit({ "firefox-esr", "--headless", "--no-remote", "--profile",
      home .. "/firefox",
      ("https://127.0.0.1:%d/page"):format(s.tls_port()) }))
  end)
end)
