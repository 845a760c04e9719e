--- The text of a mail (RFC 5322, MIME): header fields in ASCII with encoded words, a body that is
--- plain ASCII or quoted-printable, lines that end in CRLF and are short. Whatever could begin a
--- line of its own in the head is refused by name. Keeps nothing in memory.
local addresses = require("sluice.out.addresses")
local base64 = require("sluice.out.base64")
local core = require("sluice.core")

local mime = {}

local LINE, LINE_MAX, WORD_BYTES, SUBJECT_MAX, HEADERS_MAX = 76, 998, 39, 2000, 50
local DAYS = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
  "Dec" }
-- What has an option of its own, or is ours to say.
local OWN = { ["from"] = "from", ["to"] = "to", ["cc"] = "cc", ["bcc"] = "bcc",
  ["reply-to"] = "reply_to", ["subject"] = "subject", ["message-id"] = "id", ["date"] = "date",
  ["mime-version"] = false, ["content-type"] = false, ["content-transfer-encoding"] = false,
  ["return-path"] = false, ["received"] = false, ["sender"] = "from" }

-- ---- Words of a head ---------------------------------------------------------------------

-- "=?UTF-8?B?…?=", as many as it takes, none of which cuts a character.
local function encoded(text)
  local words, from, bytes = {}, 1, 0
  for at, code in utf8.codes(text) do
    local n = #utf8.char(code)
    if bytes + n > WORD_BYTES then
      words[#words + 1] = text:sub(from, at - 1)
      from, bytes = at, 0
    end
    bytes = bytes + n
  end
  words[#words + 1] = text:sub(from)
  for i, word in ipairs(words) do words[i] = ("=?UTF-8?B?%s?="):format(base64.encode(word)) end
  return table.concat(words, "\r\n ")
end

-- Break a field at its spaces.
local function fold(line)
  local lines, rest = {}, line
  while #rest > LINE do
    local cut
    for at in rest:gmatch("()[^ ] [^ ]") do
      if at <= LINE or not cut then cut = at end
      if at > LINE then break end
    end
    if not cut or rest:sub(1, cut):find("^ *$") then break end
    lines[#lines + 1] = rest:sub(1, cut)
    rest = rest:sub(cut + 1)
  end
  lines[#lines + 1] = rest
  return table.concat(lines, "\r\n")
end

local function is_plain(text)
  return not text:find("[^ -~]") and not text:find("=?", 1, true) and not text:find("^ ")
    and not text:find(" $")
end

local function text_fault(text, most)
  if text:find("[\r\n]") then return "a line break is no part of a header field" end
  if text:find("%c") then return "a control character is no part of a header field" end
  if not utf8.len(text) then return "it is no UTF-8" end
  if #text > most then return ("it has more than %d bytes"):format(most) end
end

local function subject_line(subject)
  local long = subject:find(("[^ ]"):rep(LINE - 10)) ~= nil
  if not is_plain(subject) or long then return "Subject: " .. encoded(subject) end
  return fold("Subject: " .. subject)
end

local function shown(one)
  if not one.name then return one.address end
  if not is_plain(one.name) or #one.name > LINE // 2 then
    return ("%s\r\n <%s>"):format(encoded(one.name), one.address)
  elseif one.name:find("[^%w !#$%%&'*+/=?^_`{|}~-]") then
    return ('"%s" <%s>'):format(one.name:gsub('["\\]', "\\%0"), one.address)
  end
  return ("%s <%s>"):format(one.name, one.address)
end

local function address_line(name, list)
  local out = {}
  for i, one in ipairs(list) do out[i] = shown(one) end
  return name .. ": " .. table.concat(out, ",\r\n ")
end

--- A time as in the field Date; months and days in English whatever the locale is.
function mime.date(time)
  local t = os.date("!*t", math.floor(time))
  return ("%s, %02d %s %d %02d:%02d:%02d +0000"):format(DAYS[t.wday], t.day, MONTHS[t.month],
    t.year, t.hour, t.min, t.sec)
end

-- ---- Bodies ------------------------------------------------------------------------------

-- Add a part: its header fields and its body. Pieces, since a body may be large.
local function add_part(out, kind, text)
  local written, plain = core.mail_text(text)
  local head = "Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n"
  out[#out + 1] = head:format(kind, plain and "us-ascii" or "utf-8",
    plain and "7bit" or "quoted-printable")
  out[#out + 1] = written
end

local function add_body(out, o, boundary)
  if not (o.text and o.html) then
    return add_part(out, o.html and "html" or "plain", o.html or o.text)
  end
  out[#out + 1] = ('Content-Type: multipart/alternative; boundary="%s"\r\n\r\n'):format(boundary)
  for _, row in ipairs({ { "plain", o.text }, { "html", o.html } }) do
    out[#out + 1] = ("--%s\r\n"):format(boundary)
    add_part(out, row[1], row[2])
    -- the line break before a boundary belongs to it: a text that ends in one has its own
    if row[2]:find("[\r\n]", -1) then out[#out + 1] = "\r\n" end
  end
  out[#out + 1] = ("--%s--\r\n"):format(boundary)
end

-- ---- All of it ---------------------------------------------------------------------------

local function read_addresses(o)
  local read, message = {}
  read.from, message = addresses.read("from", o.from)
  for _, name in ipairs({ "to", "cc", "bcc", "reply_to" }) do
    if message then return nil, message end
    read[name], message = addresses.list(name, o[name])
  end
  if message then return nil, message end
  return read
end

local function extra_line(name, value)
  local what = ("headers: '%s'"):format(tostring(name):sub(1, 64):gsub("%c", "?"))
  if type(name) ~= "string" or not name:find("^[%w_-]+$") or #name > 64 then
    return nil, what .. " is no name of a header field"
  end
  local own = OWN[name:lower()]
  if own then return nil, ("%s is said by the option %s"):format(what, own) end
  if own == false then return nil, what .. " is written by Sluice" end
  if type(value) ~= "string" then return nil, what .. ": a string is expected" end
  local fault = text_fault(value, LINE_MAX - #name - 2)
  if fault then return nil, what .. ": " .. fault end
  if value:find("[^ -~]") then return name .. ":\r\n " .. encoded(value) end
  return fold(name .. ": " .. value)
end

local function extra_lines(headers)
  local names, lines, automatic = {}, {}, true
  for name in pairs(headers or {}) do names[#names + 1] = name end
  if #names > HEADERS_MAX then return nil, ("headers: more than %d"):format(HEADERS_MAX) end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for i, name in ipairs(names) do
    local line, message = extra_line(name, headers[name])
    if not line then return nil, message end
    lines[i], automatic = line, automatic and name:lower() ~= "auto-submitted"
  end
  if automatic then lines[#lines + 1] = "Auto-Submitted: auto-generated" end
  return lines
end

local function text_faults(o)
  local fault = text_fault(o.subject, SUBJECT_MAX)
  if fault then return "subject: " .. fault end
  for _, name in ipairs({ "text", "html" }) do
    if o[name] and not utf8.len(o[name]) then return name .. ": it is no UTF-8" end
  end
  if not o.id:find("^[%w._-]+$") or #o.id > 128 then
    return "id: 1 to 128 letters, digits and . _ - are expected"
  end
end

--- Write a mail.
-- @tparam table o from, to, cc, bcc, reply_to, subject, text, html, headers, id, date (seconds)
-- @treturn table|nil { text, from (address), to ({address,...}), id }; or nil, message
function mime.compose(o)
  local fault = text_faults(o)
  if fault then return nil, fault end
  local read, message = read_addresses(o)
  if not read then return nil, message end
  local extra
  extra, message = extra_lines(o.headers)
  if not extra then return nil, message end
  local id = ("<%s@%s>"):format(o.id, read.from.address:match("@(.*)$"):gsub("[%[%]]", ""))
  local head = { "Date: " .. mime.date(o.date), "Message-ID: " .. id,
    address_line("From", { read.from }) }
  for _, row in ipairs({ { "Reply-To", read.reply_to }, { "To", read.to }, { "Cc", read.cc } }) do
    if row[2][1] then head[#head + 1] = address_line(row[1], row[2]) end
  end
  if not (read.to[1] or read.cc[1]) then head[#head + 1] = "To: undisclosed-recipients:;" end
  head[#head + 1] = subject_line(o.subject)
  table.move(extra, 1, #extra, #head + 1, head)
  head[#head + 1] = "MIME-Version: 1.0"
  local to, seen = {}, {}
  for _, list in ipairs({ read.to, read.cc, read.bcc }) do
    for _, one in ipairs(list) do
      if not seen[one.address] then to[#to + 1], seen[one.address] = one.address, true end
    end
  end
  local out = { table.concat(head, "\r\n"), "\r\n" }
  add_body(out, o, "=_" .. core.id())
  return { text = table.concat(out),
    from = read.from.address, to = to, id = id }
end

return mime
