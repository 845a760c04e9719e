--- A browser over HTTP/2: sixty streams of one page on one connection, with POSTs between them; what becomes of them
--- when the certificate changes, when a stream is over, when the server drains, and when it is killed.
---   sixty(name, open[, { deaf = true }])
--- open(url, home, cas) -> a process; home: a folder; cas: files of those to be trusted. deaf: where HTTP/2 breaks
--- off it stays as it is (doc/protocol.md), so that nobody has it back after a kill.
local assert = require("luassert")
local busted = require("busted")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")
local tls = require("spec.support.tls")

local describe, it, pending = busted.describe, busted.it, busted.pending
local setup, teardown = busted.setup, busted.teardown

local N = 60

local APP = [==[
local app = require("sluice").app()
app:channel("news", { history = 100 })
local told = {}
app:get("/page", function()
  return 200, [[<!doctype html><title>page</title><script>
    const N = NUMBER, streams = [];
    let opened = 0, errors = 0, got = {};
    const tell = (text) => fetch("/told?" + encodeURIComponent(text));
    const version = () => ["resource", "navigation"].flatMap(type => performance.getEntriesByType(type))
      .filter(e => /told|page/.test(e.name)).map(e => e.nextHopProtocol)[0];
    for (let i = 0; i < N; i++) {
      const stream = streams[i] = new EventSource("/s?" + i);
      stream.addEventListener("hello", () => { if (++opened % N === 0) tell("open " + opened); });
      stream.addEventListener("text", (e) => {
        const n = got[e.data] = (got[e.data] || 0) + 1;
        if (n === N) tell(e.data + " " + n + " " + version() + " " + errors);
      });
      stream.onerror = () => errors++;
    }
    streams[0].addEventListener("post", async () => {
      const all = await Promise.all([...Array(8).keys()].map(i => fetch("/echo", { method: "POST", body: "b" + i })));
      tell("posted " + all.map(r => r.status).join() + " " + (await Promise.all(all.map(r => r.text()))).join());
    });
    new EventSource("/short").addEventListener("hello", (e) => tell("short " + JSON.parse(e.data).resumed));
  </script>]], { ["Content-Type"] = "text/html" }
end)
app:post("/pub", function(req) app:publish("news", req.query.as or "text", req.body) return 204 end)
app:post("/echo", function(req) return 200, req.body end)
app:get("/told", function(req) table.insert(told, req.query_text) return 204 end)
app:get("/tell", function() return 200, table.concat(told, "\n") end)
app:stream("/s", { channels = { "news" } })
app:stream("/short", function(req)
  req.user = { id = "u", expires = os.time() + 2 }
  return true
end, { channels = { "news" } })
return app
]==]

return function(name, open, options)
  describe("a page of sixty streams over HTTP/2 in " .. name, function()
    local home, s, page, cert, key, port
    local made = {}

    local function put(from)
      process.write_file(cert, process.read_file(from.cert))
      process.write_file(key, process.read_file(from.key))
      os.execute("chmod 600 " .. key)
    end

    local function start()
      s = server.start { app = APP:gsub("NUMBER", N), io_threads = 2,
        args = { "--drain", 1, "--tls-cert", cert, "--tls-key", key, "--tls-port", port or 0 } }
      port = s.tls_port()
    end

    local function told() return (http.get(s.port, "/tell").body:gsub("%%20", " "):gsub("%%2C", ",")) end
    local function wait_told(text, seconds)
      local ok = pcall(deadline.eventually,
        function() return ("\n" .. told()):find("\n" .. text, 1, true) end, seconds or 20, text)
      if not ok then error(("not told: %s, but\n%s"):format(text, told()), 2) end
    end
    local function publish(text, as)
      assert.equal(204, http.post(s.port, "/pub?as=" .. (as or "text"), text).status)
    end

    setup(function()
      home = process.temp_dir()
      cert, key = home .. "/site.pem", home .. "/site.key"
      for i = 1, 2 do made[i] = tls.make(home, "made" .. i) end
      put(made[1])
      start()
      page = open(("https://localhost:%d/page"):format(port), home, { made[1].ca, made[2].ca })
    end)
    teardown(function()
      page:kill()
      server.stop_all()
      process.remove_dir(home)
    end)

    it("opens them all, hears each event on all, and posts between them", function()
      wait_told("open " .. N, 40)
      publish("one")
      wait_told(("one %d h2 0"):format(N))
      publish("go", "post")
      wait_told("posted 200,200,200,200,200,200,200,200 b0,b1,b2,b3,b4,b5,b6,b7")
    end)

    it("keeps them while the certificate changes, and resumes one that was over", function()
      put(made[2])
      s.signal("HUP")
      s.wait_log("TLS certificates read anew", 15)
      publish("two")
      wait_told(("two %d h2 0"):format(N))
      wait_told("short true") -- a user's time was over: it came back where it was
    end)

    it("has them back after a drain, and after a kill", function()
      if not os.getenv("SLUICE_SPEC_FULL") then pending("full size only") return end
      s.signal("TERM")
      deadline.eventually(function() return s.code() == 0 end, 15, "the server has drained")
      start()
      wait_told("open " .. 2 * N, 30)
      publish("three")
      wait_told(("three %d h2 "):format(N))
      if options and options.deaf then return end
      s.kill()
      start()
      wait_told("open " .. 3 * N, 30)
      publish("four")
      wait_told(("four %d h2 "):format(N))
    end)
  end)
end
