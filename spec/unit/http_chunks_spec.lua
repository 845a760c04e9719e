--- csrc/net/http_chunks.c: every row of the table that a chunked body decides, whole and cut
--- at each of its first 256 bytes, and the limits.
local http = require("sluice.core.testing_http")
local rows = require("spec.wire.http_vectors")

local BODY_MAX = 65536

local function answer(text, max, cut, step)
  local body, used, rest = http.chunks(text, max, cut, step)
  if body then return ("%d:%s"):format(used, body) end
  return ("refused %d:%s"):format(used, rest)
end

describe("http_chunks, on the table of nasty inputs,", function()
  for _, row in ipairs(rows) do
    if row.input:find("\r\nTransfer%-Encoding: chunked\r\n\r\n") and (row.by == "body" or row.status == 200) then
      local text = row.input:match("\r\n\r\n(.*)$")
      it("answers " .. row.status .. " to " .. row.id .. ", however it is cut", function()
        local body, status = http.chunks(text, BODY_MAX)
        if row.status == 200 then
          assert.equal(row.n, #body)
          assert.equal(#text, status)
        else
          assert.is_nil(body)
          assert.equal(row.status, status)
        end
        local whole = answer(text, BODY_MAX)
        for cut = 1, math.min(256, #text) do
          assert.equal(whole, answer(text, BODY_MAX, cut), row.id .. " cut at " .. cut)
        end
        assert.equal(whole, answer(text, BODY_MAX, 1, 1), row.id .. " byte by byte")
      end)
    end
  end
end)

describe("http_chunks", function()
  it("joins the chunks and stops behind the last one", function()
    local body, used = http.chunks("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET / HTTP/1.1\r\n")
    assert.equal("abcde", body)
    assert.equal(#"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", used)
  end)

  it("asks for more until the end is whole", function()
    local text = "3;a\r\nabc\r\n0\r\nX: y\r\n\r\n"
    for n = 0, #text - 1 do
      local body, status = http.chunks(text:sub(1, n))
      assert.is_nil(body)
      assert.equal(0, status, "at " .. n)
    end
  end)

  it("lets every byte pass as data", function()
    local all = {}
    for byte = 0, 255 do all[#all + 1] = string.char(byte) end
    local data = table.concat(all)
    for step = 1, 40 do
      assert.equal(data, (http.chunks("100\r\n" .. data .. "\r\n0\r\n\r\n", nil, step, step)))
    end
  end)

  it("refuses a body over the limit as soon as a size says so", function()
    local _, status, data = http.chunks("3\r\nabc\r\n3\r\n", 5)
    assert.equal(413, status)
    assert.equal("abc", data)
    assert.equal("abcdef", (http.chunks("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", 6)))
    _, status = http.chunks("ffffffffffffffff;", 6)
    assert.equal(413, status)
    assert.equal("", (http.chunks("0\r\n\r\n", 0)))
    _, status = http.chunks("1\r", 0)
    assert.equal(413, status)
  end)

  it("takes sizes of sixteen digits", function()
    assert.equal("a", (http.chunks("0000000000000001\r\na\r\n0000000000000000\r\n\r\n")))
    local _, status = http.chunks("00000000000000001")
    assert.equal(400, status)
  end)

  it("bounds extensions and trailers together, not only each", function()
    local _, status = http.chunks(("1;" .. ("a"):rep(200) .. "\r\nx\r\n"):rep(82))
    assert.equal(400, status)
    _, status = http.chunks("0\r\n" .. ("A: b\r\n"):rep(683))
    assert.equal(431, status)
    assert.equal("", (http.chunks("0\r\n" .. ("A: b\r\n"):rep(682) .. "\r\n")))
  end)
end)
