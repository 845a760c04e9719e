--- The checks of `sluice doctor`, in their order. Each gets what is known and returns a verdict,
--- "ok", "fault", "note" or "skip", a text, and for a fault the name of its remedies. Keeps nothing
--- in memory.
local core = require("sluice.core")
local json = require("sluice.json")
local moved = require("sluice.command.moved")
local probe = require("sluice.command.doctor.probe")
local remote = require("sluice.command.remote")
local trust = require("sluice.command.trust")

local checks = {}

local FIRST_SECONDS, LATE_SECONDS = 4, 1 -- a plan may be late by two seconds; then it is told
local HEARTBEAT, SLACK = 15, 5
local REDIRECTS_MAX = 5
local FORGED = "203.0.113.7" -- of a network that nobody has (RFC 5737)

local function ms(seconds) return ("%.0f ms"):format(seconds * 1000) end

local function fields_of(event)
  local data = event and json.decode(event.data)
  return type(data) == "table" and data or {}
end

-- ---- The stream itself -------------------------------------------------------------------

local REFUSED = {
  [401] = "the server asks who you are: give --header 'Authorization: …' or a cookie",
  [403] = "this reader may not read it: give --header with a key or a cookie that may",
  [404] = "there is no such stream: sluice routes lists what is served",
  [405] = "it is no stream that is opened by GET",
  [421] = "the server does not answer to this name: start it with --allow-host",
}

-- Whether a HEAD of the stream is answered, when nothing of it comes.
local function answers_head(ctx)
  local answer = probe.request(ctx, { url = ctx.url, method = "HEAD" })
  return answer and answer.status == 200
    and core.media_type(answer.headers["content-type"] or "") == "text/event-stream"
end

local function no_answer(ctx, s)
  if s.code ~= "ETIMEOUT" then return "fault", trust.explain(s.message) end
  if answers_head(ctx) then
    return "fault", ("the server says that it is a stream, and then nothing of it comes within "
      .. "%d s: something holds it back"):format(FIRST_SECONDS), "buffering"
  end
  return "fault", ("no answer within %d s: the server does not answer, or something holds it back")
    :format(FIRST_SECONDS), "buffering"
end

local function is_cached(s)
  local age, hit = s.headers.age, (s.headers["x-cache"] or ""):lower()
  return s.headers["content-length"] ~= nil or age ~= nil and age ~= "0" or hit:find("hit")
end

-- The stream, where redirects lead to: what is looked at from there on.
local function open(ctx)
  local s = probe.open(ctx)
  for _ = 1, REDIRECTS_MAX do
    local to = s.answer and moved.to(ctx.url, s)
    if not to then break end
    s:close()
    ctx.url, ctx.moved = to, "; moved to " .. to
    s = probe.open(ctx)
  end
  ctx.stream = s
  return s
end

--- Opens the stream that the next checks look at.
function checks.stream(ctx)
  local s = open(ctx)
  if not s.answer then return no_answer(ctx, s) end
  if not s.is_stream then
    local text = s:text():match("^%s*(.-)%s*$"):sub(1, 200)
    return "fault", ("%s: %s"):format(s.status == 200 and "no event stream, but "
      .. (s.type or "an answer without a type") or "status " .. s.status,
      REFUSED[s.status] or text), s.status >= 502 and "restart" or nil
  end
  if is_cached(s) then
    return "fault", "the answer comes from a cache, or has a length", "cache"
  end
  return "ok", ("200 text/event-stream, after %s%s%s"):format(ms(s.seconds), ctx.proxy_text(s),
    ctx.moved or "")
end

--- Whether the first event comes at once.
function checks.buffering(ctx)
  local s = ctx.stream
  local event = s:wait_for(nil, FIRST_SECONDS)
  ctx.first = event
  if not event then
    if s.ended then return "fault", "the stream ends without an event: " .. (s.problem or "") end
    return s.last and "note" or "fault", s.last
      and "comments come, and no event: this is no Sluice, or it has nothing to say"
      or ("nothing comes within %d s behind the head: something holds it back, or the server has "
        .. "nothing to say"):format(FIRST_SECONDS), not s.last and "buffering" or nil
  end
  ctx.hello = event.event == "hello" and fields_of(event) or {}
  ctx.is_sluice = ctx.hello.client ~= nil and ctx.hello.epoch ~= nil
  if event.event == "bye" then
    return "fault", ("the server ends it at once: bye %s"):format(tostring(fields_of(event).reason))
  end
  if ctx.is_sluice then s:wait_for("sync", LATE_SECONDS) end -- in vain it would end the stream
  local took = core.now() - s.began
  return "ok", ("the first event comes %s after the request"):format(ms(took < LATE_SECONDS and took
    or s.last - s.began))
end

--- The same, compressed.
function checks.compression(ctx)
  local s = probe.open(ctx, { compress = true })
  local coding = s.headers and s.headers["content-encoding"]
  local event = s.is_stream and s:wait_for(nil, FIRST_SECONDS)
  s:close()
  if event and ctx.is_sluice and fields_of(event).client == ctx.hello.client then
    return "fault", "two requests got the same stream: it comes from a cache", "cache"
  end
  if event then
    return "ok", coding and ("%s, and each event comes at once"):format(coding)
      or "streams are not compressed, also where that is asked for"
  end
  if s.headers and not coding then
    return ctx.first and "fault" or "note", ("where gzip is asked for no event comes within %d s, "
      .. "and the answer is not compressed: it is not gzip that holds it back"):format(
      FIRST_SECONDS), ctx.first and "buffering" or nil
  end
  return "fault", ("where %s is asked for nothing comes within %d s: what compresses holds it "
    .. "back"):format(coding or "gzip", FIRST_SECONDS), "compression"
end

-- Wait until the stream has been silent for so long and goes on, is cut, or the time is over: what
-- came last, and the silence before it.
local function silence(s, wanted, most)
  local till, there, seconds = core.now() + most
  repeat there, seconds = s:wait_bytes(math.max(0.01, till - core.now()))
  until not there or seconds >= wanted
  return there, seconds
end

--- Whether a silent stream stays open, and heartbeats come.
function checks.idle(ctx)
  if ctx.stream.is_late then ctx.stream = probe.open(ctx) end -- somebody has waited in vain
  local s = ctx.stream
  if not s.is_stream then return "note", "not known: it cannot be opened again" end
  local heartbeat = tonumber(ctx.hello and ctx.hello.heartbeat)
  local most = math.min((heartbeat or HEARTBEAT) + SLACK, ctx.seconds)
  local there, seconds = silence(s, (heartbeat or HEARTBEAT) * 0.8, most)
  if there == nil and not s.bye then
    return "fault", ("a stream that is silent is cut after %.1f s%s"):format(seconds,
      heartbeat and (" (heartbeats come every %g s)"):format(heartbeat) or ""), "idle"
  elseif there == nil then
    return "note", "the server ended the stream itself: " .. tostring(fields_of(s.bye).reason)
  elseif there then
    return "ok", ("after %.1f s of silence the stream goes on"):format(seconds)
  elseif s.last and core.now() - s.last < most - 1 then
    return "note", ("events came all the time: silence was not watched for longer than %.1f s")
      :format(core.now() - s.last)
  elseif heartbeat and most >= heartbeat + SLACK then
    return "fault", ("no heartbeat came in %.0f s, though there is one every %g s: they are held "
      .. "back"):format(seconds, heartbeat), "buffering"
  end
  return "note", ("nothing came for %.0f s, and the stream stayed open"):format(seconds)
end

-- ---- What the way there does -----------------------------------------------------------------

-- A word for a shell.
local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- The version of HTTP that a browser would get.
function checks.version(ctx)
  if ctx.url:find("^http:") then
    return "note", "without TLS a browser uses HTTP/1.1, and opens six connections to a host in "
      .. "all its tabs: have one stream with several channels"
  end
  local file = trust.file()
  local trusted = ctx.insecure and "-k " or file and "--cacert " .. quote(file) .. " "
  local pipe = io.popen(("curl -sI %s-o /dev/null --http2 --max-time 5 -w '%%{http_version}' %s "
    .. "2>/dev/null"):format(trusted or "", quote(ctx.url)))
  local version = pipe and pipe:read("a") or ""
  if pipe then pipe:close() end
  if version == "2" or version == "3" then return "ok", "HTTP/" .. version end
  if version == "1.1" then
    return "note", "HTTP/1.1: a browser opens six connections to a host in all its tabs: let the "
      .. "proxy speak HTTP/2, or have one stream with several channels"
  end
  return "skip", "not known: there is no curl here that says it"
end

--- Whether a page of another origin may read it.
function checks.cors(ctx)
  if not ctx.origin then return "skip", "not looked at: --origin https://the.page" end
  local s = probe.open(ctx, { fields = { origin = ctx.origin } })
  s:close()
  local headers = s.headers or {}
  local allowed, with = headers["access-control-allow-origin"],
    headers["access-control-allow-credentials"]
  if allowed == ctx.origin then
    return "ok", ("%s may read it%s"):format(ctx.origin, with == "true" and ", with its cookies"
      or "; not with cookies (withCredentials)")
  elseif allowed == "*" then
    return "ok", "any page may read it, without cookies"
  end
  return "fault", ("a page of %s may not read it: %s"):format(ctx.origin, allowed
    and "Access-Control-Allow-Origin is " .. allowed or "there is no Access-Control-Allow-Origin"),
    "cors"
end

-- Whether a stream that comes back with that id is resumed.
local function resumes(ctx, o, url)
  local s = probe.open({ url = url or ctx.url, fields = ctx.fields, insecure = ctx.insecure,
    later = ctx.later }, o)
  local hello = s.is_stream and fields_of(s:wait_for("hello", FIRST_SECONDS)) or {}
  s:close()
  return hello.resumed == true
end

--- Whether Last-Event-ID arrives.
function checks.resume(ctx)
  local id = ctx.stream:last_id()
  if not ctx.is_sluice then return "skip", "not known: this is no Sluice" end
  if id == "" then return "skip", "not known: the stream has no id yet" end
  if resumes(ctx, { fields = { ["last-event-id"] = id } }) then
    return "ok", "a reader that comes back goes on where it was"
  end
  local sign = ctx.url:find("?", 1, true) and "&" or "?"
  if resumes(ctx, nil, ctx.url .. sign .. "lastEventId=" .. id) then
    return "fault", "the header Last-Event-ID does not arrive: each cut loses events", "resume"
  end
  return "note", "this stream does not resume: its channels have no history, or are states"
end

-- What a POST of a page of that origin is answered. No route has that path.
local function post(ctx, origin)
  local url = ctx.url:gsub("[?#].*", ""):gsub("/+$", "") .. "/sluice-doctor-" .. core.id():sub(1, 8)
  local answer = probe.request(ctx, { url = url, method = "POST", headers = { origin = origin } })
  return answer ~= nil and answer.status == 403
    and answer.body:find("another site", 1, true) ~= nil
end

--- Whether the server learns the name and port by which it was asked.
function checks.host(ctx)
  if not ctx.is_sluice then return "skip", "not known: this is no Sluice" end
  local own = ctx.url:match("^https?://[^/?#]+"):gsub("//[^/]*@", "//"):lower()
  local default = own:gsub("^(http:.*):80$", "%1"):gsub("^(https:.*):443$", "%1")
  if not post(ctx, "https://another.invalid") then
    return "note", "not known: a POST of another site is not refused here"
  end
  if post(ctx, default) then
    return "fault", "a page's own POST is refused as another site's: the Host does not arrive with "
      .. "its port", "host"
  end
  return "ok", "the Host arrives as the page sends it"
end

-- ---- What only the server knows ----------------------------------------------------------------

local function client_of(ctx, id)
  local found = remote.ask(ctx.place, "GET", "/-/client?id=" .. id)
  return found and found.ip and found or nil
end

--- Whether a reader chooses the address that the server takes for his.
function checks.address(ctx)
  if not ctx.is_sluice then return "skip", "not known: this is no Sluice" end
  if not (ctx.place.port or ctx.place.socket) then
    return "skip", "not looked at: on the server's machine --port or --socket asks it"
  end
  local s = probe.open(ctx, { fields = { ["x-forwarded-for"] = FORGED,
    forwarded = "for=" .. FORGED, ["x-real-ip"] = FORGED } })
  local hello = s.is_stream and fields_of(s:wait_for("hello", FIRST_SECONDS)) or {}
  local client = hello.client and client_of(ctx, hello.client)
  s:close()
  if not client then return "skip", "not known: the server there does not know this stream" end
  if client.ip == FORGED then
    return "fault", "whoever asks chooses the address that the server takes for his: limits by "
      .. "address, and the log, are worth nothing", "address"
  elseif not client.trustProxy and ctx.proxy then
    return "fault", ("the server takes %s for the address of everybody: it does not trust the "
      .. "proxy in front"):format(client.ip), "trust"
  end
  return "ok", ("the server takes %s for this reader, whatever he says himself"):format(client.ip)
end

return checks
