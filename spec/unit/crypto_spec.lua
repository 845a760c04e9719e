--- csrc/crypto and lua/sluice/crypto.lua: the vectors of the RFCs, and what is refused.
local core = require("sluice.core")
local crypto = require("sluice.crypto")
local deadline = require("spec.support.deadline")

-- RFC 7515, appendix A: one payload, signed with each algorithm.
local PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
local HS = { kty = "oct",
  k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow" }
local RS = { kty = "RSA", e = "AQAB",
  n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2l"
    .. "ZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEM"
    .. "a2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2P"
    .. "AcDTW9gb54h4FRWyuXpoQ" }
local EC = { kty = "EC", crv = "P-256", x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
  y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" }
local SIGNED = {
  HS256 = { jwk = HS, head = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
    signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" },
  RS256 = { jwk = RS, head = "eyJhbGciOiJSUzI1NiJ9",
    signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9u"
      .. "JdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7"
      .. "K0GarZRmB_eSN9383LcOLn6_"
      .. "dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig"
      .. "cN_IoypGlUPQGe77Rw" },
  ES256 = { jwk = EC, head = "eyJhbGciOiJFUzI1NiJ9",
    signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q" },
}

local function bytes(hex)
  return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function with(jwk, changes)
  local copy = {}
  for name, value in pairs(jwk) do copy[name] = value end
  for name, value in pairs(changes) do copy[name] = value end
  return copy
end

local function refused(expected, alg, source)
  local key, message, code = crypto.key(alg, source)
  assert.is_nil(key)
  assert.same({ expected, "EINVAL" }, { message, code })
end

describe("crypto", function()
  it("computes SHA-256 and HMAC-SHA256 (RFC 6234, RFC 4231)", function()
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", crypto.hex(crypto.sha256("")))
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", crypto.hex(crypto.sha256("abc")))
    local long = ("\xaa"):rep(131)
    for _, row in ipairs({
      { ("\x0b"):rep(20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
      { "Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
      { ("\xaa"):rep(20), ("\xdd"):rep(50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
      { long, "Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
      { "", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad" },
    }) do
      assert.equal(row[3], crypto.hex(crypto.hmac_sha256(row[1], row[2])))
    end
  end)

  it("compares without a hint, and draws bytes", function()
    assert.is_true(crypto.equal("abc", "abc"))
    assert.is_true(crypto.equal("", ""))
    assert.is_false(crypto.equal("abc", "abd"))
    assert.is_false(crypto.equal("abc", "abcd"))
    assert.equal(0, #crypto.random(0))
    assert.equal(1000, #crypto.random(1000))
    assert.not_equal(crypto.random(16), crypto.random(16))
  end)

  it("writes base64url, and reads only what it writes (RFC 4648)", function()
    for n = 0, 300 do
      local text = crypto.random(n)
      local encoded = crypto.base64url(text)
      assert.is_nil(encoded:find("[^%w_-]"))
      assert.equal(text, crypto.from_base64url(encoded))
    end
    assert.equal("Zm9vYg", crypto.base64url("foob"))
    assert.equal("-_8", crypto.base64url("\xfb\xff"))
    for _, wrong in ipairs({ "Zm9vYg==", "Zm9vYh", "Z", "Zm9vY", "Zm 9", "Zm+v", "Zm/v", "Zm9v\n", "Zm\0v",
      "Zg\xff" }) do
      assert.is_nil(crypto.from_base64url(wrong), wrong)
    end
  end)

  it("checks the signatures of RFC 7515, and no other", function()
    for alg, row in pairs(SIGNED) do
      local key = assert(crypto.key(alg, row.jwk))
      local text, signature = row.head .. "." .. PAYLOAD, crypto.from_base64url(row.signature)
      assert.is_true(key:verify(text, signature), alg)
      assert.equal(alg, key.alg)
      for at = 1, #signature do
        local bit = 1 << math.random(0, 7)
        local wrong = signature:sub(1, at - 1) .. string.char(signature:byte(at) ~ bit) .. signature:sub(at + 1)
        assert.is_false(key:verify(text, wrong), alg)
      end
      for _, wrong in ipairs({ "", "\0", signature .. "\0", "\0" .. signature, signature:sub(1, -2),
        ("\0"):rep(#signature), ("\xff"):rep(#signature) }) do
        assert.is_false(key:verify(text, wrong), alg)
      end
      assert.is_false(key:verify(text .. "A", signature))
      assert.is_false(key:verify("", signature))
    end
  end)

  it("refuses zeros in an ECDSA signature", function()
    local key, text = assert(crypto.key("ES256", EC)), SIGNED.ES256.head .. "." .. PAYLOAD
    local signature = crypto.from_base64url(SIGNED.ES256.signature)
    assert.is_false(key:verify(text, ("\0"):rep(32) .. signature:sub(33)))
    assert.is_false(key:verify(text, signature:sub(1, 32) .. ("\0"):rep(32)))
    -- the order of the group, in place of r
    local order = bytes("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
    assert.is_false(key:verify(text, order .. signature:sub(33)))
  end)

  it("reads public keys as PEM", function()
    -- the P-256 key of RFC 7515, A.3
    local pem = "-----BEGIN PUBLIC KEY-----\n"
      .. "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
      .. "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END PUBLIC KEY-----\n"
    local key = assert(crypto.key("ES256", pem))
    local row = SIGNED.ES256
    assert.is_true(key:verify(row.head .. "." .. PAYLOAD, crypto.from_base64url(row.signature)))
    refused("it is no RSA key", "RS256", pem)
    refused("that is a key for RS256 or ES256; HS256 has a secret", "HS256", pem)
    refused("it cannot be read", "ES256", "")
    refused("it cannot be read", "ES256", pem:sub(1, 80))
    refused("it cannot be read", "RS256", ("x"):rep(1 << 20))
  end)

  it("refuses weak keys and those of another kind", function()
    refused("a secret for HS256 has at least 32 bytes, not 31", "HS256", ("s"):rep(31))
    assert(crypto.key("HS256", ("s"):rep(32)))
    refused('HS256 needs a key with kty "oct"', "HS256", RS)
    refused('RS256 needs a key with kty "RSA", not "EC"', "RS256", EC)
    refused('ES256 needs a key with kty "EC", not "nil"', "ES256", {})
    refused("the curve is not P-256", "ES256", with(EC, { crv = "secp256k1" }))
    refused("x and y are not both base64url", "ES256", with(EC, { y = 7 }))
    refused("n and e are not both base64url", "RS256", with(RS, { n = RS.n .. "=" }))
    refused("an RSA key has at least 2048 bits", "RS256", with(RS, { n = crypto.base64url(("\xc3"):rep(64)) }))
    refused("its numbers are too long", "RS256", with(RS, { n = crypto.base64url(("\xc3"):rep(1025)) }))
    for _, e in ipairs({ "\1", "\2", "", "\0" }) do
      local key = crypto.key("RS256", with(RS, { e = crypto.base64url(e) }))
      assert.is_nil(key)
    end
    -- a point that is not on the curve
    local y = crypto.from_base64url(EC.y)
    assert.is_nil((crypto.key("ES256", with(EC, { y = crypto.base64url(y:sub(1, 31) .. "\0") }))))
    refused("a coordinate of P-256 has 32 bytes", "ES256", with(EC, { x = crypto.base64url("\0" .. y) }))
    assert.has_error(function() crypto.key("none", "") end)
    assert.has_error(function() crypto.key("RS512", RS) end)
  end)

  it("computes scrypt (RFC 7914)", function()
    for _, row in ipairs({
      { "", "", 4, 1, 1, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442" },
      { "password", "NaCl", 10, 8, 16, "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162" },
      { "pleaseletmein", "SodiumChloride", 14, 8, 1,
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2" },
    }) do
      assert.equal(row[6], crypto.hex(core.scrypt(table.unpack(row, 1, 5))))
    end
  end)

  it("computes scrypt aside, a few at a time, and lets what is dropped go", function()
    local jobs = {}
    for i = 1, 2 do jobs[i] = assert(core.scrypt("pleaseletmein", "SodiumChloride", 14, 8, 16, true)) end
    assert.equal("EBUSY", select(3, core.scrypt("pleaseletmein", "SodiumChloride", 14, 8, 1, true)))
    local hash = deadline.eventually(function() return jobs[1]:result() end)
    assert.equal(hash, (core.scrypt("pleaseletmein", "SodiumChloride", 14, 8, 16)))
    jobs[2] = nil
    collectgarbage()
    deadline.eventually(function() return (core.scrypt("a", "b", 4, 1, 1, true)) end)
    for _, cost in ipairs({ { 20, 8, 1 }, { 0, 8, 1 }, { 14, 0, 1 }, { 14, 8, 0 }, { 14, 8, 17 }, { -1, 8, 1 },
      { 64, 8, 1 } }) do
      assert.equal("EINVAL", select(3, core.scrypt("a", "b", cost[1], cost[2], cost[3])))
    end
  end)

  it("hashes passwords, and knows them again", function()
    local hash = crypto.hash("correct horse")
    assert.matches("^scrypt:14:8:5:[%w_-]+:[%w_-]+$", hash)
    assert.is_true(crypto.verify("correct horse", hash))
    assert.is_false(crypto.verify("correct horsf", hash))
    assert.is_false(crypto.verify("correct horse", nil))
    assert.is_false(crypto.verify(nil, hash))
    assert.is_false(crypto.verify("", hash))
    assert.same({ "a password has at most 1024 bytes", "ETOOBIG" }, { select(2, crypto.hash(("x"):rep(1025))) })
    assert.is_false(crypto.verify(("x"):rep(1025), hash))
    for _, wrong in ipairs({ "", "scrypt", "correct horse", "scrypt:30:8:5:AAAA:AAAA", "scrypt:14:8:5:A:AAAA" }) do
      assert.equal("EINVAL", select(3, crypto.verify("x", wrong)), wrong)
    end
  end)

  it("knows keys by their SHA-256", function()
    local digest = crypto.hex(crypto.sha256("a long key"))
    assert.is_true(crypto.verify("a long key", digest))
    assert.is_true(crypto.verify("a long key", digest:upper()))
    assert.is_false(crypto.verify("another key", digest))
  end)

  it("says what an argument is not", function()
    for call, message in pairs({
      [function() crypto.sha256(nil) end] = "crypto.sha256(text): the text is a string, not a nil",
      [function() crypto.equal("a", 1) end] = "crypto.equal(a, b): the second is a string, not a number",
      [function() crypto.random(-1) end] = "crypto.random(n): n is an integer from 0 to 65536, not -1",
      [function() crypto.key("HS256", 7) end] =
        "crypto.key(alg, source): the source is a string or a JWK, not a number",
    }) do
      local ok, problem = pcall(call)
      assert.is_false(ok)
      assert.equal(message, problem:gsub("^[^ ]+:%d+: ", ""))
    end
  end)

  it("leaves nothing allocated", function()
    collectgarbage()
    local before = core.alive().memory
    for _ = 1, 50 do
      for alg, row in pairs(SIGNED) do
        crypto.key(alg, row.jwk):verify("x", ("\1"):rep(64))
        crypto.key("ES256", with(EC, { y = EC.x }))
        crypto.key("RS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
      end
    end
    collectgarbage()
    collectgarbage()
    assert.equal(before, core.alive().memory)
  end)
end)
