--- An event-stream client for specs, written after the HTML standard and apart from the
--- product's own parser. Chunked framing is checked strictly: a broken chunk raises.
---
---   local c = sse.connect(port, "/api/x", { headers = {}, last_event_id = "..", rcvbuf = n })
---   c.status, c.headers; c:next_event(2) -> { event, id, data, retry, comment } | nil, reason
--- Reasons: "timeout", "closed" (FIN or RST without the last chunk), "end" (last chunk came).
--- `id` is nil when the block had no id line; c.last_id is what a browser would send back.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local wire = require("spec.support.wire")

local sse = {}

local Client = {}
Client.__index = Client

local function request_text(port, path, options)
  local headers = { Accept = "text/event-stream", ["Last-Event-ID"] = options.last_event_id }
  for name, value in pairs(options.headers or {}) do headers[name] = value end
  return http.request_text(options.method or "GET", path, headers, options.body, "127.0.0.1:" .. port)
end

--- Connect and read the head. With options.wait == false the head is left for c:read_head().
function sse.connect(port, path, options)
  options = options or {}
  local w = assert(wire.connect(port, options))
  local self = setmetatable({ wire = w, text = "", events = {}, comments = {}, pending_comments = {},
    block = { data = {}, event = "" }, chunks = 0, seen = 0,
    last_id = options.last_event_id or "" }, Client)
  assert(w:send(options.request or request_text(port, path, options)))
  if options.wait ~= false then assert(self:read_head(options.timeout)) end
  return self
end

--- Read the head (and the whole body, when it is not a stream). self, or nil, reason.
function Client:read_head(seconds)
  local left = deadline.after(seconds or 5)
  local head, err = self.wire:read_until("\r\n\r\n", left)
  if not head then return nil, err end
  for name, value in pairs(http.parse_head(head)) do self[name] = value end
  self.chunked = self.headers["transfer-encoding"] == "chunked"
  self.is_stream = (self.headers["content-type"] or ""):find("^text/event%-stream") ~= nil
  if not self.is_stream and self.status ~= 204 then
    local n = tonumber(self.headers["content-length"])
    self.body = n and self.wire:read(n, left) or self.wire:drain(left())
  end
  return self
end

--- Move one more piece of body into self.text: true, or nil, reason.
function Client:more(left)
  if self.ended then return nil, self.ended end
  local piece, err
  if self.chunked then
    piece, err = self:next_chunk(left)
  elseif #self.wire.buffer > 0 or self.wire:fill(left()) then
    piece = self.wire:take(#self.wire.buffer)
  else
    err = self.wire.ended and "closed" or "timeout"
  end
  if not piece then
    if err ~= "timeout" then self.ended = err end
    return nil, err
  end
  self.text = self.text .. piece
  return true
end

function Client:next_chunk(left)
  local piece, err = http.read_chunk(self.wire, left)
  if not piece then return nil, err end
  if piece == "" then return nil, "end" end
  self.chunks = self.chunks + 1
  return piece
end

-- The sync that ends its opening is no news: who waits for one waits for what comes later.
local function is_opened(self, block)
  if block.event == "hello" then self.opening = not table.concat(block.data):find('"channels":0', 1, true) end
  local opened = block.event == "sync" and self.opening
  if opened then self.opening = false end
  return opened
end

local function finish_block(self, block)
  if #block.data == 0 or is_opened(self, block) then return end
  local comment = #self.pending_comments > 0 and table.concat(self.pending_comments, "\n") or nil
  self.pending_comments = {}
  self.seen = self.seen + 1
  self.events[#self.events + 1] = {
    event = block.event ~= "" and block.event or "message",
    data = table.concat(block.data, "\n"),
    id = block.id, retry = block.retry, comment = comment, last_id = self.last_id, chunk = self.chunks,
  }
end

local function on_field(self, block, name, value)
  if name == "data" then
    block.data[#block.data + 1] = value
  elseif name == "event" then
    block.event = value
  elseif name == "id" and not value:find("\0", 1, true) then
    block.id, self.last_id = value, value
  elseif name == "retry" and value:find("^%d+$") then
    block.retry, self.retry = tonumber(value), tonumber(value)
  end
end

local function on_line(self, line)
  local block = self.block
  if line == "" then
    self.block = { data = {}, event = "" }
    return finish_block(self, block)
  end
  local colon = line:find(":", 1, true)
  if colon == 1 then
    local text = line:sub(2)
    self.comments[#self.comments + 1] = text
    self.pending_comments[#self.pending_comments + 1] = text
    return
  end
  local name, value = line, ""
  if colon then name, value = line:sub(1, colon - 1), line:sub(colon + 1) end
  on_field(self, block, name, (value:gsub("^ ", "")))
end

--- Parse all complete lines of self.text. CR, LF and CRLF end a line; a CR at the very end
--- ends one too, and an LF that follows it later is then skipped.
function Client:parse()
  if not self.started and #self.text >= 3 then
    self.text, self.started = self.text:gsub("^\xEF\xBB\xBF", ""), true
  end
  local text, from = self.text, 1
  if self.skip_lf and #text > 0 then
    if text:byte() == 10 then from = 2 end
    self.skip_lf = false
  end
  while true do
    local at = text:find("[\r\n]", from)
    if not at then break end
    on_line(self, text:sub(from, at - 1))
    from = at + 1
    if text:byte(at) == 13 then
      if at == #text then self.skip_lf = true elseif text:byte(from) == 10 then from = from + 1 end
    end
  end
  self.text = text:sub(from)
end

local function pump(self, list, left)
  while #list == 0 do
    local ok, err = self:more(left)
    if not ok then return nil, err end
    self:parse()
  end
  return table.remove(list, 1)
end

function Client:next_event(seconds)
  return pump(self, self.events, deadline.after(seconds or 5))
end

--- The next comment line's text (":" alone is "", the heartbeat), or nil, reason. Events that
--- come meanwhile are kept.
function Client:next_comment(seconds)
  return pump(self, self.comments, deadline.after(seconds or 5))
end

--- Skip to the next event of that name (and, with `check`, one it says yes to); nil and a
--- sentence that lists what came instead.
function Client:wait_for(name, seconds, check)
  local left = deadline.after(seconds or 5)
  local skipped = {}
  while true do
    local event, err = pump(self, self.events, left)
    if not event then
      local came = #skipped > 0 and table.concat(skipped, " ") or "nothing"
      return nil, ("no %s event: %s; came: %s"):format(name, err, came)
    end
    if event.event == name and (not check or check(event)) then return event end
    skipped[#skipped + 1] = event.event
  end
end

--- The next n events; raises when they do not come in time.
function Client:collect(n, seconds)
  local left = deadline.after(seconds or 5)
  local list = {}
  for i = 1, n do
    local event, err = pump(self, self.events, left)
    if not event then error(("%d of %d events: %s"):format(i - 1, n, err), 2) end
    list[i] = event
  end
  return list
end

--- The body's text of the next `seconds` (chunk framing taken off), not parsed.
function Client:body_text(seconds)
  local left = deadline.after(seconds)
  repeat local ok = self:more(left) until not ok
  local text = self.text
  self.text = ""
  return text
end

--- The bytes on the wire of the next `seconds`, framing and all.
function Client:raw(seconds) return self.wire:listen(seconds) end

--- Read on until the stream is over: "end" or "closed", or nil, "timeout". Events are kept.
function Client:wait_end(seconds)
  local left = deadline.after(seconds or 5)
  while true do
    local ok, err = self:more(left)
    if ok then self:parse() elseif err == "timeout" then return nil, err else return err end
  end
end

function Client:close() self.wire:close() end
function Client:reset() self.wire:reset() end

return sse
