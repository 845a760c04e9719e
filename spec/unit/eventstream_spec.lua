-- The parser against the grammar and the interpretation of HTML section 9.2.6. Every vector
-- is fed whole, byte by byte, and cut in two at every place.
local eventstream = require("sluice.eventstream")

local function feed_all(parser, pieces)
  local all = {}
  for _, piece in ipairs(pieces) do
    for _, event in ipairs(parser:feed(piece)) do all[#all + 1] = event end
  end
  return all
end

-- Parse the text in every way it can arrive; all must agree with the first.
local function parse(text)
  local whole_parser = eventstream.new()
  local whole = feed_all(whole_parser, { text })
  local bytes = {}
  for i = 1, #text do bytes[i] = text:sub(i, i) end
  assert.same(whole, feed_all(eventstream.new(), bytes))
  for i = 1, #text - 1 do
    local parser = eventstream.new()
    assert.same(whole, feed_all(parser, { text:sub(1, i), "", text:sub(i + 1) }))
    assert.equal(whole_parser.last_id, parser.last_id)
    assert.equal(whole_parser.retry, parser.retry)
  end
  return whole, whole_parser
end

local function datas(text)
  local list = {}
  for i, event in ipairs((parse(text))) do list[i] = event.data end
  return list
end

describe("eventstream", function()
  it("hands out an event with its name, data and id", function()
    assert.same({ { event = "alert", data = "hot", id = "k3f9-1" } },
      (parse("event: alert\nid: k3f9-1\ndata: hot\n\n")))
  end)

  it("goes on from the id of the stream before", function()
    local parser = eventstream.new({ last_id = "a-7" })
    assert.equal("a-7", parser.last_id)
    assert.same({ { event = "message", data = "x", id = "a-7" } }, feed_all(parser, { "data: x\n\n" }))
    parser:feed("id\ndata: y\n\n")
    assert.equal("", parser.last_id)
  end)

  it("names an event without a name message", function()
    assert.equal("message", parse("data: a\n\n")[1].event)
    assert.equal("message", parse("event:\ndata: a\n\n")[1].event)
  end)

  it("forgets the name of an event with the event", function()
    local events = parse("event: alert\ndata: a\n\ndata: b\n\n")
    assert.equal("message", events[2].event)
  end)

  it("joins data lines with LF", function()
    assert.same({ "a\nb\n\nc" }, datas("data: a\ndata: b\ndata\ndata:c\n\n"))
  end)

  it("ends lines at LF, CR and CRLF, mixed", function()
    assert.same({ "a\nb\nc", "d" }, datas("data: a\rdata: b\r\ndata: c\n\r\ndata: d\r\r"))
    assert.same({ "a", "b" }, datas("data: a\r\n\r\ndata: b\r\n\r\n"))
  end)

  it("hands out an event at the CR that ends it, without waiting for an LF", function()
    local parser = eventstream.new()
    assert.equal("a", parser:feed("data: a\r\r")[1].data)
    assert.same({}, parser:feed("\n"))
    assert.equal("b", parser:feed("data: b\n\n")[1].data)
  end)

  it("strips one byte order mark and no second", function()
    assert.same({ "a" }, datas("\xEF\xBB\xBFdata: a\n\n"))
    assert.same({}, datas("\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\n"))
    assert.same({ "b" }, datas("data: b\n\n\xEF\xBB\xBFdata: a\n\n"))
  end)

  it("takes a line that begins like a byte order mark as a line", function()
    assert.same({ "a" }, datas("\xEF\xBB\ndata: a\n\n"))
  end)

  it("removes one blank after the colon, not two, and no tab", function()
    assert.same({ "a", " a", "\ta", "a:b" },
      datas("data:a\n\ndata:  a\n\ndata:\ta\n\ndata: a:b\n\n"))
  end)

  it("ignores comments and fields it does not know", function()
    assert.same({ "a" }, datas(":ok\n:\n: data: x\nData: b\ndata : c\n data: d\nfoo\ndata: a\n\n"))
  end)

  it("hands out an event with empty data, and none without a data line", function()
    assert.same({ "" }, datas("data\n\nevent: a\n\nid: 3\n\n\n\n"))
    assert.same({ "\n" }, datas("data\ndata\n\n"))
  end)

  it("never hands out a block without its blank line", function()
    local events, parser = parse("data: a\n\nid: 9\ndata: b\n")
    assert.equal(1, #events)
    assert.equal("", parser.last_id)
  end)

  describe("id", function()
    it("stays for the events that follow, until it is set again", function()
      local events = parse("id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n")
      assert.same({ "1", "1", "" }, { events[1].id, events[2].id, events[3].id })
    end)

    it("is kept from a block without data", function()
      local events, parser = parse("id: 5\n\ndata: a\n\n")
      assert.equal("5", events[1].id)
      assert.equal("5", parser.last_id)
    end)

    it("is ignored when it holds NUL", function()
      local events = parse("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n")
      assert.equal("1", events[2].id)
    end)

    it("keeps the last of two in one block", function()
      assert.equal("2", parse("id: 1\nid: 2\ndata: a\n\n")[1].id)
    end)
  end)

  describe("retry", function()
    it("is taken from ASCII digits only", function()
      for _, bad in ipairs({ "", "-1", "1.5", "1e3", "0x10", " 5", "5 ", "٣" }) do
        local events, parser = parse("retry: " .. bad .. "\ndata: a\n\n")
        assert.is_nil(events[1].retry)
        assert.is_nil(parser.retry)
      end
      assert.equal(250, parse("retry: 0250\ndata: a\n\n")[1].retry)
    end)

    it("counts also without an event and stays with the parser", function()
      local events, parser = parse("retry: 1500\n\ndata: a\n\n")
      assert.equal(1500, parser.retry)
      assert.is_nil(events[1].retry)
    end)

    it("stays an integer however many digits come", function()
      local _, parser = parse("retry: " .. ("9"):rep(400) .. "\n")
      assert.equal("integer", math.type(parser.retry))
    end)
  end)

  describe("limits", function()
    it("ends at a line that is too long, also before its end came", function()
      local parser = eventstream.new({ line_max = 8 })
      local events, message, code = parser:feed("data: a\n\ndata: 12345678")
      assert.equal("a", events[1].data)
      assert.equal("a line has more than 8 bytes", message)
      assert.equal("ETOOBIG", code)
      assert.same({}, (parser:feed("\n\ndata: b\n\n")))
      assert.equal("ETOOBIG", select(3, parser:feed("x")))
    end)

    it("ends at a whole line that is too long", function()
      assert.equal("ETOOBIG", select(3, eventstream.new({ line_max = 8 }):feed("data: 123\n")))
      assert.is_nil(select(3, eventstream.new({ line_max = 8 }):feed("data: 12\n")))
    end)

    it("ends at an event with too much data", function()
      local parser = eventstream.new({ event_max = 6 })
      assert.same({}, (parser:feed("data: abc\n")))
      local _, message, code = parser:feed("data: abc\n")
      assert.equal("an event has more than 6 bytes of data", message)
      assert.equal("ETOOBIG", code)
    end)

    it("counts the data of one event, not of all", function()
      local parser = eventstream.new({ event_max = 6 })
      for _ = 1, 10 do assert.equal(1, #parser:feed("data: abcd\n\n")) end
    end)

    it("refuses an option it does not know", function()
      assert.has_error(function() eventstream.new({ line_mx = 1 }) end,
        "eventstream.new: unknown option 'line_mx', did you mean 'line_max'? "
        .. "(known: event_max, last_id, line_max, own_ids)")
    end)
  end)

  it("reads random streams alike however they are cut", function()
    local atoms = { "data", "event", "id", "retry", ":", " ", "a", "7", "\n", "\n", "\r", "\r\n",
      "\0", "é", "\xEF\xBB\xBF" }
    math.randomseed(20240)
    for _ = 1, 300 do
      local parts = {}
      for i = 1, math.random(1, 24) do parts[i] = atoms[math.random(#atoms)] end
      parse(table.concat(parts))
    end
  end)
end)
