/* What the texts of the scripts begin with (script_texts.c, script_page.c). */
#ifndef SLUICE_CLUSTER_SCRIPT_PARTS_H
#define SLUICE_CLUSTER_SCRIPT_PARTS_H

#define OF_MASTER                                                                        \
    "local call, find, match, sub = redis.call, string.find, string.match, string.sub\n" \
    "local function text(n)\n"                                                           \
    "  return string.format(n < 2147483648 and '%d' or '%.0f', n)\n"                     \
    "end\n"                                                                              \
    "local time = call('TIME')\n"                                                        \
    "local now = text(time[1] * 1000 + math.floor(time[2] / 1000))\n"

/* KEYS[1] is m. ARGV: epoch, slot, fence, known, replid. */
#define PROOF                                                                            \
    OF_MASTER                                                                            \
    "local info = call('INFO', 'replication')\n"                                         \
    "if not find(info, 'role:master', 1, true) then return {'REPLICA'} end\n"            \
    "local replid = 'master_replid:' .. ARGV[5]\n"                                       \
    "if not find(info, replid, 1, true) then return {'REPLID'} end\n"                    \
    "local m = call('HMGET', KEYS[1], 'epoch', 'fence:' .. ARGV[2], 'seq', 'feedmax',\n" \
    "  'mark', 'evicted', 'grown', 'rules')\n"                                           \
    "if m[1] ~= ARGV[1] then return {'EPOCH'} end\n"                                     \
    "if m[2] ~= ARGV[3] then return {'FENCE'} end\n"                                     \
    "local seq = tonumber(m[3])\n"                                                       \
    "if tonumber(ARGV[4]) > seq then return {'BACK'} end\n"

extern const char SCRIPT_PAGE_TEXT[];

#endif
