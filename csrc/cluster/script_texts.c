/* The scripts, as Redis runs them; see scripts.h. All keys begin with "sluice:{NAME}:"
 *
 *   m       hash     fmt; epoch, began (when, in ms), by (the label of the node that began it),
 *                    run, replid (whose process), seq (the last number),
 *                    safe, evicted, feedmax, mark (the last one for all), lineage ("epoch:base",
 *                    the newest first, by commas), rules and grown (see bound), for each node
 *                    fence:<slot>; lead (the slot that leads), leadtok (its token), leadtill (up
 *                    to when, in ms)
 *   f       stream   the feed: id 0-<seq>. An event has one field, log, keyed or state, which is
 *                    its line, "seq prior t x flags slot.token channel\0event\0key\0data" (and
 *                    gone, the event\0key that went for it). A notice (notice.h) has its letter
 *                    in k, and notice, its line. What is rare is by fields: k kind, c channel,
 *                    e event, y key, p prior, n slot.token, t ms
 *   l:<ch>  list     history: lines
 *   e:<ch>  hash     the names of its events that have newest values: a removal is of them all
 *   s:<ch>  hash     newest values: "event\0key" is "seq t x\0data"
 *   own:<slot>       what lives as long as that node: "channel\0event\0key" is "seq kind history
 *                    ttl"; reaped:<slot> in m: it was taken for dead, and has not joined since
 *   t       zset     now and then a number, by the second at which it was the last
 *   n       hash     slot: "beat label rules", for a day
 *   i:<ch>\0<key>    idempotency: "epoch-seq crc", for a day
 *
 * prior is the number of the event before it in its channel, or "~n": no history is kept, and
 * nothing above n came before. Flags: r remove, i idempotent, v a mark, z no data is kept (the
 * history is 0): its number is a floor. Channel keys expire a minute after their ttl.
 *
 * Reads come first, and the first write is the one that can fail (XADD, when the feed is not
 * where m says): a refusal has changed nothing. Over maxmemory Redis refuses a whole script that
 * begins with #!lua; what must go on then says allow-oom. Numbers are exact below 2^53. */
#include "cluster/script_parts.h"
#include "cluster/scripts.h"

/* The form of the keys above, as fmt has it: another number for each change that an earlier build would
 * misread. A join refuses keys of any other. 1: the feed had a field for each part of an event. */
#define FORM "2"

/* KEYS[3] is t. What has no history can miss nothing that is younger than its ttl and a minute; unless its
 * ttl was shorter before: so nobody is sure of what came before the last change of rules. */
#define BOUND                                                                        \
    "local function bound(ttl)\n"                                                    \
    "  local since = time[1] - tonumber(ttl) - 60\n"                                 \
    "  local point = call('ZRANGEBYSCORE', KEYS[3], since, '+inf', 'LIMIT', 0, 1)\n" \
    "  local number, grown = point[1] or m[3], m[7] or '0'\n"                        \
    "  return tonumber(grown) > tonumber(number) and grown or number\n"              \
    "end\n"

/* KEYS[3] is t, KEYS[4] is n: this node's row, and a point of time each ten seconds. */
#define ROW                                                                \
    "local function note(slot, label, number, rules, before)\n"            \
    "  call('HSET', KEYS[4], slot, now .. ' ' .. label .. ' ' .. rules)\n" \
    "  if rules ~= '' and rules ~= before then\n"                          \
    "    call('HSET', KEYS[1], 'rules', rules, 'grown', number)\n"         \
    "  end\n"                                                              \
    "  local newest = call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]\n" \
    "  if newest and time[1] - newest < 10 then return end\n"              \
    "  call('ZADD', KEYS[3], time[1], number)\n"                           \
    "  call('ZREMRANGEBYSCORE', KEYS[3], '-inf', time[1] - 86400)\n"       \
    "end\n"

/* Keys of a channel, by that of its newest values; and removing all values of a key. */
#define REMOVE                                                                  \
    "local base = sub(KEYS[1], 1, -2)\n"                                        \
    "local function names_of(s) return base .. 'e:' .. sub(s, #base + 3) end\n" \
    "local function remove(s, names, field, own)\n"                             \
    "  local channel = sub(s, #base + 3) .. '\\0'\n"                            \
    "  local key, gone = match(field, '%z.*$'), call('HDEL', s, field)\n"       \
    "  call('HDEL', own, channel .. field)\n"                                   \
    "  local all = call('HKEYS', names)\n"                                      \
    "  for _, name in ipairs(all) do\n"                                         \
    "    gone = gone + call('HDEL', s, name .. key)\n"                          \
    "    call('HDEL', own, channel .. name .. key)\n"                           \
    "  end\n"                                                                   \
    "  if call('HLEN', s) == 0 then\n"                                          \
    "    for _, name in ipairs(all) do call('HDEL', names, name) end\n"         \
    "  end\n"                                                                   \
    "  return gone\n"                                                           \
    "end\n"

/* Whether a key has a value of which 'own' says that it is that node's. */
#define OWNS                                                                             \
    "local function owns(s, field, own)\n"                                               \
    "  local channel, key = sub(s, #base + 3) .. '\\0', match(field, '%z.*$')\n"         \
    "  for _, name in ipairs(call('HKEYS', names_of(s))) do\n"                           \
    "    local row = call('HGET', own, channel .. name .. key)\n"                        \
    "    local value = row and call('HGET', s, name .. key)\n"                           \
    "    if value and match(value, '^%d+') == match(row, '^%d+') then return true end\n" \
    "  end\n"                                                                            \
    "  return false\n"                                                                   \
    "end\n"

/* What a dead node has, removed by ARGV[2]: a thousand values at a time. What was set by another one
 * since is not its any more. A removal is of all names of a key: what others have set under it is set again,
 * and stays with the node that it goes with (KEYS[4] is n). */
#define REAP                                                                               \
    "local function others_of(s, own, channel, event, key)\n"                              \
    "  local all = {}\n"                                                                   \
    "  for _, name in ipairs(call('HKEYS', names_of(s))) do\n"                             \
    "    local field = name .. '\\0' .. key\n"                                             \
    "    local value = name ~= event and call('HGET', s, field)\n"                         \
    "    local row = value and call('HGET', own, channel .. '\\0' .. field)\n"             \
    "    local number, x, data = match(value or '', '^(%d+) %d+ (%d+)%z(.*)$')\n"          \
    "    local is_its = row and match(row, '^%d+') == number\n"                            \
    "    if number and not is_its and (x == '0' or tonumber(x) > tonumber(now)) then\n"    \
    "      all[#all + 1] = {name = name, field = field, number = number, x = x,\n"         \
    "        data = data}\n"                                                               \
    "    end\n"                                                                            \
    "  end\n"                                                                              \
    "  return all\n"                                                                       \
    "end\n"                                                                                \
    "local function move_row(name, from)\n"                                                \
    "  for _, slot in ipairs(call('HKEYS', KEYS[4])) do\n"                                 \
    "    local theirs = base .. 'own:' .. slot\n"                                          \
    "    local row = call('HGET', theirs, name)\n"                                         \
    "    local number, rest = match(row or '', '^(%d+)(.*)$')\n"                           \
    "    if number == from then call('HSET', theirs, name, text(seq) .. rest) end\n"       \
    "  end\n"                                                                              \
    "end\n"                                                                                \
    "local function take(own, name, row)\n"                                                \
    "  local channel, event, key = match(name, '^(%Z*)%z(%Z*)%z(.*)$')\n"                  \
    "  local number, kind, history, ttl = match(row, '^(%d+) (%a) (%d+) (%d+)$')\n"        \
    "  call('HDEL', own, name)\n"                                                          \
    "  if not channel or not number then return end\n"                                     \
    "  local s, l = base .. 's:' .. channel, base .. 'l:' .. channel\n"                    \
    "  local field, names = event .. '\\0' .. key, names_of(s)\n"                          \
    "  local value = call('HGET', s, field)\n"                                             \
    "  if not value or match(value, '^%d+') ~= number then return end\n"                   \
    "  local prior = '0'\n"                                                                \
    "  if kind == 'k' then\n"                                                              \
    "    local newest = call('LINDEX', l, -1)\n"                                           \
    "    prior = newest and match(newest, '^%d+') or '~' .. bound(ttl)\n"                  \
    "  end\n"                                                                              \
    "  local function add(x, flags, what)\n"                                               \
    "    seq = seq + 1\n"                                                                  \
    "    local line = table.concat({text(seq), prior, now, x, flags, ARGV[2] .. '.',\n"    \
    "      channel .. '\\0' .. what}, ' ')\n"                                              \
    "    call('XADD', KEYS[2], '0-' .. text(seq), kind == 'k' and 'keyed' or 'state',\n"   \
    "      line)\n"                                                                        \
    "    if kind ~= 'k' then return end\n"                                                 \
    "    if history == '0' then\n"                                                         \
    "      line = text(seq) .. ' ' .. prior .. ' ' .. now .. ' 0 z . \\0\\0\\0'\n"         \
    "    end\n"                                                                            \
    "    call('RPUSH', l, line)\n"                                                         \
    "    call('LTRIM', l, -math.max(tonumber(history), 1), -1)\n"                          \
    "    call('EXPIRE', l, ttl + 60)\n"                                                    \
    "    prior = text(seq)\n"                                                              \
    "  end\n"                                                                              \
    "  local shown = string.gsub(key, '[%c\"\\\\]', function(c)\n"                         \
    "    return string.format('\\\\u%04x', string.byte(c))\n"                              \
    "  end)\n"                                                                             \
    "  local others = others_of(s, own, channel, event, key)\n"                            \
    "  add('0', 'r', 'removed\\0' .. key .. '\\0{\"key\":\"' .. shown .. '\"}')\n"         \
    "  remove(s, names, field, own)\n"                                                     \
    "  for _, o in ipairs(others) do\n"                                                    \
    "    add(o.x, '', o.field .. '\\0' .. o.data)\n"                                       \
    "    call('HSET', s, o.field, text(seq) .. ' ' .. now .. ' ' .. o.x .. '\\0' ..\n"     \
    "      o.data)\n"                                                                      \
    "    call('HSET', names, o.name, '1')\n"                                               \
    "    local lives = kind == 'k' and 315360000 or ttl\n" /* as in a publish */           \
    "    for _, at in ipairs({s, names}) do call('EXPIRE', at, lives + 60) end\n"          \
    "    move_row(channel .. '\\0' .. o.field, o.number)\n"                                \
    "  end\n"                                                                              \
    "end\n"                                                                                \
    "local function reap(slot)\n"                                                          \
    "  local own, left = base .. 'own:' .. slot, 1000\n"                                   \
    "  local is_new = call('HSETNX', KEYS[1], 'reaped:' .. slot, now)\n"                   \
    "  if is_new == 1 then\n"                                                              \
    "    call('HINCRBY', KEYS[1], 'fence:' .. slot, 1)\n" /* it may live: then it joins */ \
    "  end\n"                                                                              \
    "  if call('HLEN', own) == 0 then return is_new end\n"                                 \
    "  local cursor, rows = '0', nil\n"                                                    \
    "  repeat\n" /* what was removed leaves empty places, and pages of nothing else */     \
    "    local page = call('HSCAN', own, cursor, 'COUNT', 1000)\n"                         \
    "    cursor, rows = page[1], page[2]\n"                                                \
    "  until #rows > 0 or cursor == '0'\n"                                                 \
    "  for j = 1, math.min(#rows, 2 * left), 2 do take(own, rows[j], rows[j + 1]) end\n"   \
    "  call('HSET', KEYS[1], 'seq', text(seq))\n"                                          \
    "  return is_new\n"                                                                    \
    "end\n"

/* A lease of 5 s for who asks and has it, or when nobody has. Tokens rise also when the server has lost the last
 * ones. Who leaves it leaves a second in which nobody has it. A clock that was set back ends no later. */
#define LEASE                                                                  \
    "local function lease(slot, wish)\n"                                       \
    "  local h = call('HMGET', KEYS[1], 'lead', 'leadtok', 'leadtill')\n"      \
    "  local ms, lead = tonumber(now), h[1] or ''\n"                           \
    "  local token, till = tonumber(h[2] or '0'), tonumber(h[3] or '0')\n"     \
    "  local old, mine = till, lead == slot\n"                                 \
    "  till = math.min(till, ms + 5000)\n"                                     \
    "  if wish == '1' and (mine or till <= ms) then\n"                         \
    "    if not mine or till <= ms then token = math.max(token + 1, ms) end\n" \
    "    lead, till = slot, ms + 5000\n"                                       \
    "  elseif wish == '0' and mine then\n"                                     \
    "    lead, till = '', math.min(till, ms + 1000)\n"                         \
    "  end\n"                                                                  \
    "  if lead ~= (h[1] or '') or till ~= old then\n"                          \
    "    call('HSET', KEYS[1], 'lead', lead, 'leadtok', text(token),\n"        \
    "      'leadtill', text(till))\n"                                          \
    "  end\n"                                                                  \
    "  if till <= ms then lead = '' end\n"                                     \
    "  return lead, text(token), text(math.max(till - ms, 0))\n"               \
    "end\n"

/* KEYS: m, f, t, n. ARGV: slot, own epoch or '', known, new epoch, safe (0, 1, ''), label, rules. */
static const char JOIN[] =
    "#!lua flags=allow-oom\n" OF_MASTER ROW
    "local info = call('INFO', 'server', 'replication', 'stats')\n"
    "if not find(info, 'role:master', 1, true) then return {'REPLICA'} end\n"
    "local run = match(info, 'run_id:(%x+)')\n"
    "local replid = match(info, 'master_replid:(%x+)')\n"
    "local gone = match(info, 'evicted_keys:(%d+)')\n"
    "local m = call('HMGET', KEYS[1], 'fmt', 'epoch', 'run', 'replid', 'seq', 'safe',\n"
    "  'lineage', 'evicted', 'rules', 'began')\n"
    "if m[1] and tonumber(m[1]) > " FORM " then return {'NEWER'} end\n"
    "if m[1] and tonumber(m[1]) < " FORM " then return {'OLDER'} end\n"
    /* Doubt: may numbers have been given that are not here? */
    "local top = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]\n"
    "local fed = tonumber(top and match(top[1], '%-(%d+)$') or '0')\n"
    "local seq, epoch, took = tonumber(m[5] or '0'), m[2], '0'\n"
    "local torn = fed > seq\n"
    "if torn then seq = fed end\n"
    "local back = ARGV[2] == epoch and tonumber(ARGV[3]) > seq\n"
    "local moved = m[3] ~= run or m[4] ~= replid\n"
    /* Who was a replica has what the master had sent it: what is safe there says nothing here. */
    "local safe = m[6] == '1' and not find(info, 'master_replid2:0*[1-9a-f]')\n"
    "local evicted = not moved and m[8] and tonumber(gone) > tonumber(m[8])\n"
    "if not epoch or torn or back or evicted or (moved and not safe) then\n"
    /* Of an epoch that all was deleted of (FLUSHALL) nothing survived. */
    "  local lineage = m[7] or not epoch and ARGV[2] ~= '' and ARGV[2] .. ':0' or ''\n"
    /* Who led may not know yet; a server that is new to all had no time to forget it. */
    "  local is_new = not epoch and fed == 0 and ARGV[2] == ''\n"
    "  local up = is_new and tonumber(match(info, 'uptime_in_seconds:(%d+)') or '0') or "
    "0\n"
    "  call('HSET', KEYS[1], 'lead', '', 'leadtill', text(now + math.max(5 - up, 0) * "
    "1000))\n"
    "  if epoch or fed > 0 then\n"
    "    local base, old = text(seq), epoch or ''\n"
    "    seq = math.max(seq, tonumber(ARGV[3])) + 1048576\n"
    "    call('XADD', KEYS[2], '0-' .. text(seq), 'k', 'E', 'e', ARGV[4], 'y', old,\n"
    "      'p', base)\n"
    "    local rest = lineage ~= '' and ',' .. lineage or ''\n"
    "    if epoch then lineage = epoch .. ':' .. base .. rest end\n"
    "    for _ = 17, select(2, string.gsub(lineage, ',', ',')) + 1 do\n"
    "      lineage = match(lineage, '^(.*),')\n"
    "    end\n"
    "  end\n"
    "  epoch, took, m[10] = ARGV[4], '1', now\n"
    "  call('HSET', KEYS[1], 'fmt', '" FORM "', 'epoch', epoch, 'began', now,\n"
    "    'by', ARGV[6], 'seq', text(seq), 'lineage', lineage)\n"
    "end\n"
    "safe = ARGV[5] ~= '' and ARGV[5] or (moved and '0' or m[6] or '0')\n"
    "local fence = text(call('HINCRBY', KEYS[1], 'fence:' .. ARGV[1], 1))\n"
    "call('HSET', KEYS[1], 'run', run, 'replid', replid, 'safe', safe, 'evicted', gone)\n"
    "call('HSETNX', KEYS[1], 'feedmax', '10000')\n"
    "note(ARGV[1], ARGV[6], text(seq), ARGV[7], m[9])\n"
    /* Nodes that nobody has heard of for a day. */
    "local rows = call('HGETALL', KEYS[4])\n"
    "for j = 1, #rows, 2 do\n"
    "  if now - (match(rows[j + 1], '^%d+') or '0') > 86400000 then\n"
    "    call('HDEL', KEYS[4], rows[j])\n"
    "    call('HDEL', KEYS[1], 'fence:' .. rows[j], 'reaped:' .. rows[j])\n"
    "  end\n"
    "end\n"
    "local reaped = text(call('HDEL', KEYS[1], 'reaped:' .. ARGV[1]))\n"
    "local h = call('HMGET', KEYS[1], 'lineage', 'mark', 'by')\n"
    "local age = text(math.max(now - (m[10] or '0'), 0))\n"
    "return {'OK', epoch, fence, text(seq), h[1], took, run, replid, h[2] or '0', now,\n"
    "  age, reaped, h[3] or ''}\n";

/* KEYS: m, f, t, then for each event l (unless it is a state), s (unless a log), i (once). ARGV: the proof,
 * then for each event its rule, its line from x on; what has an s also the field, x, and up to where data
 * is none of it; what has the flag c what is expected there ("": nothing, "=data"; with o: nothing, or what
 * its node has a lease of, as is what it removes then); what is once a crc. A rule is "kind history ttl max. keys flags", the same text for many,
 * and behind it the lease that its publisher needs, if any: one that has not nearly a second left is none, so that
 * another one's first event is as far behind. */
static const char PUB[] =
    "#!lua\n" PROOF BOUND REMOVE OWNS "local ARGV, KEYS, feed = ARGV, KEYS, KEYS[2]\n"
    "local KEPT = 315360000\n" /* s: the newest values of a keyed log stay */
    "local rules, NAMES, lease = {}, {l = 'log', k = 'keyed', s = 'state'}, nil\n"
    "local function read_lease()\n"
    "  local h = call('HMGET', KEYS[1], 'lead', 'leadtok', 'leadtill')\n"
    "  local holds = h[1] == ARGV[2] and now + 900 <= tonumber(h[3])\n"
    "  return holds and h[2] or ''\n"
    "end\n"
    "local function rule_of(text)\n"
    "  local kind, history, ttl, most, flags, needs =\n"
    "    match(text, '^(%a) (%d+) (%d+) (%d+) (%a*) ?(%d*)$')\n"
    "  local name = NAMES[kind]\n"
    "  local rule = {kind = kind, name = name, listed = name and kind ~= 's',\n"
    "    hashed = name and kind ~= 'l',\n"
    "    history = tonumber(history), ttl = tonumber(ttl), most = tonumber(most),\n"
    "    once = find(flags, 'i', 1, true), remove = find(flags, 'r', 1, true),\n"
    "    judged = find(flags, 'c', 1, true), owned = find(flags, 'o', 1, true),\n"
    "    needs = needs ~= '' and needs}\n"
    "  if rule.needs then lease = lease or read_lease() end\n"
    "  rules[text] = rule\n"
    "  return rule\n"
    "end\n"
    /* Reads first. */
    "local prior, lines, sizes, known, a, k = {}, {}, {}, {}, 6, 4\n"
    "while ARGV[a] do\n"
    "  local rule = rules[ARGV[a]] or rule_of(ARGV[a])\n"
    "  a = a + 2\n"
    "  if rule.listed then\n"
    "    local l = KEYS[k]\n"
    "    if not prior[l] then\n"
    "      local newest = call('LINDEX', l, -1)\n"
    "      prior[l] = newest and match(newest, '^%d+') or '~' .. bound(rule.ttl)\n"
    "      lines[l] = {}\n"
    "    end\n"
    "    k = k + 1\n"
    "  end\n"
    "  if rule.hashed then\n"
    "    local s = KEYS[k]\n"
    "    if not sizes[s] then sizes[s] = call('HLEN', s) end\n"
    "    a, k = a + (rule.judged and 4 or 3), k + 1\n"
    "  end\n"
    "  if rule.once then\n"
    "    known[KEYS[k]] = call('GET', KEYS[k])\n"
    "    a, k = a + 1, k + 1\n"
    "  end\n"
    "end\n"
    "local own = base .. 'own:' .. ARGV[2]\n"
    "local function data_of(s, field)\n"
    "  local value = call('HGET', s, field)\n"
    "  return value and '=' .. match(value, '^%d+ %d+ %d+%z(.*)$') or ''\n"
    "end\n"
    /* The oldest of some values, which makes room for one more. */
    "local function oldest(s, field)\n"
    "  if call('HEXISTS', s, field) == 1 then return nil end\n"
    "  local some, old, least = call('HRANDFIELD', s, 128, 'WITHVALUES'), nil, "
    "math.huge\n"
    "  for j = 1, #some, 2 do\n"
    "    local number = tonumber(match(some[j + 1], '^%d+') or '0')\n"
    "    local is_older = number < least or number == least and some[j] < old\n"
    "    if is_older then old, least = some[j], number end\n"
    "  end\n"
    "  return old\n"
    "end\n"
    "local last, stay, out, e = {}, {}, {'OK'}, 1\n"
    "a, k = 6, 4\n"
    "while ARGV[a] do\n"
    "  local rule, rest, l, s, i, field, x, skip, crc = rules[ARGV[a]], ARGV[a + 1]\n"
    "  a, e = a + 2, e + 1\n"
    "  if rule.listed then l, k = KEYS[k], k + 1 end\n"
    "  if rule.hashed then\n"
    "    s, field, x, skip = KEYS[k], ARGV[a], ARGV[a + 1], ARGV[a + 2]\n"
    "    a, k = a + (rule.judged and 4 or 3), k + 1\n"
    "  end\n"
    "  if rule.once then i, crc, a, k = KEYS[k], ARGV[a], a + 1, k + 1 end\n"
    "  if rule.needs and rule.needs ~= lease then\n"
    "    out[e] = '!'\n"
    "  elseif rule.owned and rule.judged and call('HEXISTS', s, field) == 1\n"
    "    and not owns(s, field, own) then\n"
    "    out[e] = '?'\n"
    "  elseif rule.owned and rule.remove and not owns(s, field, own) then\n"
    "    out[e] = '?'\n"
    "  elseif rule.judged and not rule.owned\n"
    "    and data_of(s, field) ~= ARGV[a - (i and 2 or 1)] then\n"
    "    out[e] = '?'\n"
    "  elseif i and known[i] then\n"
    "    out[e] = '=' .. known[i]\n"
    "  else\n"
    "    seq = seq + 1\n"
    "    local number, old = text(seq), nil\n"
    "    local line = number .. ' ' .. (prior[l] or '0') .. ' ' .. now .. ' ' .. rest\n"
    "    if s and not rule.remove and sizes[s] >= rule.most then\n"
    "      old = oldest(s, field)\n"
    "    end\n"
    "    if not rule.name then\n"
    "      call('XADD', feed, '0-' .. number, 'k', rule.kind, 'notice', line)\n"
    "    elseif old then\n"
    "      call('XADD', feed, '0-' .. number, rule.name, line, 'gone', old)\n"
    "    else\n"
    "      call('XADD', feed, '0-' .. number, rule.name, line)\n"
    "    end\n"
    "    if l then\n"
    "      if rule.history == 0 then\n"
    "        line = number .. ' ' .. prior[l] .. ' ' .. now .. ' 0 z . \\0\\0\\0'\n"
    "      end\n"
    "      lines[l][#lines[l] + 1] = line\n"
    "      prior[l], last[l], stay[l] = number, rule, rule.ttl\n"
    "    end\n"
    "    if s then\n"
    "      local names = names_of(s)\n"
    "      if rule.remove then\n"
    "        sizes[s] = sizes[s] - remove(s, names, field, own)\n"
    "      else\n"
    "        local value = number .. ' ' .. now .. ' ' .. x .. '\\0' .. sub(rest, skip + "
    "1)\n"
    "        local added = call('HSET', s, field, value)\n"
    "        if added == 1 then call('HSET', names, match(field, '^%Z*'), '1') end\n"
    "        sizes[s] = sizes[s] + added\n"
    "        if rule.owned then\n"
    "          call('HSET', own, sub(s, #base + 3) .. '\\0' .. field, "
    "table.concat({number,\n"
    "            rule.kind, rule.history, rule.ttl}, ' '))\n"
    "        end\n"
    "      end\n"
    "      if old then sizes[s] = sizes[s] - call('HDEL', s, old) end\n"
    "      local lives = rule.kind == 'k' and KEPT or rule.ttl\n"
    "      stay[s], stay[names] = lives, lives\n"
    "    end\n"
    "    if i then\n"
    "      known[i] = ARGV[1] .. '-' .. number .. ' ' .. crc\n"
    "      call('SET', i, known[i], 'EX', 86400)\n"
    "    end\n"
    "    out[e] = number\n"
    "  end\n"
    "end\n"
    /* Once for each channel, however many events it has got. */
    "for l, rule in pairs(last) do\n"
    "  local most = math.max(rule.history, 1)\n"
    "  if call('RPUSH', l, unpack(lines[l])) > most then call('LTRIM', l, -most, -1) "
    "end\n"
    "end\n"
    "for key, ttl in pairs(stay) do call('EXPIRE', key, ttl + 60) end\n"
    "if math.floor(seq / 64) > math.floor(m[3] / 64) then\n"
    "  call('XTRIM', feed, 'MAXLEN', '~', m[4])\n"
    "end\n"
    "call('HSET', KEYS[1], 'seq', text(seq))\n"
    "return out\n";

/* KEYS: m, f, t, n. ARGV: the proof, label, safe (0, 1, ''), entries of the feed or '', rules, whether it would
 * lead, and reaps (0, 1). */
static const char BEAT[] =
    "#!lua flags=allow-oom\n" PROOF BOUND ROW LEASE REMOVE REAP
    "local gone = match(call('INFO', 'stats'), 'evicted_keys:(%d+)')\n"
    "if tonumber(gone) > tonumber(m[6] or '0') then return {'EVICTED'} end\n"
    "note(ARGV[2], ARGV[6], m[3], ARGV[9], m[8])\n"
    "if ARGV[7] ~= '' then call('HSET', KEYS[1], 'safe', ARGV[7]) end\n"
    "if ARGV[8] ~= '' then\n"
    "  local most = math.min(math.max(tonumber(ARGV[8]), 1000), 100000)\n"
    "  call('HSET', KEYS[1], 'feedmax', text(most))\n"
    "end\n"
    "local rows, slots, unlike, reaped = call('HGETALL', KEYS[4]), {}, {}, 0\n"
    "for j = 1, #rows, 2 do\n"
    "  local beat = match(rows[j + 1], '^%d+')\n"
    "  if beat and now - beat < 10000 then\n"
    "    local name, theirs = match(rows[j + 1], '^%d+ (%S*) (%x+)$')\n"
    "    slots[#slots + 1] = rows[j]\n"
    "    if theirs and ARGV[9] ~= '' and theirs ~= ARGV[9] then unlike[#unlike + 1] = "
    "name end\n"
    "  elseif ARGV[11] == '1' then reaped = reaped + reap(rows[j]) end\n"
    "end\n"
    "return {'OK', text(seq), now, m[5] or '0', text(#slots), table.concat(slots, ' '),\n"
    "  text(reaped), table.concat(unlike, ', '), lease(ARGV[2], ARGV[10])}\n";

/* KEYS: m. ARGV: the proof. */
static const char HEAD[] =
    "#!lua flags=no-writes\n" PROOF "return {'OK', m[3], now, m[5] or '0', '0'}\n";

/* KEYS: m. ARGV: the proof. A write that says nothing: WAIT and WAITAOF wait for the writes of their
 * own connection, and for all that came before those. */
static const char KEEP[] =
    "#!lua flags=allow-oom\n" PROOF "call('HSET', KEYS[1], 'kept', m[3])\n"
    "return {'OK', m[3], now, m[5] or '0', '0'}\n";

/* KEYS: m, f, t, then for each channel l, s. ARGV: the proof, then for each channel kind, ttl in s, before,
 * cursor. An answer has 4 MiB and the last page; channels that come after are left out. */
static const char LOAD[] =
    "#!lua flags=no-writes\n" PROOF BOUND "local MOST = 4194304\n"
    "local used, out = 0, {'OK', m[3], now, m[5] or '0'}\n"
    /* Backwards from the newest below 'before': entries, the floor, and where more are. */
    "local function history(l, ttl, before)\n"
    "  local some, at, floor, more = {}, -1, nil, nil\n"
    "  repeat\n"
    "    local part = call('LRANGE', l, at - 31, at)\n"
    "    for j = #part, 1, -1 do\n"
    "      local number, p, flags = match(part[j], '^(%d+) ~?(%d+) %d+ %d+ (%a*) ')\n"
    "      if not number then return some, floor or m[3], '0' end\n" /* not ours */
    "      local below = before == 0 or tonumber(number) < before\n"
    "      if below and find(flags, 'z', 1, true) then return some, number, '0' end\n"
    "      if below and used > MOST then return some, floor, more end\n"
    "      if below then\n"
    "        some[#some + 1], floor, more = part[j], p, number\n"
    "        used = used + #part[j] + 16\n"
    "      end\n"
    "    end\n"
    "    at = at - 32\n"
    "  until #part < 32\n"
    "  return some, floor, '0'\n"
    "end\n"
    "local function values(s, cursor)\n"
    "  local all = {}\n"
    "  repeat\n"
    "    local page = call('HSCAN', s, cursor, 'COUNT', 20)\n"
    "    cursor = page[1]\n"
    "    for _, v in ipairs(page[2]) do all[#all + 1], used = v, used + #v + 16 end\n"
    "  until cursor == '0' or used > MOST\n"
    "  return all, cursor\n"
    "end\n"
    "for e = 0, (#ARGV - 5) / 4 - 1 do\n"
    "  local a, k = 6 + e * 4, 4 + e * 2\n"
    "  local kind, before, cursor = ARGV[a], tonumber(ARGV[a + 2]), ARGV[a + 3]\n"
    "  local entries, fields, floor, more, last = {}, {}, '0', '0', '0'\n"
    "  if kind ~= 's' and before ~= 1 then\n"
    "    local some\n"
    "    some, floor, more = history(KEYS[k], ARGV[a + 1], before)\n"
    "    floor = floor or before > 0 and text(before - 1) or bound(ARGV[a + 1])\n"
    "    last = match(call('LINDEX', KEYS[k], -1) or '', '^%d+') or '0'\n"
    "    for j = #some, 1, -1 do entries[#entries + 1] = some[j] end\n"
    "  end\n"
    "  if kind ~= 'l' and cursor ~= '' then\n"
    "    fields, cursor = values(KEYS[k + 1], cursor)\n"
    "  end\n"
    "  out[#out + 1] = {floor, last, more, cursor, entries, fields}\n"
    "  if used > MOST then return out end\n"
    "end\n"
    "return out\n";

/* KEYS: m, f, t, then for each channel l. ARGV: the proof, then for each channel its name, ttl in s, history,
 * and ms: nothing that is lost was known later than that long ago, so a younger mark tells of it. */
static const char MARK[] =
    "#!lua flags=allow-oom\n" PROOF BOUND
    "local n, prior, done = (#ARGV - 5) / 4 - 1, {}, {}\n"
    "for e = 0, n do\n"
    "  local newest = call('LINDEX', KEYS[4 + e], -1)\n"
    "  local at, flags = match(newest or '', '^%d+ ~?%d+ (%d+) %d+ (%a*) ')\n"
    "  local is_mark = flags and find(flags, 'v', 1, true)\n"
    "  done[e] = is_mark and tonumber(at) >= now - ARGV[9 + e * 4]\n"
    "  prior[e] = newest and match(newest, '^%d+') or '~' .. bound(ARGV[7 + e * 4])\n"
    "end\n"
    "local function feed(channel, p)\n"
    "  seq = seq + 1\n"
    "  call('XADD', KEYS[2], 'MAXLEN', '~', m[4], '0-' .. text(seq), 'k', 'v',\n"
    "    'c', channel, 'p', p, 'n', ARGV[2] .. '.', 't', now)\n"
    "  return text(seq)\n"
    "end\n"
    "for e = 0, n do\n"
    "  local a, l = 6 + e * 4, KEYS[4 + e]\n"
    "  local ttl, history = ARGV[a + 1] + 60, tonumber(ARGV[a + 2])\n"
    "  if not done[e] then\n"
    "    local flags = history == 0 and 'vz' or 'v'\n"
    "    local entry = {feed(ARGV[a], prior[e]), prior[e], now, '0', flags,\n"
    "      ARGV[2] .. '. \\0\\0\\0'}\n"
    "    call('RPUSH', l, table.concat(entry, ' '))\n"
    "    call('LTRIM', l, -math.max(history, 1), -1)\n"
    "    call('EXPIRE', l, ttl)\n"
    "  end\n"
    "end\n"
    "local mark = m[5] or '0'\n"
    "if n < 0 then\n"
    "  mark = feed('', '')\n"
    "  call('HSET', KEYS[1], 'mark', mark)\n"
    "end\n"
    "call('HSET', KEYS[1], 'seq', text(seq))\n"
    "return {'OK', text(seq), now, mark, '0'}\n";

/* KEYS: one of each type: m, f, t, n, l, s, i. Commands that this user may not run. */
static const char PROBE[] =
    "#!lua flags=no-writes\n"
    "local m, f, t, n, l, s, i = unpack(KEYS)\n"
    "local need, denied = {\n"
    "  {'INFO', 'server'}, {'TIME'}, {'EVALSHA', 'x', '1', m},\n"
    "  {'XREAD', 'STREAMS', f, '0'}, {'XADD', f, '*', 'x', 'x'},\n"
    "  {'XREVRANGE', f, '+', '-'}, {'HMGET', m, 'x'}, {'HSET', m, 'x', 'x'},\n"
    "  {'HSETNX', m, 'x', 'x'}, {'HINCRBY', m, 'x', '1'}, {'HGETALL', n},\n"
    "  {'HVALS', n}, {'HLEN', s}, {'HEXISTS', s, 'x'}, {'HDEL', s, 'x'},\n"
    "  {'HGET', s, 'x'}, {'HKEYS', s},\n"
    "  {'HRANDFIELD', s, '1'}, {'HSCAN', s, '0'}, {'LINDEX', l, '0'},\n"
    "  {'LRANGE', l, '0', '0'}, {'LLEN', l}, {'RPUSH', l, 'x'}, {'LTRIM', l, '0', '0'},\n"
    "  {'EXPIRE', l, '1'}, {'GET', i}, {'SET', i, 'x'}, {'ZADD', t, '0', 'x'},\n"
    "  {'ZRANGEBYSCORE', t, '0', '1'}, {'ZREVRANGE', t, '0', '0'},\n"
    "  {'ZREMRANGEBYSCORE', t, '0', '1'}, {'XTRIM', f, 'MAXLEN', '9'}}, {'OK'}\n"
    "for _, command in ipairs(need) do\n"
    "  local may = redis.acl_check_cmd(unpack(command))\n"
    "  if not may then denied[#denied + 1] = command[1] end\n"
    "end\n"
    "return denied\n";

static const struct {
    const char *name, *text;
} TEXTS[SCRIPTS] = {
    [SCRIPT_JOIN] = {"join", JOIN},
    [SCRIPT_PUB] = {"pub", PUB},
    [SCRIPT_BEAT] = {"beat", BEAT},
    [SCRIPT_LOAD] = {"load", LOAD},
    [SCRIPT_PAGE] = {"page", SCRIPT_PAGE_TEXT},
    [SCRIPT_MARK] = {"mark", MARK},
    [SCRIPT_HEAD] = {"head", HEAD},
    [SCRIPT_KEEP] = {"keep", KEEP},
    [SCRIPT_PROBE] = {"probe", PROBE},
};

const char *script_name(enum script s) {
    return TEXTS[s].name;
}

const char *script_text(enum script s) {
    return TEXTS[s].text;
}
