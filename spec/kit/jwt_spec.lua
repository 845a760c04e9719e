--- lua/sluice/auth/jwt.lua, keyset.lua and strict_json.lua: which tokens are taken, to the second,
--- and every trick that is known refused; where keys come from.
local crypto = require("sluice.crypto")
local json = require("sluice.json")
local kit = require("spec.support.kit")
local process = require("spec.support.process")
local tokens = require("spec.support.tokens")

local NOW = 1780000000
local ISSUER, AUDIENCE = "https://id.example", "https://events.example"

local function claims(changes)
  local out = { iss = ISSUER, aud = AUDIENCE, sub = "alice", exp = NOW + 600, iat = NOW - 5, roles = { "Admin" } }
  for name, value in pairs(changes or {}) do out[name] = value end
  return out
end

local function without(name)
  local out = claims()
  out[name] = nil
  return out
end

local b64 = crypto.base64url

describe("a token", function()
  local hs, rs, es, t

  lazy_setup(function()
    hs, rs, es = tokens.secret(("top secret "):rep(4)), tokens.rsa(), tokens.ec()
  end)
  after_each(kit.stop_all)

  local LUA = [[
    local json = require("sluice.json")
    local auth = require("sluice.auth").new(app, { jwt = json.decode(%q), failures = false, durable = false })
    app:get("/me", auth:user(), function(req)
      return { id = req.user.id, via = req.user.via, roles = req.user.roles, expires = req.user.expires }
    end)
    app:get("/free", auth:optional(), function(req) return { id = req.user and req.user.id } end)
    app:channel("log", { history = 10 })
    app:stream("/s", auth:user(), function() return "log" end)]]

  local function start(list, options)
    options = options or {}
    options.now = options.now or NOW
    t = kit.start(LUA:format(json.encode(list)), options)
    return t
  end

  local function start_all()
    local list = {}
    for i, key in ipairs({ hs, rs, es }) do
      list[i] = { issuer = ISSUER, audience = AUDIENCE, alg = key.alg, key = key.pem }
    end
    return start(list)
  end

  local function ask(token, path)
    return t:get(path or "/me", { headers = { Authorization = "Bearer " .. token } })
  end

  local function refused(why, token)
    local answer = ask(token)
    assert.equal(401, answer.status, why)
    assert.equal("not accepted: it is unknown, over or revoked", answer.json.error.message)
    assert.equal('Bearer error="invalid_token"', answer.headers["WWW-Authenticate"])
    local log = t:log("info")
    assert.equal("not let in: " .. why, log[#log])
    assert.equal(401, ask(token, "/free").status)
  end

  it("is taken with each algorithm, and ends its stream when it ends", function()
    start_all()
    for _, key in ipairs({ hs, rs, es }) do
      local answer = ask(tokens.make(key, claims()))
      assert.equal(200, answer.status, answer.body)
      assert.same({ id = "alice", via = "jwt", roles = { Admin = true }, expires = NOW + 600 }, answer.json)
    end
    local short = tokens.make(es, claims { exp = NOW + 7 })
    local c = t:connect("/s", { headers = { Authorization = "Bearer " .. short } })
    t:advance(6.5)
    t:publish("log", "e", {})
    c:wait_for("e", 0)
    assert.equal("expired", c:wait_for("bye", 1.6).data.reason)
    assert.equal(401, c:reconnect().status)
  end)

  it("has an audience and may have a list of them, a type, and a clock that is a little late", function()
    start_all()
    for _, good in ipairs({ claims { aud = { "other", AUDIENCE } }, claims { nbf = NOW + 29, iat = NOW + 29 },
      claims { exp = NOW + 1 }, without("iat") }) do
      assert.equal(200, ask(tokens.make(hs, good)).status)
    end
    for _, typ in ipairs({ "jwt", "at+jwt", "application/at+JWT" }) do
      assert.equal(200, ask(tokens.make(hs, claims(), { alg = "HS256", typ = typ })).status)
    end
    assert.equal(200, ask(tokens.make(hs, claims(), { alg = "HS256", kid = "whatever" })).status)
  end)

  it("is refused for each claim that is not right", function()
    start_all()
    for why, wrong in pairs({
      ["exp is missing, or no time"] = { without("exp"), claims { exp = tostring(NOW + 600) }, claims { exp = -1 },
        claims { exp = NOW + 0.5 }, claims { exp = true }, claims { exp = 1e300 }, claims { exp = {} } },
      ["it is over (exp)"] = { claims { exp = NOW }, claims { exp = NOW - 1 }, claims { exp = 0 } },
      ["it lives longer than 30 days, which is how long a revocation is kept"] =
        { claims { exp = NOW + 31 * 86400 }, claims { exp = 1 << 62 } },
      ["nbf is to come"] = { claims { nbf = NOW + 31 } },
      ["iat is to come"] = { claims { iat = NOW + 31 } },
      ["nbf is no time"] = { claims { nbf = "0" }, claims { nbf = 1e300 }, claims { nbf = -5 } },
      ["iat is no time"] = { claims { iat = {} } },
      ["it is for others (aud)"] = { without("aud"), claims { aud = "other" }, claims { aud = {} }, claims { aud = 7 },
        claims { aud = { AUDIENCE .. "/" } }, claims { aud = { [AUDIENCE] = true } } },
      ["its issuer is unknown (iss)"] = { without("iss"), claims { iss = ISSUER .. "/" }, claims { iss = { ISSUER } } },
      ["'nil' cannot be the id of a user: at most 64 letters, digits and _ . @ + = ~ : -"] = { without("sub") },
      ["'a/b' cannot be the id of a user: at most 64 letters, digits and _ . @ + = ~ : -"] = { claims { sub = "a/b" } },
    }) do
      for _, one in ipairs(wrong) do refused(why, tokens.make(hs, one)) end
    end
  end)

  it("cannot choose its algorithm", function()
    start_all()
    local body = claims()
    for _, alg in ipairs({ "none", "None", "nOnE", "NONE", "", "HS384", "HS512", "RS512", "PS256", "hs256",
      "ES256K" }) do
      local text = b64(json.encode({ alg = alg, typ = "JWT" })) .. "." .. b64(json.encode(body)) .. "."
      refused("it is no token", text)
      refused("alg is not the issuer's", text .. b64(crypto.hmac_sha256(hs.pem, text:sub(1, -2))))
    end
    -- a public key as the secret of HS256, as it is written and without its end
    for _, key in ipairs({ rs, es }) do
      for _, text in ipairs({ key.pem, key.pem:gsub("\n$", ""), json.encode(key.jwk) }) do
        refused("the signature is not right", tokens.make(tokens.secret(text), body))
      end
    end
    -- the key of one algorithm under the name of another
    refused("the signature is not right", tokens.make(es, body, { alg = "RS256" }))
    refused("the signature is not right", tokens.make(rs, body, { alg = "ES256" }))
    refused("alg is not the issuer's", tokens.make(hs, body, { typ = "JWT" }))
    refused("alg is not the issuer's", tokens.make(hs, body, { alg = { "HS256" } }))
  end)

  it("cannot bring its key, nor have it fetched", function()
    start_all()
    local own = tokens.ec()
    for _, header in ipairs({ { alg = "ES256", jwk = own.jwk }, { alg = "ES256", jku = "http://127.0.0.1:1/keys" },
      { alg = "ES256", x5u = "http://127.0.0.1:1/cert" }, { alg = "ES256", x5c = { "AAAA" } },
      { alg = "ES256", kid = "../../dev/null" }, { alg = "ES256", kid = "x' OR 1=1 --" },
      { alg = "ES256", kid = "\0" } }) do
      refused("the signature is not right", tokens.make(own, claims(), header))
    end
    assert.same({}, t:requests())
    for _, kid in ipairs({ 7, true, {} }) do
      refused("kid is no text", tokens.make(es, claims(), { alg = "ES256", kid = kid }))
    end
    for _, header in ipairs({ '{"alg":"HS256","crit":["b64"],"b64":false}', '{"alg":"HS256","crit":[]}' }) do
      refused("crit names an extension, and none is known", tokens.make(hs, claims(), header))
    end
    for _, typ in ipairs({ "logout+jwt", "dpop+jwt", "secevent+jwt", "JWE" }) do
      refused("typ is of another kind of token", tokens.make(hs, claims(), { alg = "HS256", typ = typ }))
    end
    refused("typ is no text", tokens.make(hs, claims(), { alg = "HS256", typ = 1 }))
  end)

  it("says each thing once", function()
    start_all()
    local text = json.encode(claims())
    for _, double in ipairs({ text:sub(1, -2) .. ',"sub":"bob"}', '{"sub":"bob",' .. text:sub(2),
      text:sub(1, -2) .. ',"s\\u0075b":"bob"}', text:sub(1, -2) .. ',"x":{"a":1,"b":[{"c":1,"c":2}]}}',
      text:sub(1, -2) .. ',"":1,"":2}', text:sub(1, -2) .. ', "exp" : 99999999999 }' }) do
      refused("claims: a name comes twice in an object", tokens.make(hs, double))
    end
    refused("header: a name comes twice in an object", tokens.make(hs, text, '{"alg":"HS256","alg":"none"}'))
    for _, fine in ipairs({ text:sub(1, -2) .. ',"a":{"sub":1},"b":{"sub":2},"c":["sub","sub"],"d":"\\"sub\\":1,{[}"}',
      text:sub(1, -2) .. ',"e":[{"a":1},{"a":1},[]],"f":{},"g":"\\\\","h":"\\\\\\""}' }) do
      assert.equal(200, ask(tokens.make(hs, fine)).status, fine)
    end
  end)

  it("is small, and well formed", function()
    start_all()
    local good = tokens.make(hs, claims())
    refused("the token is too long", tokens.make(hs, claims { pad = ("x"):rep(8192) }))
    local head, body, signature = good:match("^(.-)%.(.-)%.(.*)$")
    refused("it is no token", head .. "." .. body .. ".")
    refused("it is no token", head .. ".." .. signature)
    refused("there is nothing that it could be", "abc")
    refused("there is nothing that it could be", good .. "=")
    refused("there is nothing that it could be", good .. ".AA")
    refused("a part is not base64url", head .. "." .. body .. "." .. signature:sub(1, 41))
    refused("it is no token", tokens.make(hs, ""))
    for _, claimed in ipairs({ "7", "[]", '"x"', "null", "{", ("[ "):rep(2000), ('{"a":'):rep(1000) }) do
      refused("claims: it is no JSON object", tokens.make(hs, claimed))
    end
    refused("header: it is no JSON object", tokens.make(hs, claims(), ("["):rep(5000)))
  end)

  it("is refused when it was changed in any way", function()
    start_all()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    math.randomseed(seed)
    local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=. %+/"
    local function letter()
      local at = math.random(#alphabet)
      return alphabet:sub(at, at)
    end
    local changes = {
      function(s, at) return s:sub(1, at - 1) .. letter() .. s:sub(at + 1) end,
      function(s, at) return s:sub(1, at) .. letter() .. s:sub(at + 1) end,
      function(s, at) return s:sub(1, at - 1) .. s:sub(at + 1) end,
      function(s, at) return s:sub(1, at - 1) .. s:sub(at + 1, at + 1) .. s:sub(at, at) .. s:sub(at + 2) end,
      function(s, at) return s:sub(1, at) end,
      function(s, at) return s:sub(at) end,
      function(s, at) return s:sub(1, at) .. s:sub(1, at) .. s:sub(at + 1) end,
      function(s, at, other) return s:sub(1, at) .. other:sub(at + 1) end,
    }
    local good = {}
    for i, key in ipairs({ hs, rs, es, hs }) do
      good[i] = tokens.make(key, claims { sub = "user" .. i, jti = ("%d"):format(i) })
    end
    local n, taken = os.getenv("SLUICE_SPEC_FULL") and 40000 or 500, {}
    for _, token in ipairs(good) do taken[token] = true end
    for _ = 1, n do
      local token = good[math.random(#good)]
      local made = token
      for _ = 1, math.random(3) do
        made = changes[math.random(#changes)](made, math.random(math.max(1, #made)), good[math.random(#good)])
      end
      if not taken[made] and #made > 0 then
        local status = ask(made).status
        -- blanks behind a token belong to the header
        if not taken[made:match("^%s*(.-)%s*$")] then
          assert.is_true(status == 401 or status == 400, ("seed %d: %d for %s"):format(seed, status, made))
        end
      end
    end
    for _, token in ipairs(good) do assert.equal(200, ask(token).status) end
  end)

  it("gives the user that the app makes of it", function()
    t = kit.start(([[
      local auth = require("sluice.auth").new(app, { durable = false, failures = false, jwt = { { issuer = %q,
        audience = %q, alg = "HS256", key = %q, scope = "events:read", typ = "at+jwt", user = function(claims)
          if claims.sub == "auth0|7" then return { id = "u7", name = "Seven", roles = { "x" }, expires = %d } end
          if claims.sub == "raise" then error("no database") end
          return nil, "blocked"
        end } } })
      app:get("/me", auth:user(), function(req)
        return { req.user.id, req.user.name, req.user.expires, req.user.claims.sub }
      end)
      app:get("/free", auth:optional(), function() return 200 end)
    ]]):format(ISSUER, AUDIENCE, hs.pem, NOW + 60), { now = NOW })
    local header = { alg = "HS256", typ = "at+jwt" }
    local function token(changes) return tokens.make(hs, claims(changes), header) end
    local answer = ask(token { sub = "auth0|7", scope = "openid events:read" })
    assert.same({ "u7", "Seven", NOW + 60, "auth0|7" }, answer.json)
    refused("blocked", token { sub = "eve", scope = "events:read" })
    refused("its scope is another", token { sub = "auth0|7", scope = "events:reader" })
    refused("its scope is another", token { sub = "auth0|7", scope = { "events:read" } })
    refused("typ is not 'at+jwt'", tokens.make(hs, claims { sub = "auth0|7", scope = "events:read" }))
    assert.equal(500, ask(token { sub = "raise", scope = "events:read" }).status)
  end)

  it("is checked with the keys of its own issuer, whatever they are called", function()
    local other = tokens.ec()
    local function set(key)
      return { keys = { { kid = "1", kty = "EC", crv = "P-256", x = key.jwk.x, y = key.jwk.y } } }
    end
    start({ { issuer = ISSUER, audience = AUDIENCE, alg = "ES256", jwks = set(es) },
      { issuer = "https://other.example", audience = AUDIENCE, alg = "ES256", jwks = set(other) } })
    local header = { alg = "ES256", kid = "1" }
    assert.equal(200, ask(tokens.make(es, claims(), header)).status)
    assert.equal(200, ask(tokens.make(other, claims { iss = "https://other.example" }, header)).status)
    refused("the signature is not right", tokens.make(other, claims(), header))
    refused("the signature is not right", tokens.make(es, claims { iss = "https://other.example" }, header))
    refused("its key is unknown (kid)", tokens.make(es, claims(), { alg = "ES256", kid = "2" }))
    assert.equal(200, ask(tokens.make(es, claims(), { alg = "ES256" })).status) -- there is one only
  end)

  local URL = "https://id.example/jwks"
  local function jwk(key, kid, changes)
    local out = { kid = kid, use = "sig", alg = key.alg }
    for name, value in pairs(key.jwk) do out[name] = value end
    for name, value in pairs(changes or {}) do out[name] = value end
    return out
  end

  it("has keys behind a URL, fetched aside, again when they change, and not more often", function()
    local answer = { json = { keys = { jwk(es, "a"), jwk(rs, "b"), jwk(es, "c", { use = "enc" }),
      { kty = "OKP" }, 7 } } }
    start({ { issuer = ISSUER, audience = AUDIENCE, alg = "ES256", jwks = URL } },
      { http = { [URL] = function() return answer end } })
    local function token(key, kid)
      return tokens.make(key, claims { exp = NOW + 86400 }, { alg = "ES256", kid = kid })
    end
    assert.equal(200, ask(token(es, "a")).status)
    assert.equal(1, #t:requests())
    refused("its key is unknown (kid)", token(es, "b"))
    refused("its key is unknown (kid)", token(es, "c"))
    for _ = 1, 50 do ask(token(es, "guess" .. math.random(1e9))) end
    assert.equal(1, #t:requests())
    -- a new key: asked for once it may be
    local new = tokens.ec()
    answer = { json = { keys = { jwk(es, "a"), jwk(new, "n") } },
      headers = { ["Cache-Control"] = "public, max-age=600" } }
    t:advance(31)
    assert.equal(200, ask(token(new, "n")).status)
    assert.equal(2, #t:requests())
    -- an old one goes with the next fetch
    answer = { json = { keys = { jwk(new, "n") } } }
    t:advance(601)
    assert.equal(3, #t:requests())
    refused("its key is unknown (kid)", token(es, "a"))
    -- an issuer that is away changes nothing for a day
    answer = { status = 500 }
    t:advance(3700)
    assert.is_true(#t:requests() > 3 and #t:requests() < 20, #t:requests())
    assert.equal(200, ask(token(new, "n")).status)
    assert.truthy(table.concat(t:log("warn"), "\n"):find("were not fetched: status 500", 1, true))
  end)

  it("waits for the first keys, and is told to come back when there are none", function()
    local answer = { status = 404 }
    start({ { issuer = ISSUER, audience = AUDIENCE, alg = "ES256", jwks = URL } },
      { http = { [URL] = function() return answer end } })
    local token = tokens.make(es, claims(), { alg = "ES256", kid = "a" })
    local late = ask(token)
    assert.same({ 503, "5" }, { late.status, late.headers["Retry-After"] })
    local c = t:connect("/s", { headers = { Authorization = "Bearer " .. token } })
    assert.equal("overload", c:wait_for("bye", 0).data.reason)
    for _, bad in ipairs({ { body = "{" }, { body = "[]" }, { json = { keys = {} } },
      { json = { keys = { jwk(rs, "a") } } },
      { json = { keys = { jwk(es, "a"), jwk(es, "a") } } }, { body = ("x"):rep(70000) } }) do
      answer = bad
      t:advance(61)
      assert.equal(503, ask(token).status)
    end
    answer = { json = { keys = { jwk(es, "a") } } }
    t:advance(61)
    assert.equal(200, ask(token).status)
    assert(t:reload())
    assert.equal(200, ask(token).status)
  end)

  it("has keys in a file, which is read again when it changes", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    local path = folder .. "/jwks.json"
    local function write(...) process.write_file(path, json.encode({ keys = { ... } })) end
    write(jwk(es, "a"))
    start({ { issuer = ISSUER, audience = AUDIENCE, alg = "ES256", jwks = path } })
    local new = tokens.ec()
    local function status(key, kid) return ask(tokens.make(key, claims(), { alg = "ES256", kid = kid })).status end
    assert.same({ 200, 401 }, { status(es, "a"), status(new, "b") })
    write(jwk(new, "b"))
    t:advance(1)
    assert.same({ 401, 200 }, { status(es, "a"), status(new, "b") })
    process.write_file(path, "{")
    t:advance(1)
    assert.equal(200, status(new, "b"))
    assert.truthy(table.concat(t:log("error"), "\n"):find("the keys of " .. path .. " stay as they were", 1, true))
    os.remove(path)
    t:advance(5)
    assert.same({ 200, 2 }, { status(new, "b"), #t:log("error") })
  end)

  it("has keys that are strong, or the app does not load", function()
    local weak = tokens.rsa(1024)
    local entry = { issuer = ISSUER, audience = AUDIENCE, alg = "RS256", key = rs.pem }
    local function with(changes)
      local out = {}
      for name, value in pairs(entry) do out[name] = value end
      for name, value in pairs(changes) do out[name] = value ~= "" and value or nil end
      return out
    end
    for message, changes in pairs({
      ["jwt[1]: key: an RSA key has at least 2048 bits"] = { key = weak.pem },
      ["jwt[1]: key: a secret for HS256 has at least 32 bytes, not 5"] = { alg = "HS256", key = "short" },
      ["jwt[1]: key: that is a key for RS256 or ES256; HS256 has a secret"] = { alg = "HS256" },
      ["jwt[1]: key: it is no key of an elliptic curve"] = { alg = "ES256" },
      ['jwt[1]: alg is "HS256", "RS256" or "ES256"'] = { alg = "none" },
      ["jwt[1]: issuer is missing: the iss of its tokens"] = { issuer = "" },
      ["jwt[1]: audience is missing: whom the tokens are for, as in their aud"] = { audience = "" },
      ["jwt[1]: key or jwks, one of them"] = { key = "" },
      ["jwt[1]: jwks: https, or http on this machine: whoever can change the keys is every user"] =
        { key = "", jwks = "http://id.example/jwks" },
      ["jwt[1]: jwks: it has no key for RS256"] = { key = "", jwks = { keys = { es.jwk } } },
      ["jwt[1]: leeway is a number of seconds up to 60"] = { leeway = 61 },
      ["unknown option 'algorithm'"] = { algorithm = "RS256" },
    }) do
      local ok, problem = pcall(start, { with(changes) })
      assert.is_false(ok, message)
      assert.truthy(tostring(problem):find(message, 1, true), message .. "\n" .. tostring(problem))
      assert.truthy(tostring(problem):find("app.lua:4", 1, true), tostring(problem))
    end
  end)
end)
