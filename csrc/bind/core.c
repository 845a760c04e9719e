/* sluice.core: the functions that belong to no server. See lua/sluice/meta/ for the
 * whole list as an editor sees it. */
#include "base/bounds.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_kept.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/quoted.h"
#include "base/rand.h"
#include "base/status.h"
#include "base/version.h"
#include "bind/budget.h"
#include "bind/build.h"
#include "bind/child.h"
#include "bind/crypto.h"
#include "bind/decoder.h"
#include "bind/disk.h"
#include "bind/host.h"
#include "bind/listener.h"
#include "bind/manager.h"
#include "bind/json.h"
#include "bind/l_aux.h"
#include "bind/rehearsal.h"
#include "bind/server_type.h"
#include "bind/store_tools.h"
#include "bind/wanted.h"
#include "fan/frame.h"
#include "net/http_bytes.h"
#include "net/http_field.h"

#include <unistd.h>

/* ---- Time and chance ---------------------------------------------------------------- */

/* core.now() -> monotonic seconds; core.time() -> seconds since 1970 */
static int l_now(lua_State *L) {
    lua_pushnumber(L, clock_seconds());
    return 1;
}

static int l_time(lua_State *L) {
    lua_pushnumber(L, clock_wall());
    return 1;
}

/* core.id() -> 22 characters that cannot be guessed */
static int l_id(lua_State *L) {
    char id[23];
    rand_base64url(id, 22);
    lua_pushstring(L, id);
    return 1;
}

/* core.random() -> a number in [0, 1) */
static int l_random(lua_State *L) {
    uint64_t bits;
    rand_bytes(&bits, sizeof bits);
    lua_pushnumber(L, (double)(bits >> 11) / 9007199254740992.0);
    return 1;
}

/* ---- Names -------------------------------------------------------------------------- */

/* core.match(pattern, name) -> captures | nil */
static int l_match(lua_State *L) {
    struct capture captures[PATTERN_CAPTURES_MAX];
    int n = pattern_match(lx_checkslice(L, 1), lx_checkslice(L, 2), captures);
    if (n < 0) return 0;
    lua_createtable(L, 0, n);
    for (int i = 0; i < n; i++) {
        lx_pushslice(L, captures[i].name);
        lx_pushslice(L, captures[i].value);
        lua_rawset(L, -3);
    }
    return 1;
}

/* The first argument, or nil, message, code. */
static int checked(lua_State *L, const char *trouble, int code) {
    if (trouble) return lx_fail_text(L, code, trouble);
    lua_settop(L, 1);
    return 1;
}

/* core.check_pattern(pattern) -> pattern | nil, message, code; and so on */
static int l_check_pattern(lua_State *L) {
    return checked(L, pattern_check(lx_checkslice(L, 1)), E_INVAL);
}

/* core.headers(text) -> { name = value }: what a request brings as header_text; repeated
 * fields are joined by ", " (RFC 9110, 5.3), cookies by "; " (RFC 6265, 5.4). */
static int l_headers(lua_State *L) {
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n), *end = p + n;
    lua_settop(L, 1);
    lua_newtable(L);
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        luaL_argcheck(L, value < end, 1, "names and values with a NUL behind each");
        if (lua_getfield(L, 2, p) == LUA_TSTRING) {
            const char *comma = strcmp(p, "cookie") == 0 ? "; " : ", ";
            lua_pushfstring(L, "%s%s%s", lua_tostring(L, -1), comma, value);
            lua_remove(L, -2);
        } else {
            lua_pop(L, 1);
            lua_pushstring(L, value);
        }
        lua_setfield(L, 2, p);
        p = value + strlen(value) + 1;
    }
    return 1;
}

/* core.media_type(text) -> "application/json", without parameters, in lower case; or nil: it
 * is no media type */
static int l_media_type(lua_State *L) {
    struct slice type = http_media_type(lx_checkslice(L, 1));
    if (!type.p) return 0;
    luaL_Buffer b;
    char *p = luaL_buffinitsize(L, &b, type.n);
    for (size_t i = 0; i < type.n; i++) p[i] = http_lower(type.p[i]);
    luaL_pushresultsize(&b, type.n);
    return 1;
}

static int l_check_channel(lua_State *L) {
    return checked(L, pattern_check_channel(lx_checkslice(L, 1)), E_CHANNEL);
}

static int l_check_event(lua_State *L) {
    return checked(L, frame_check_name(lx_checkslice(L, 1)), E_BADFIELD);
}

/* core.encode_utf8(text) -> text with NUL and invalid UTF-8 replaced by U+FFFD */
static int l_encode_utf8(lua_State *L) {
    struct slice text = lx_checkslice(L, 1);
    struct buf *b = lx_newbuf(L);
    if (frame_repair(text, b) < 0) return luaL_error(L, "out of memory");
    lx_pushslice(L, buf_slice(b));
    buf_free(b);
    return 1;
}

/* core.mail_text(text) -> text in lines of a mail, whether it is not quoted-printable */
static int l_mail_text(lua_State *L) {
    bool plain;
    struct slice text = lx_checkslice(L, 1);
    struct buf *b = lx_newbuf(L);
    if (quoted_write(b, text, &plain) < 0) return luaL_error(L, "out of memory");
    lx_pushslice(L, buf_slice(b));
    lua_pushboolean(L, plain);
    buf_free(b);
    return 2;
}

/* core.text_of(value) -> text: a number as in JSON (or nan, inf, -inf), others as by
 * tostring() */
static int l_text_of(lua_State *L) {
    luaL_checkany(L, 1);
    if (lua_type(L, 1) == LUA_TNUMBER) lx_pushnumber(L, 1);
    else luaL_tolstring(L, 1, NULL);
    return 1;
}

/* core.merge(policies, channel) -> kind, max_rate (0: none), durable, history, shared: what they
 * come to for it */
static int l_merge(lua_State *L) {
    struct slice channel = lx_checkslice(L, 2);
    struct policy_set *set = lx_checkpolicies(L, 1);
    struct policy p = policy_of(set, channel);
    policy_set_unref(set); /* its slices are not looked at from here on */
    lua_pushstring(L, lx_kind_name(policy_kind(&p)));
    lua_pushnumber(L, p.period_ms ? 1000.0 / p.period_ms : 0);
    lua_pushboolean(L, p.durable);
    lua_pushinteger(L, (lua_Integer)p.history);
    lua_pushboolean(L, !p.local);
    return 5;
}

/* core.weight(pattern) -> a number: of two policies that match, the greater one wins */
static int l_weight(lua_State *L) {
    lua_pushinteger(L, pattern_weight(lx_checkslice(L, 1)));
    return 1;
}

/* ---- Log ---------------------------------------------------------------------------- */

/* The value on top of the stack. Texts are borrowed. */
static void read_value(lua_State *L, struct log_field *f) {
    f->is_integer = lua_isinteger(L, -1);
    if (f->is_integer) f->integer = lua_tointeger(L, -1);
    else if (lua_type(L, -1) == LUA_TNUMBER) f->number = lua_tonumber(L, -1);
    else if (lua_type(L, -1) == LUA_TSTRING) f->text = lua_tolstring(L, -1, &f->text_n);
    else if (lua_isboolean(L, -1)) f->text = lua_toboolean(L, -1) ? "true" : "false";
    else f->text = luaL_typename(L, -1);
}

/* The fields of the table at index 3. */
static size_t read_fields(lua_State *L, struct log_field *fields) {
    size_t n = 0, all = 0;
    if (!lua_istable(L, 3)) return 0;
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || ++all > LOG_FIELDS_MAX) continue;
        struct log_field *f = &fields[n++];
        *f = (struct log_field){0};
        f->name = lua_tolstring(L, -2, &f->name_n);
        read_value(L, f);
    }
    if (all == n) return n;
    fields[n] = (struct log_field){.name = "more", .number = (double)(all - n)};
    return n + 1;
}

/* core.log(level, message[, fields]) */
static int l_log(lua_State *L) {
    int level = log_level_of(luaL_checkstring(L, 1));
    luaL_argcheck(L, level >= 0, 1, "debug, info, warn or error");
    struct slice message = lx_checkslice(L, 2);
    struct log_field fields[LOG_FIELDS_MAX + 1];
    size_t n = read_fields(L, fields);
    log_write_slice((enum log_level)level, message, fields, n);
    return 0;
}

/* core.log_setup([level[, format]]): info, and text on a terminal and for the journal, else json */
static int l_log_setup(lua_State *L) {
    int level = log_level_of(luaL_optstring(L, 1, "info"));
    luaL_argcheck(L, level >= 0, 1, "debug, info, warn, error or off");
    bool journal = manager_reads_log();
    bool is_read = journal || isatty(STDERR_FILENO);
    const char *format = luaL_optstring(L, 2, is_read ? "text" : "json");
    bool json = strcmp(format, "json") == 0;
    luaL_argcheck(L, json || strcmp(format, "text") == 0, 2, "text or json");
    log_configure((enum log_level)level, (struct log_form){json, journal});
    return 0;
}

/* core.log_keep(on): what the core says of itself is kept besides; for tests */
static int l_log_keep(lua_State *L) {
    log_kept_set(lua_toboolean(L, 1));
    return 0;
}

/* core.log_kept() -> level, message | nothing: the oldest that is kept, once */
static int l_log_kept(lua_State *L) {
    enum log_level level;
    char text[1024];
    if (!log_kept_take(&level, text, sizeof text)) return 0;
    lua_pushstring(L, log_level_name(level));
    lua_pushstring(L, text);
    return 2;
}

/* core.alive() -> what is allocated now, for specs: all of it ends at what it was */
static int l_alive(lua_State *L) {
    lx_pushalive(L);
    return 1;
}

/* A list of what is behind reasons, for the operator; what is without a word is left out. */
static void push_causes(lua_State *L, const char *(*word)(int), int n) {
    lua_newtable(L);
    for (int i = 0; i < n; i++) {
        if (word(i)[0] == '\0') continue;
        lua_pushstring(L, word(i));
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
}

static const char *end_cause_word(int i) {
    return reason_cause((enum end_cause)i);
}

static const char *lost_by_word(int i) {
    return loss_word((enum lost_by)i);
}

/* core.reasons: the rows of fan/reason as { bye = { word = {…} }, reset = { word = true } };
 * the ends without a bye are among those of bye. And what is noted behind them: { causes = { word, … },
 * lost = { word, … } }. */
static void push_reasons(lua_State *L) {
    static const char *const places[] = {"after all", "at the cursor", "at once"};
    static const char *const retries[] = {"usual", "overload", "limit", "drain", "never"};
    lua_createtable(L, 0, 4);
    lua_createtable(L, 0, END_REASONS);
    for (int i = END_NONE + 1; i < END_REASONS; i++) {
        const struct end_row *row = reason_end((enum end_reason)i);
        lua_createtable(L, 0, 4);
        lua_pushstring(L, places[row->when]);
        lua_setfield(L, -2, "place");
        lua_pushstring(L, retries[row->retry]);
        lua_setfield(L, -2, "retry");
        lx_set_boolean(L, "has_bye", row->has_bye);
        lx_set_boolean(L, "stays_away", row->stays_away);
        lua_setfield(L, -2, row->word);
    }
    lua_setfield(L, -2, "bye");
    lua_createtable(L, 0, RESET_REASONS);
    for (int i = RESET_NONE + 1; i < RESET_REASONS; i++)
        lx_set_boolean(L, reason_reset((enum reset_reason)i)->word, true);
    lua_setfield(L, -2, "reset");
    push_causes(L, end_cause_word, END_CAUSES);
    lua_setfield(L, -2, "causes");
    push_causes(L, lost_by_word, LOST_CAUSES);
    lua_setfield(L, -2, "lost");
}

#define LIMIT(name) \
    { #name, (double)(name) }

/* core.limits: what the Lua side checks before the core does, by the names of
 * base/bounds.h; and the defaults of settings. */
static void push_limits(lua_State *L) {
    static const struct {
        const char *name;
        double value;
    } limits[] = {LIMIT(STREAM_CHANNELS_MAX), LIMIT(FILTER_ITEMS_MAX),
                  LIMIT(RATE_LEAST),          LIMIT(CONNECTIONS_MAX_DEFAULT),
                  LIMIT(HISTORY_EVENTS_MAX),  LIMIT(SLOWEST_MAX),
                  LIMIT(BACKLOG_EVENTS_MAX),  LIMIT(BACKLOG_BYTES_MAX),
                  LIMIT(STATIC_FILE_MAX),     LIMIT(STATIC_BYTES_MAX),
                  LIMIT(WATCHED_FILES_MAX),   LIMIT(URL_PARAMS_MAX),
                  LIMIT(JSON_DEPTH_MAX),      LIMIT(IO_THREADS_MAX),
                  LIMIT(MEMORY_DEFAULT),      LIMIT(MAX_BODY_DEFAULT),
                  LIMIT(HEARTBEAT_MS),        LIMIT(DRAIN_MS),
                  LIMIT(HEAD_TIMEOUT_MS),     LIMIT(BODY_TIMEOUT_MS),
                  LIMIT(IDLE_TIMEOUT_MS),     LIMIT(REQUEST_TIMEOUT_MS),
                  LIMIT(STALL_TIMEOUT_MS),    LIMIT(PAIRS_BYTES_MAX),
                  LIMIT(PAIR_KEY_MAX),        LIMIT(MAIL_TO_MAX),
                  LIMIT(HANDED_MAX),          LIMIT(LIMIT_MOST),
                  LIMIT(LIMIT_EXEMPT_MAX),    LIMIT(LEASES_MAX),
                  LIMIT(TOP_STEPS),           LIMIT(EVENT_NAME_MAX)};
    int n = sizeof limits / sizeof *limits;
    lua_createtable(L, 0, n);
    for (int i = 0; i < n; i++) {
        lua_Integer whole = (lua_Integer)limits[i].value;
        if ((double)whole == limits[i].value) lua_pushinteger(L, whole);
        else lua_pushnumber(L, limits[i].value);
        lua_setfield(L, -2, limits[i].name);
    }
}

LX_EXPORT int luaopen_sluice_core(lua_State *L) {
    static const luaL_Reg functions[] = {{"now", l_now},
                                         {"time", l_time},
                                         {"id", l_id},
                                         {"random", l_random},
                                         {"match", l_match},
                                         {"check_pattern", l_check_pattern},
                                         {"check_channel", l_check_channel},
                                         {"usual_plan", lx_usual_plan},
                                         {"check_network", lx_check_network},
                                         {"headers", l_headers},
                                         {"media_type", l_media_type},
                                         {"check_event", l_check_event},
                                         {"encode_utf8", l_encode_utf8},
                                         {"mail_text", l_mail_text},
                                         {"text_of", l_text_of},
                                         {"merge", l_merge},
                                         {"weight", l_weight},
                                         {"log", l_log},
                                         {"log_setup", l_log_setup},
                                         {"log_tail", lx_log_tail},
                                         {"log_keep", l_log_keep},
                                         {"log_kept", l_log_kept},
                                         {"alive", l_alive},
                                         {"server", lx_server_new},
                                         {"disk", lx_disk_new},
                                         {"decoder", lx_decoder_new},
                                         {"store_is_there", lx_store_is_there},
                                         {"sql_look", lx_sql_look},
                                         {NULL, NULL}};
    wanted_learn(L);
    lx_server_type(L);
    luaL_newlib(L, functions);
    budget_add_functions(L);
    child_add_functions(L);
    crypto_add_functions(L);
    host_add_functions(L);
    listener_add_functions(L);
    manager_add_functions(L);
    build_add_functions(L);
    json_add_functions(L);
    rehearsal_add_functions(L);
    store_tools_add(L);
    push_reasons(L);
    lua_setfield(L, -2, "reasons");
    push_limits(L);
    lua_setfield(L, -2, "limits");
    lua_pushstring(L, SLUICE_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
