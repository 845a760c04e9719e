--- HTTP/2 by programs that are not ours: curl, nghttp, h2load, openssl's client, python3-h2.
local process = require("spec.support.process")
local server = require("spec.support.server")
local tls = require("spec.support.tls")

local APP = [[
local app = require("sluice").app()
app:get("/", function(req) return 200, "hello" end)
app:get("/large", function() return 200, ("0123456789abcdef"):rep(20000) end)
app:post("/echo", function(req) return 200, req.body end)
app:post("/early", { body = "stream", max = 1000000000 }, function(req) return 200, "read nothing" end)
app:post("/some", { body = "stream", max = 1000000000 }, function(req)
  for piece in req:chunks() do return 200, "read some" end
end)
app:post("/pub", function(req) app:publish("news", "text", req.body) return 204 end)
app:stream("/s", { channels = { "news" } })
app:stream("/stops", function(req, client) client:send("one", {}) client:stop() end)
return app
]]

describe("HTTP/2 by other programs", function()
  local s, url, ca
  setup(function()
    s = server.start { app = APP, tls = true, h2 = false, env = { SLUICE_H2C = "yes" },
      args = { "--stall-timeout", 1 } }
    url, ca = ("https://localhost:%d"):format(s.port), tls.files().ca
  end)
  teardown(server.stop_all)

  it("is what curl gets, over TLS and by prior knowledge, and HTTP/1.1 where it wants that", function()
    for words, version in pairs {
      [("--http2 --cacert %s %s"):format(ca, url)] = "2", [("--http1.1 --cacert %s %s"):format(ca, url)] = "1.1",
      [("--http2-prior-knowledge http://localhost:%d"):format(s.plain_port)] = "2",
      [("--http2 http://localhost:%d"):format(s.plain_port)] = "1.1", -- an upgrade, which is not taken
      [("--http2-prior-knowledge --cacert %s %s"):format(ca, url)] = "2",
    } do
      local code, out = process.run(("curl -sS -m 10 -w ' %%{http_version}' %s/"):format(words))
      assert.same({ 0, "hello " .. version }, { code, out }, words)
    end
    local code, out = process.run(("curl -sS -m 10 --http2 --cacert %s -d @%s %s/echo"):format(ca, ca, url))
    assert.equal(0, code)
    assert.equal((process.read_file(ca):gsub("[\r\n]", "")), out)
    code, out = process.run(("curl -sSN -m 10 --http2 --cacert %s %s/stops"):format(ca, url))
    assert.equal(0, code) -- an end that is one
    assert.matches("event: bye\n", out)
  end)

  -- curl 7.88 reads no more when it has the answer, and sends its body to the end.
  it("answers curl before its body is read, which may be larger than any window", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    for target, words in pairs { early = "read nothing", some = "read some", ["no/such"] = "" } do
      for _, size in ipairs { 300000, target == "early" and 40000000 or 1000000 } do
        process.write_file(path, ("x"):rep(size))
        for _, length in ipairs { "", "-H Transfer-Encoding:chunked -H Content-Length:" } do
          local code, out = process.run(("curl -sS -m 20 --http2 --cacert %s %s -T %s -X POST %s/%s")
            :format(ca, length, path, url, target))
          assert.equal(0, code, ("%s, %d bytes: %s"):format(target, size, out))
          assert.truthy(out:find(words, 1, true), out)
        end
      end
    end
  end)

  it("ends a stream by END_STREAM, as nghttp sees it", function()
    local code, out = process.run(("nghttp -v -t 5 %s/stops"):format(url))
    assert.equal(0, code, out)
    out = out:gsub("\27%[[%d;]*m", "")
    assert.truthy(out:find("recv (stream_id=13) :status: 200", 1, true), out)
    local frames = {}
    for kind, flags in out:gmatch("recv (%u+) frame <length=%d+, flags=(0x%x+), stream_id=13>") do
      frames[#frames + 1] = kind .. " " .. flags
    end
    assert.equal("HEADERS 0x04", frames[1])
    assert.equal("DATA 0x01", frames[#frames])
    assert.is_nil(out:find("RST_STREAM", 1, true))
  end)

  it("is loaded by h2load, with many streams and many connections", function()
    for path, n in pairs { ["/"] = 2000, ["/large"] = 100 } do
      local code, out = process.run(("h2load -n %d -c 8 -m 100 -T 20 -N 20 %s%s"):format(n, url, path))
      assert.equal(0, code)
      assert.truthy(out:find(("%d succeeded, 0 failed, 0 errored, 0 timeout"):format(n), 1, true), out)
      assert.truthy(out:find(("status codes: %d 2xx, 0 3xx"):format(n), 1, true), out)
    end
  end)

  it("is agreed on by ALPN, where it is asked for (N168)", function()
    for words, agreed in pairs { [""] = "No ALPN negotiated", ["-alpn h2"] = "ALPN protocol: h2",
      ["-alpn h2,http/1.1"] = "ALPN protocol: h2", ["-alpn http/1.1,h2"] = "ALPN protocol: h2",
      ["-alpn http/1.1"] = "ALPN protocol: http/1.1", ["-alpn spdy/1,http/1.1"] = "ALPN protocol: http/1.1",
      ["-alpn foo"] = "alert no application protocol", ["-tls1_2 -alpn h2"] = "ALPN protocol: h2",
      ["-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256 -alpn h2"] = "ALPN protocol: h2",
      ["-tls1_1 -cipher ALL:@SECLEVEL=0 -alpn h2"] = "alert" } do
      local _, out = process.run(("timeout 10 openssl s_client -connect 127.0.0.1:%d %s </dev/null 2>&1")
        :format(s.port, words))
      assert.truthy(out:find(agreed, 1, true), words .. "\n" .. out)
    end
  end)

  it("is sound for python3-h2, which ends when its windows stay closed", function()
    local code, out = process.run { "/usr/bin/python3", "spec/support/h2_opinion.py", tostring(s.plain_port) }
    assert.equal(0, code, out)
    assert.equal("get yes hello\npost yes 16000\nlarge yes 320000\nopen yes\ntold yes\nstops yes end\nheld yes 65535\n",
      out:match("^(.*)ended"))
    assert.matches("ended yes goaway %d+\n$", out)
  end)
end)
