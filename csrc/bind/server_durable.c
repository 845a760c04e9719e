/* The store of the server object: what is committed, and what was there at the start. A
 * commit gives a ticket, which the callback "answer" brings back (server_events.c). */
#include "base/mem.h"
#include "base/status.h"
#include "bind/budget.h"
#include "bind/disk.h"
#include "bind/server_type.h"
#include "serve/app/shared.h"

static int fail(lua_State *L, int err, const char *why) {
    return why ? lx_fail_text(L, err, why) : lx_fail(L, err);
}

/* server:store_open{ folder = | disk =, weak = } -> { epoch, is_new, is_clean, is_late }
 *   | nil, message, code: after configure. Of a server that runs it goes on with its epoch
 * and its numbers. */
static int l_store_open(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, !s->server->durable, 1, "the store is open");
    struct slice folder = lx_field_slice(L, 2, "folder");
    struct durable_place place = {.folder = folder.p,
                                  .disk = lx_field_disk(L, 2, "disk"),
                                  .weak = lx_field_bool(L, 2, "weak", false)};
    struct store_start start;
    const char *why;
    int err = durable_open(s->server, &place, &start, &why);
    if (err < 0) return fail(L, err, why);
    lua_createtable(L, 0, 4);
    lx_set_boolean(L, "is_late", s->server->hub.started);
    lua_pushstring(L, start.epoch);
    lua_setfield(L, -2, "epoch");
    lx_set_boolean(L, "is_new", start.is_new);
    lx_set_boolean(L, "is_clean", start.is_clean);
    return 1;
}

static int push_ticket(lua_State *L, uint64_t ticket) {
    lua_pushinteger(L, (lua_Integer)ticket);
    return 1;
}

/* A ticket; or 0, and what is returned instead is pushed: *n values. */
static uint64_t commit(lua_State *L, const struct commit *c, int *n) {
    struct lx_server *s = lx_checkserver(L);
    uint64_t ticket;
    int err = s->server->hub.cluster ? shared_commit(s->server, c, &ticket)
                                     : durable_commit(s->server, c, &ticket);
    if (err == 0) return ticket;
    *n = lx_fail_event(L, err, &c->event);
    return 0;
}

/* server:commit_event(channel, event, text[, key, remove, ttl, update, idempotency, lease, judged,
 * expected, owned, kept]) -> ticket | nil, message, code */
static int l_commit_event(lua_State *L) {
    struct commit c = {.event = {.channel = lx_checkslice(L, 2),
                                 .name = lx_optslice(L, 3),
                                 .data = lx_checkslice(L, 4),
                                 .key = lx_optslice(L, 5),
                                 .remove = lua_toboolean(L, 6),
                                 .ttl_ms = lx_ms(luaL_optnumber(L, 7, 0))},
                       .update = lua_toboolean(L, 8),
                       .idempotency = lx_optslice(L, 9),
                       .lease = (uint64_t)luaL_optinteger(L, 10, 0),
                       .is_judged = lua_toboolean(L, 11),
                       .is_owned = lua_toboolean(L, 13),
                       .is_kept = lua_toboolean(L, 14)};
    int n = 0;
    if (!lua_isnoneornil(L, 12)) c.expected = lx_checkslice(L, 12);
    uint64_t ticket = commit(L, &c, &n);
    return ticket ? push_ticket(L, ticket) : n;
}

#define TEXT_ARGS 5

/* The answer lies behind the arguments. */
static int on_committed(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    int answer = TEXT_ARGS + 1, n = lua_gettop(L) - answer;
    if (lua_toboolean(L, answer)) return n;
    lua_pushnil(L);
    lua_replace(L, answer);
    return n + 1;
}

/* server:commit_text(channel, event, data, fiber)
 *   -> id, subscribers, again | nil, message, code
 *   | nothing: event or data is no text, or the caller cannot wait for the answer
 * Waits: waiting[ticket] becomes the fiber, which yields the mark and is resumed with what
 * on_answer is told from 'ok' on. */
static int l_commit_text(lua_State *L) {
    if (!lx_are_texts(L) || !budget_can_wait(L)) return 0;
    struct commit c = {.event = {.channel = lx_checkslice(L, 2),
                                 .name = lx_optslice(L, 3),
                                 .data = lx_checkslice(L, 4)}};
    int n = 0;
    uint64_t ticket = commit(L, &c, &n);
    if (!ticket) return n;
    struct lx_server *s = lx_checkserver(L);
    lua_settop(L, TEXT_ARGS);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->waiting);
    lua_pushvalue(L, TEXT_ARGS);
    lua_rawseti(L, -2, (lua_Integer)ticket);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->mark);
    lua_replace(L, -2);
    return lua_yieldk(L, 1, 0, on_committed);
}

/* server:commit_pair(store, key, value | nil) -> ticket | nil, message, code */
static int l_commit_pair(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct store_pair p = {.store = lx_checkslice(L, 2),
                           .key = lx_checkslice(L, 3),
                           .value = lx_optslice(L, 4)};
    uint64_t ticket;
    int err = durable_pair(s->server, &p, lua_isnoneornil(L, 4), &ticket);
    return err < 0 ? lx_fail(L, err) : push_ticket(L, ticket);
}

/* server:commit_task(id, name, data, due | nil) -> ticket | nil, message, code */
static int l_commit_task(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct store_task t = {.id = lx_checkslice(L, 2),
                           .name = lx_optslice(L, 3),
                           .data = lx_optslice(L, 4),
                           .due_ms = (int64_t)(luaL_optnumber(L, 5, 0) * 1000)};
    uint64_t ticket;
    int err = durable_task(s->server, &t, lua_isnoneornil(L, 5), &ticket);
    return err < 0 ? lx_fail(L, err) : push_ticket(L, ticket);
}

static void set_slice(lua_State *L, const char *name, struct slice value) {
    lx_pushslice(L, value);
    lua_setfield(L, -2, name);
}

static void append(lua_State *L) {
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static int add_pair(void *arg, const struct store_pair *p) {
    lua_State *L = arg;
    lua_createtable(L, 0, 3);
    set_slice(L, "store", p->store);
    set_slice(L, "key", p->key);
    set_slice(L, "value", p->value);
    append(L);
    return 0;
}

static int add_task(void *arg, const struct store_task *t) {
    lua_State *L = arg;
    lua_createtable(L, 0, 4);
    set_slice(L, "id", t->id);
    set_slice(L, "name", t->name);
    set_slice(L, "data", t->data);
    lx_set_number(L, "due", (double)t->due_ms / 1000);
    append(L);
    return 0;
}

/* server:stored_pairs() -> { { store, key, value }, … }, damaged: before start */
static int l_stored_pairs(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    uint32_t damaged = 0;
    lua_newtable(L);
    int err = durable_each_pair(s->server, add_pair, L, &damaged);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, damaged);
    return 2;
}

/* server:stored_tasks() -> { { id, name, data, due }, … }, damaged: before start */
static int l_stored_tasks(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    uint32_t damaged = 0;
    lua_newtable(L);
    int err = durable_each_task(s->server, add_task, L, &damaged);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, damaged);
    return 2;
}

/* server:store_stats() -> table | nothing: no store is open */
static int l_store_stats(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct store_stats stats;
    if (!durable_stats(s->server, &stats)) return 0;
    bool used_up;
    lua_createtable(L, 0, 20);
    lx_set_integer(L, "busy", seq_refused(&s->server->hub.seq, &used_up));
    lx_set_integer(L, "commits", stats.commits);
    lx_set_integer(L, "events", stats.events);
    lx_set_integer(L, "failed", stats.failed);
    lx_set_integer(L, "unknown", stats.unknown);
    lx_set_integer(L, "refused", stats.refused);
    lx_set_integer(L, "late", stats.late);
    lx_set_number(L, "commit_seconds",
                  stats.commits ? (double)stats.group_us / 1e6 / (double)stats.commits
                                : 0);
    lx_set_number(L, "commit_seconds_max", (double)stats.group_us_max / 1e6);
    lx_set_integer(L, "queued", stats.queued);
    lx_set_integer(L, "in_flight", stats.in_flight);
    lx_set_integer(L, "reads", stats.reads);
    lx_set_integer(L, "trimmed", stats.trimmed);
    lx_set_integer(L, "wal_pages", stats.wal_pages);
    lx_set_integer(L, "channels", stats.channels);
    lx_set_integer(L, "damaged", stats.damaged);
    lx_set_boolean(L, "in_doubt", stats.in_doubt);
    if (!stats.trouble) return 1;
    lua_pushfstring(L, "%s: %s", stats.trouble, stats.why);
    lua_setfield(L, -2, "trouble");
    return 1;
}

/* server:store_pace(seconds, early): how long commits take. In a rehearsal, as is
 * server:store_kill(): as if the process died now; then close it. */
static int l_store_pace(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    double seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e6, 2, "0 seconds or more");
    durable_pace(s->server, (int64_t)(seconds * 1e6), lua_toboolean(L, 3));
    return 0;
}

/* server:store_hold(on): the disk hangs */
static int l_store_hold(lua_State *L) {
    durable_hold(lx_checkserver(L)->server, lua_toboolean(L, 2));
    return 0;
}

static int l_store_kill(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_argcheck(L, s->server->hub.options.rehearsal, 1, "a rehearsal is expected");
    durable_kill(s->server);
    return 0;
}

/* core.store_is_there(folder) -> whether a start must open it */
int lx_store_is_there(lua_State *L) {
    lua_pushboolean(L, store_is_there(lx_checkslice(L, 1).p));
    return 1;
}

void lx_server_add_durable(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"store_open", l_store_open},     {"commit_event", l_commit_event},
        {"commit_text", l_commit_text},   {"commit_pair", l_commit_pair},
        {"commit_task", l_commit_task},   {"stored_pairs", l_stored_pairs},
        {"stored_tasks", l_stored_tasks}, {"store_stats", l_store_stats},
        {"store_pace", l_store_pace},     {"store_hold", l_store_hold},
        {"store_kill", l_store_kill},     {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
