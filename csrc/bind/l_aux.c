/* Shared checkers of the bindings; see l_aux.h. */
#include "bind/l_aux.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/pattern.h"
#include "base/status.h"
#include "fan/feed.h"
#include "fan/tick.h"

#include <string.h>

int lx_fail_text(lua_State *L, int err, const char *message) {
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, status_name(err));
    return 3;
}

int lx_fail(lua_State *L, int err) {
    return lx_fail_text(L, err, status_text(err));
}

static const char *push_excess(lua_State *L, const struct event *e) {
    if (e->key.n > EVENT_KEY_MAX)
        return lua_pushfstring(L, "the key has %I bytes, the limit is %d",
                               (lua_Integer)e->key.n, EVENT_KEY_MAX);
    if (e->data.n > EVENT_BYTES_MAX)
        return lua_pushfstring(L, "the data has %I bytes, the limit is %d",
                               (lua_Integer)e->data.n, EVENT_BYTES_MAX);
    return lua_pushfstring(L,
                           "the data has %I bytes, with U+FFFD for each that is no "
                           "UTF-8; the limit is %d",
                           (lua_Integer)frame_data_bytes(e->data), EVENT_BYTES_MAX);
}

int lx_fail_event(lua_State *L, int err, const struct event *e) {
    if (err == E_BADFIELD) return lx_fail_text(L, err, frame_check_name(e->name));
    if (err == E_CHANNEL) return lx_fail_text(L, err, pattern_check_channel(e->channel));
    if (err == E_TOOBIG) return lx_fail_text(L, err, push_excess(L, e));
    return lx_fail(L, err);
}

void lx_pushslice(lua_State *L, struct slice s) {
    lua_pushlstring(L, s.p ? s.p : "", s.n);
}

void lx_pushnumber(lua_State *L, int index) {
    char text[NUMBER_TEXT_MAX];
    size_t n = lua_isinteger(L, index)
                   ? number_text_integer(text, lua_tointeger(L, index))
                   : number_text(text, lua_tonumber(L, index));
    lua_pushlstring(L, text, n);
}

void lx_set_integer(lua_State *L, const char *name, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

void lx_set_boolean(lua_State *L, const char *name, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

void lx_set_number(lua_State *L, const char *name, double value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

void lx_newtype(lua_State *L, const char *name, const luaL_Reg *methods) {
    if (luaL_newmetatable(L, name)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}

void lx_pushalive(lua_State *L) {
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, mem_live());
    lua_setfield(L, -2, "memory");
    lua_pushinteger(L, frame_live());
    lua_setfield(L, -2, "frames");
    lua_pushinteger(L, block_live());
    lua_setfield(L, -2, "blocks");
}

const char *lx_kind_name(enum channel_kind kind) {
    static const char *const names[] = {"log", "state", "keyed"};
    return names[kind];
}

struct slice lx_checkslice(lua_State *L, int index) {
    size_t n;
    const char *p = luaL_checklstring(L, index, &n);
    return slice_of(p, n);
}

struct slice lx_optslice(lua_State *L, int index) {
    return lua_isnoneornil(L, index) ? slice_of("", 0) : lx_checkslice(L, index);
}

int64_t lx_ms(double seconds) {
    const double longest = 1e14; /* 3,000 years: no sum with a clock overflows */
    double ms = seconds * 1000;
    if (!(ms > 0)) return 0;
    int64_t whole = (int64_t)(ms < longest ? ms : longest);
    return (double)whole < ms && ms < longest ? whole + 1 : whole;
}

void *lx_scratch(lua_State *L, size_t size) {
    luaL_checkstack(L, 8, "too many values");
    void *p = lua_newuserdatauv(L, size, 0);
    memset(p, 0, size);
    return p;
}

void *lx_box(lua_State *L, size_t size, lua_CFunction gc) {
    void *p = lx_scratch(L, size);
    lua_pushcfunction(L, gc); /* its own key in the registry */
    if (lua_rawget(L, LUA_REGISTRYINDEX) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, gc);
        lua_pushvalue(L, -2);
        lua_rawset(L, LUA_REGISTRYINDEX);
    }
    lua_setmetatable(L, -2);
    return p;
}

static int buf_gc(lua_State *L) {
    buf_free(lua_touserdata(L, 1));
    return 0;
}

struct buf *lx_newbuf(lua_State *L) {
    return lx_box(L, sizeof(struct buf), buf_gc);
}

void lx_addname(lua_State *L, struct buf *names, struct slice name) {
    if (buf_reserve(names, name.n + 1) < 0) luaL_error(L, "out of memory");
    (void)buf_add(names, name.p, name.n);
    (void)buf_add(names, "", 1);
}

void lx_pushnames(lua_State *L, struct buf *names) {
    lua_Integer n = 0;
    lua_newtable(L);
    for (size_t i = 0, length; i < names->n; i += length + 1) {
        length = strlen(names->p + i);
        lua_pushlstring(L, names->p + i, length);
        lua_rawseti(L, -2, ++n);
    }
    buf_free(names);
}

/* ---- Fields ------------------------------------------------------------------------- */

static int wrong_field(lua_State *L, const char *name, const char *wanted) {
    return luaL_error(L, "field '%s': a %s is expected, got a %s", name, wanted,
                      luaL_typename(L, -1));
}

struct slice lx_field_slice(lua_State *L, int index, const char *name) {
    struct slice s = slice_of("", 0);
    if (lua_getfield(L, index, name) == LUA_TSTRING) s.p = lua_tolstring(L, -1, &s.n);
    else if (!lua_isnil(L, -1)) wrong_field(L, name, "string");
    lua_pop(L, 1);
    return s;
}

double lx_field_number(lua_State *L, int index, const char *name, double absent) {
    double n = absent;
    if (lua_getfield(L, index, name) == LUA_TNUMBER) n = lua_tonumber(L, -1);
    else if (!lua_isnil(L, -1)) wrong_field(L, name, "number");
    lua_pop(L, 1);
    return n;
}

bool lx_field_bool(lua_State *L, int index, const char *name, bool absent) {
    bool given = lua_getfield(L, index, name) != LUA_TNIL;
    bool value = given ? lua_toboolean(L, -1) : absent;
    lua_pop(L, 1);
    return value;
}

/* ---- Plans -------------------------------------------------------------------------- */

/* The list on top of the stack is replaced by the scratch that holds its items; a nil
 * stays. */
static struct filter_list read_list(lua_State *L, const char *name) {
    struct filter_list list = {0};
    if (lua_isnil(L, -1)) return list;
    if (!lua_istable(L, -1)) wrong_field(L, name, "list");
    int table = lua_gettop(L);
    lua_Unsigned n = lua_rawlen(L, table);
    if (n > FILTER_ITEMS_MAX)
        luaL_error(L, "'%s' has %d items, the limit is %d", name, (int)n,
                   FILTER_ITEMS_MAX);
    struct slice *items = lx_scratch(L, (size_t)(n + 1) * sizeof *items);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, table, (lua_Integer)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
            wrong_field(L, name, "list of strings");
        if (lua_type(L, -1) == LUA_TNUMBER) { /* keep the text alive in the table */
            lx_pushnumber(L, -1);
            lua_replace(L, -2);
            lua_pushvalue(L, -1);
            lua_rawseti(L, table, (lua_Integer)i + 1);
        }
        items[i].p = lua_tolstring(L, -1, &items[i].n);
        lua_pop(L, 1);
    }
    lua_remove(L, table); /* the caller's table still holds the strings */
    return (struct filter_list){items, (uint32_t)n, true};
}

struct filter_list lx_checklist(lua_State *L, int index, const char *name) {
    lua_pushvalue(L, index);
    return read_list(L, name);
}

static struct filter_list field_list(lua_State *L, int table, const char *name) {
    lua_getfield(L, table, name);
    return read_list(L, name);
}

static int32_t field_rewind(lua_State *L, int table) {
    int32_t rewind = REWIND_DEFAULT;
    int type = lua_getfield(L, table, "rewind");
    if (type == LUA_TNUMBER) {
        double n = lua_tonumber(L, -1);
        if (!(n >= 0 && n <= HISTORY_EVENTS_MAX))
            luaL_error(L, "'rewind' is out of range");
        rewind = (int32_t)n;
    } else if (type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "all") == 0) {
        rewind = REWIND_ALL;
    } else if (type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "latest") == 0) {
        rewind = REWIND_LATEST;
    } else if (type != LUA_TNIL) {
        luaL_error(L, "'rewind' is a number, \"all\" or \"latest\"");
    }
    lua_pop(L, 1);
    return rewind;
}

/* "max_rate", events per second; 0 when it is absent. */
static uint32_t field_period(lua_State *L, int table) {
    return tick_period_of_rate(lx_field_number(L, table, "max_rate", 0));
}

struct sub_spec lx_checkwanted(lua_State *L, int index) {
    index = lua_absindex(L, index);
    luaL_checktype(L, index, LUA_TTABLE);
    uint32_t period_ms = field_period(L, index);
    struct filter_list types = field_list(L, index, "types");
    struct filter_list keys = field_list(L, index, "keys");
    return (struct sub_spec){.types = types, .keys = keys, .period_ms = period_ms};
}

struct sub_spec lx_checkspec(lua_State *L, int index) {
    index = lua_absindex(L, index);
    struct sub_spec spec = {.rewind = REWIND_DEFAULT};
    if (lua_type(L, index) == LUA_TSTRING) {
        spec.channel = lx_checkslice(L, index);
        lua_pushnil(L); /* where the lists would be */
        lua_pushnil(L);
        return spec;
    }
    luaL_checktype(L, index, LUA_TTABLE);
    spec.channel = lx_field_slice(L, index, "name");
    if (spec.channel.n == 0) {
        lua_rawgeti(L, index, 1);
        spec.channel = lx_checkslice(L, -1);
        lua_pop(L, 1);
    }
    spec.rewind = field_rewind(L, index);
    struct sub_spec wanted = lx_checkwanted(L, index);
    spec.period_ms = wanted.period_ms;
    spec.types = wanted.types;
    spec.keys = wanted.keys;
    return spec;
}

/* { feed = { type =, closes = } }: the plan is that of a feed. What 'closes' lies in stays on
 * the stack. */
static struct feed_spec check_feed(lua_State *L, int index) {
    struct feed_spec feed = {.kind = FEED_NONE};
    int at = lua_gettop(L) + 1;
    if (lua_getfield(L, index, "feed") == LUA_TTABLE) {
        feed.type = lx_field_slice(L, at, "type");
        feed.kind = feed_kind_of(feed.type);
        feed.closes = field_list(L, at, "closes");
        feed.wait_ms = (uint32_t)(lx_field_number(L, at, "wait", FEED_WAIT_S) * 1000);
    }
    lua_remove(L, at);
    return feed;
}

static struct plan_options check_options(lua_State *L, int index, bool usual) {
    struct plan_options o = {.heartbeat = lx_field_number(L, index, "heartbeat", -1),
                             .expires = lx_field_number(L, index, "expires", 0)};
    if (usual) return o;
    o.plain = lua_getfield(L, index, "control") == LUA_TBOOLEAN && !lua_toboolean(L, -1);
    lua_pop(L, 1);
    o.feed = check_feed(L, index);
    o.plain = o.plain || o.feed.kind != FEED_NONE;
    return o;
}

/* What holds for all channels of a plan. */
static struct sub_spec check_common(lua_State *L, int index) {
    struct sub_spec common = {.rewind = field_rewind(L, index)};
    struct sub_spec wanted = lx_checkwanted(L, index);
    common.types = wanted.types;
    common.keys = wanted.keys;
    common.period_ms = wanted.period_ms;
    return common;
}

/* 'is_usual' says that there are no options but a heartbeat and the end of the user's time. */
struct plan_spec lx_checkplan(lua_State *L, int index) {
    index = lua_absindex(L, index);
    luaL_checktype(L, index, LUA_TTABLE);
    bool usual = lx_field_bool(L, index, "is_usual", false);
    struct plan_spec plan = {.options = check_options(L, index, usual)};
    struct sub_spec common = {.rewind = REWIND_DEFAULT};
    if (!usual) common = check_common(L, index);
    lua_getfield(L, index, "channels");
    luaL_checktype(L, -1, LUA_TTABLE);
    int list = lua_gettop(L);
    plan.n = (uint32_t)lua_rawlen(L, list);
    if (plan.n > STREAM_CHANNELS_MAX)
        luaL_error(L, "a stream may follow %d channels, this plan names %d",
                   STREAM_CHANNELS_MAX, (int)plan.n);
    struct sub_spec *subs = lx_scratch(L, (plan.n + 1) * sizeof *subs);
    luaL_checkstack(L, 3 * (int)plan.n + 8, "plan");
    for (uint32_t i = 0; i < plan.n; i++) {
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        struct sub_spec spec = lx_checkspec(L, -1);
        if (!spec.types.given) spec.types = common.types;
        if (!spec.keys.given) spec.keys = common.keys;
        if (spec.rewind == REWIND_DEFAULT) spec.rewind = common.rewind;
        if (spec.period_ms < common.period_ms) spec.period_ms = common.period_ms;
        subs[i] = spec;
    }
    plan.subs = subs;
    return plan;
}

/* The name on top as one of the plan's channels. */
static bool read_name(lua_State *L, struct sub_spec *sub) {
    if (lua_type(L, -1) != LUA_TSTRING) return false;
    *sub = (struct sub_spec){.channel = lx_checkslice(L, -1), .rewind = REWIND_DEFAULT};
    return !pattern_check_channel(sub->channel);
}

/* The list on top, of names of channels alone. Returns how many. */
static uint32_t read_names(lua_State *L, struct sub_spec *subs) {
    int list = lua_gettop(L);
    lua_Unsigned n = lua_rawlen(L, list), found = 0;
    if (n > PLAN_USUAL_MAX) return 0;
    for (lua_pushnil(L); lua_next(L, list); lua_pop(L, 1)) {
        lua_Integer i = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (i < 1 || i > (lua_Integer)n || !read_name(L, &subs[i - 1])) return 0;
        found++;
    }
    return found == n ? (uint32_t)n : 0;
}

/* A field whose name lies below its value, on top. False: it is another one, or wrong. */
static bool read_usual(lua_State *L, struct usual_plan *out) {
    int type = lua_type(L, -1);
    if (lua_type(L, -2) != LUA_TSTRING) return false;
    struct slice name = lx_checkslice(L, -2);
    if (slice_eq_lit(name, "channels")) {
        out->spec.n = type == LUA_TTABLE ? read_names(L, out->subs) : 0;
        return out->spec.n > 0;
    }
    double seconds = type == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    out->spec.options.heartbeat = seconds;
    return slice_eq_lit(name, "heartbeat") && seconds >= 1 && seconds <= 3600;
}

static bool read_plan(lua_State *L, int index, struct usual_plan *out) {
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        out->spec.n = read_name(L, &out->subs[0]);
        return true;
    }
    if (!lua_istable(L, index) || luaL_getmetafield(L, index, "__index") != LUA_TNIL)
        return false;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        if (!read_usual(L, out)) return false;
    return true;
}

bool lx_testplan(lua_State *L, int index, struct usual_plan *out) {
    int top = lua_gettop(L);
    out->spec = (struct plan_spec){.subs = out->subs, .options = {.heartbeat = -1}};
    bool good = read_plan(L, index, out);
    lua_settop(L, top);
    return good && out->spec.n > 0;
}

int lx_usual_plan(lua_State *L) {
    struct usual_plan usual;
    lua_settop(L, 1);
    if (!lx_testplan(L, 1, &usual)) return 0;
    lua_createtable(L, (int)usual.spec.n, 0);
    for (uint32_t i = 0; i < usual.spec.n; i++) {
        lx_pushslice(L, usual.subs[i].channel);
        lua_rawseti(L, 2, (lua_Integer)i + 1);
    }
    double heartbeat = usual.spec.options.heartbeat;
    if (heartbeat < 0) return 1;
    lua_pushnumber(L, heartbeat);
    return 2;
}

/* ---- Policies ----------------------------------------------------------------------- */

static void read_history(lua_State *L, int table, struct policy_rule *rule) {
    int type = lua_getfield(L, table, "history");
    struct policy *v = &rule->values;
    if (type == LUA_TSTRING) {
        if (strcmp(lua_tostring(L, -1), "latest") != 0)
            luaL_error(L, "'history' is a number, a table or \"latest\"");
        v->latest = true;
        rule->set |= POLICY_HISTORY;
    } else if (type == LUA_TNUMBER) {
        v->history = (uint32_t)lua_tonumber(L, -1);
        rule->set |= POLICY_HISTORY;
    } else if (type == LUA_TTABLE) {
        int history = lua_gettop(L);
        v->history = (uint32_t)lx_field_number(L, history, "count", HISTORY_EVENTS_MAX);
        v->history_bytes = (uint64_t)lx_field_number(L, history, "bytes", 0);
        rule->set |= POLICY_HISTORY | POLICY_BYTES;
    }
    lua_pop(L, 1);
}

/* false: events do not age, whatever a wider pattern says. */
static void read_ttl(lua_State *L, int table, struct policy_rule *rule) {
    int type = lua_getfield(L, table, "ttl");
    bool never = type == LUA_TBOOLEAN && !lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (type == LUA_TNIL) return;
    rule->values.ttl_ms = never ? 0 : lx_ms(lx_field_number(L, table, "ttl", 0));
    rule->set |= POLICY_TTL;
}

/* A rate of 0 is given too: it takes away what a wider pattern says. */
static void read_ticks(lua_State *L, int table, struct policy_rule *rule) {
    double rate = lx_field_number(L, table, "max_rate", -1);
    double batch = lx_field_number(L, table, "batch", -1);
    rule->values.period_ms = tick_period_of_rate(rate);
    rule->values.batch_ms = tick_period(batch * 1000);
    if (rate >= 0) rule->set |= POLICY_MAX_RATE;
    if (batch >= 0) rule->set |= POLICY_BATCH;
}

static void read_rule(lua_State *L, int table, struct policy_rule *rule) {
    struct policy *v = &rule->values;
    rule->pattern = (char *)lx_field_slice(L, table, "pattern").p;
    rule->key = (char *)lx_field_slice(L, table, "key").p;
    if (rule->key[0]) rule->set |= POLICY_KEY;
    read_history(L, table, rule);
    read_ttl(L, table, rule);
    double max_keys = lx_field_number(L, table, "max_keys", -1);
    if (max_keys >= 1) {
        v->max_keys = (uint32_t)max_keys;
        rule->set |= POLICY_MAX_KEYS;
    }
    v->rewind = field_rewind(L, table);
    if (v->rewind != REWIND_DEFAULT) rule->set |= POLICY_REWIND;
    struct slice slow = lx_field_slice(L, table, "slow");
    v->slow = slice_eq_lit(slow, "close") ? SLOW_CLOSE : SLOW_RESET;
    if (slow.n > 0) rule->set |= POLICY_SLOW;
    v->reads = lx_field_bool(L, table, "denies", false);
    if (lua_getfield(L, table, "durable") != LUA_TNIL) rule->set |= POLICY_DURABLE;
    v->durable = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (lua_getfield(L, table, "shared") != LUA_TNIL) rule->set |= POLICY_SHARED;
    v->local = (rule->set & POLICY_SHARED) && !lua_toboolean(L, -1);
    lua_pop(L, 1);
    read_ticks(L, table, rule);
    double budget = lx_field_number(L, table, "budget", -1);
    if (budget >= 0) rule->set |= POLICY_BUDGET;
    v->budget = budget > 0 ? (uint64_t)budget : 0;
}

struct policy_set *lx_checkpolicies(lua_State *L, int index) {
    index = lua_absindex(L, index);
    luaL_checktype(L, index, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, index);
    struct policy_rule *rules = lx_scratch(L, (size_t)(n + 1) * sizeof *rules);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        read_rule(L, lua_gettop(L), &rules[i]);
        lua_pop(L, 1);
    }
    struct policy_set *set = policy_set_new(rules, (uint32_t)n);
    lua_pop(L, 1);
    return set;
}
