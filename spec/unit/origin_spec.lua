--- csrc/net/origin.c: which hosts are answered, which origins may read, which requests are
--- made in another's name.
local http = require("sluice.core.testing_http")

local function request(method, fields)
  return method .. " / HTTP/1.1\r\nHost: a.example:5121\r\n" .. (fields or "") .. "\r\n"
end

describe("origin_host_allowed", function()
  it("answers addresses and localhost without a list", function()
    for _, host in ipairs({ "127.0.0.1", "127.0.0.1:5121", "10.255.0.9", "[::1]", "[::1]:80", "localhost",
      "LocalHost:5121", "localhost.", "app.localhost:1" }) do
      assert.is_true(http.host_allowed(host, {}), host)
    end
  end)

  it("refuses names that are not listed", function()
    for _, host in ipairs({ "evil.example", "localhost.evil.example", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4",
      "1.2.3.4.evil.example", "1..2.3", "1.2.3.", "12345", "xlocalhost", ".localhost" }) do
      assert.is_false(http.host_allowed(host, {}), host)
    end
  end)

  it("answers what the list names, whatever the port and case", function()
    local names = { "a.example", "*.b.example" }
    for _, host in ipairs({ "a.example", "A.Example:80", "a.example.", "x.b.example", "x.y.b.example:1" }) do
      assert.is_true(http.host_allowed(host, names), host)
    end
    for _, host in ipairs({ "b.example", "xa.example", "x.a.example", "xb.example", "a.example.evil" }) do
      assert.is_false(http.host_allowed(host, names), host)
    end
    assert.is_true(http.host_allowed("anything", { "*" }))
  end)
end)

describe("origin_fields", function()
  local FROM = "Origin: https://app.example\r\n"

  it("adds nothing unless CORS was asked for", function()
    assert.same({}, http.cors(request("GET", FROM), nil).fields)
  end)

  it("reflects a listed origin and tells caches", function()
    assert.same({ { "Vary", "Origin" }, { "Access-Control-Allow-Origin", "https://app.example" } },
      http.cors(request("GET", FROM), { "https://app.example" }).fields)
    assert.same({ { "Vary", "Origin" }, { "Access-Control-Allow-Origin", "https://app.example" },
      { "Access-Control-Allow-Credentials", "true" } },
      http.cors(request("GET", FROM), { "https://x", "https://app.example" }, true).fields)
  end)

  it("gives other origins and null nothing but Vary", function()
    for _, origin in ipairs({ "https://evil.example", "http://app.example", "https://app.example:8443",
      "https://app.example.evil", "null", "" }) do
      assert.same({ { "Vary", "Origin" } },
        http.cors(request("GET", "Origin: " .. origin .. "\r\n"), { "https://app.example", "null" }, true).fields)
    end
    assert.same({ { "Vary", "Origin" } }, http.cors(request("GET"), { "https://app.example" }).fields)
  end)

  it("lets every origin read where the list says so, without cookies", function()
    assert.same({ { "Access-Control-Allow-Origin", "*" } }, http.cors(request("GET", FROM), { "*" }).fields)
    assert.same({ { "Vary", "Origin" } }, http.cors(request("GET", FROM), { "*" }, true).fields)
  end)
end)

describe("a preflight", function()
  local ASK = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n" ..
    "Access-Control-Request-Headers: last-event-id, authorization, x-foo\r\n"

  it("is an OPTIONS request with both fields", function()
    local function has_methods(method, fields)
      for _, field in ipairs(http.cors(request(method, fields), { "*" }).fields) do
        if field[1] == "Access-Control-Allow-Methods" then return true end
      end
      return false
    end
    assert.is_true(has_methods("OPTIONS", ASK))
    assert.is_false(has_methods("GET", ASK))
    assert.is_false(has_methods("OPTIONS", "Origin: https://app.example\r\n"))
    assert.is_false(has_methods("OPTIONS", "Access-Control-Request-Method: POST\r\n"))
  end)

  it("lists only the fields that are allowed (N131)", function()
    assert.same({
      { "Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers" },
      { "Access-Control-Allow-Origin", "https://app.example" },
      { "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE" },
      { "Access-Control-Allow-Headers", "Authorization, Cache-Control, Content-Type, Idempotency-Key, " ..
        "If-None-Match, Last-Event-ID, X-API-Key, X-Requested-With" },
      { "Access-Control-Max-Age", "7200" },
    }, http.cors(request("OPTIONS", ASK), { "https://app.example" }).fields)
  end)

  it("from elsewhere gets no leave", function()
    local fields = http.cors(request("OPTIONS", ASK), { "https://other.example" }).fields
    assert.equal(1, #fields)
    assert.equal("Vary", fields[1][1])
  end)
end)

describe("origin_is_foreign", function()
  local function foreign(fields, ...) return http.cors(request("POST", fields), ...).is_foreign end

  it("lets programs and the server's own pages through", function()
    assert.is_false(foreign(""))
    assert.is_false(foreign("Origin: http://a.example:5121\r\n"))
    assert.is_false(foreign("Origin: https://A.example:5121\r\n"))
    assert.is_false(foreign("Sec-Fetch-Site: same-origin\r\nOrigin: https://public.example\r\n"))
    assert.is_false(foreign("Sec-Fetch-Site: none\r\n"))
  end)

  it("takes a port that is the scheme's own as left out", function()
    local function foreign_to(host, origin)
      local text = ("POST / HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\n\r\n"):format(host, origin)
      return http.cors(text).is_foreign
    end
    assert.is_false(foreign_to("a.example:80", "http://a.example"))
    assert.is_false(foreign_to("a.example", "https://a.example:443"))
    assert.is_true(foreign_to("a.example:443", "http://a.example"))
    assert.is_true(foreign_to("a.example:8080", "http://a.example"))
    assert.is_true(foreign_to("80", "http://a.example"))
  end)

  it("notices pages of other sites (N127)", function()
    for _, fields in ipairs({ "Origin: https://evil.example\r\n", "Origin: null\r\n", "Origin:\r\n",
      "Origin: http://a.example\r\n", "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n",
      "Sec-Fetch-Site: cross-site\r\nOrigin: http://a.example:5121\r\n" }) do
      assert.is_true(foreign(fields), fields)
    end
  end)

  it("lets listed origins through", function()
    assert.is_false(foreign("Sec-Fetch-Site: cross-site\r\nOrigin: https://app.example\r\n", { "https://app.example" }))
    assert.is_true(foreign("Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n", { "https://app.example" }))
  end)
end)
