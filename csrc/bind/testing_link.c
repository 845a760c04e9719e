/* sluice.core.testing_link: a link to Redis that a spec drives, for specs. Not part of the product.
 *
 *     link = testing_link.open { where its server is, see bind/link_table.h }
 *     link:dial()   link:shut()   link:is_up()
 *     link:send(lane, tag, bytes[, extra_ms]) -> true | nil, message, code    lane: "scripts", "feed"
 *     link:shas() -> { join = digest, ... }
 *     link:step(ms) -> list of what happened, after one turn of the loop or so many ms:
 *         { "up", { version =, run =, replid =, safe = } }, { "down", why, refused },
 *         { "warn", text }, { "reply", lane, tag, reply } as in testing_scripts
 *     testing_link.stand(ms) the clock stands so many ms from now; without a number it goes on
 *     link:stats() -> { dials =, ups =, sent =, received =, pending = } */
#include "base/clock.h"
#include "bind/l_aux.h"
#include "bind/link_table.h"
#include "bind/reply_tree.h"

#define LINK "sluice.testing_link"

/* The Lua state of the call that runs the loop: calls of the link add to the list on its top. */
struct driven {
    struct loop loop;
    struct link *link;
    struct ev_timer timer;
    lua_State *L;
};

static const char *const LANES[] = {"scripts", "feed", "keep", NULL};

static struct driven *check(lua_State *L) {
    struct driven *d = luaL_checkudata(L, 1, LINK);
    luaL_argcheck(L, d->link, 1, "it is freed");
    return d;
}

/* ---- What happens ----------------------------------------------------------------------- */

static void begin(lua_State *L, const char *what) {
    lua_newtable(L);
    lua_pushstring(L, what);
    lua_rawseti(L, -2, 1);
}

static void end(lua_State *L) {
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static void add_text(lua_State *L, int at, const char *text) {
    lua_pushstring(L, text);
    lua_rawseti(L, -2, at);
}

static void on_up(void *owner, const struct link_server *server) {
    static const char *const SAFE[] = {"no", "yes", "unknown"};
    lua_State *L = ((struct driven *)owner)->L;
    begin(L, "up");
    lua_newtable(L);
    lua_pushstring(L, server->version);
    lua_setfield(L, -2, "version");
    lua_pushstring(L, server->run);
    lua_setfield(L, -2, "run");
    lua_pushstring(L, server->replid);
    lua_setfield(L, -2, "replid");
    lua_pushstring(L, SAFE[server->safe]);
    lua_setfield(L, -2, "safe");
    lx_set_boolean(L, "has_aof", server->has_aof);
    lx_set_integer(L, "replicas", server->replicas);
    lua_rawseti(L, -2, 2);
    end(L);
}

static void on_reply(void *owner, enum link_lane lane, uint64_t tag,
                     const struct reply *r) {
    lua_State *L = ((struct driven *)owner)->L;
    begin(L, "reply");
    add_text(L, 2, LANES[lane]);
    lua_pushinteger(L, (lua_Integer)tag);
    lua_rawseti(L, -2, 3);
    reply_push(L, r);
    lua_rawseti(L, -2, 4);
    end(L);
}

static void on_down(void *owner, const char *why, bool refused) {
    lua_State *L = ((struct driven *)owner)->L;
    begin(L, "down");
    add_text(L, 2, why);
    lua_pushboolean(L, refused);
    lua_rawseti(L, -2, 3);
    end(L);
}

static void on_warn(void *owner, const char *what) {
    lua_State *L = ((struct driven *)owner)->L;
    begin(L, "warn");
    add_text(L, 2, what);
    end(L);
}

static const struct link_calls CALLS = {on_up, on_reply, on_down, on_warn};

/* ---- Methods ---------------------------------------------------------------------------- */

static void on_timer(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)timer, (void)events;
    ev_break(ev, EVBREAK_ONE);
}

static int l_step(lua_State *L) {
    struct driven *d = check(L);
    double seconds = luaL_checknumber(L, 2) / 1000;
    lua_settop(L, 2);
    lua_newtable(L);
    d->L = L;
    ev_now_update(d->loop.ev);
    ev_timer_set(&d->timer, seconds, 0);
    ev_timer_start(d->loop.ev, &d->timer);
    ev_run(d->loop.ev, EVRUN_ONCE);
    ev_timer_stop(d->loop.ev, &d->timer);
    return 1;
}

static int l_dial(lua_State *L) {
    link_dial(check(L)->link);
    return 0;
}

static int l_shut(lua_State *L) {
    link_close(check(L)->link);
    return 0;
}

static int l_is_up(lua_State *L) {
    lua_pushboolean(L, link_is_up(check(L)->link));
    return 1;
}

static int l_send(lua_State *L) {
    struct driven *d = check(L);
    int lane = luaL_checkoption(L, 2, NULL, LANES);
    uint64_t tag = (uint64_t)luaL_checkinteger(L, 3);
    struct slice bytes = lx_checkslice(L, 4);
    uint32_t extra_ms = (uint32_t)luaL_optinteger(L, 5, 0);
    struct buf *command = lx_newbuf(L);
    int err = buf_add(command, bytes.p, bytes.n);
    if (err == 0) err = link_send(d->link, (enum link_lane)lane, tag, command, extra_ms);
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

static int l_shas(lua_State *L) {
    const struct scripts *s = link_scripts(check(L)->link);
    lua_newtable(L);
    for (int i = 0; i < SCRIPTS; i++) {
        lua_pushstring(L, s->sha[i]);
        lua_setfield(L, -2, script_name((enum script)i));
    }
    return 1;
}

static int l_stats(lua_State *L) {
    struct link_stats s;
    link_stats(check(L)->link, &s);
    lua_newtable(L);
    lx_set_integer(L, "dials", s.dials);
    lx_set_integer(L, "ups", s.ups);
    lx_set_integer(L, "sent", s.sent);
    lx_set_integer(L, "received", s.received);
    lx_set_integer(L, "bytes_in", s.bytes_in);
    lx_set_integer(L, "bytes_out", s.bytes_out);
    lx_set_integer(L, "pending", s.pending);
    return 1;
}

static int l_gc(lua_State *L) {
    struct driven *d = luaL_checkudata(L, 1, LINK);
    link_free(d->link);
    d->link = NULL;
    loop_deinit(&d->loop);
    return 0;
}

static int l_open(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct link_options o = link_of_table(L);
    struct driven *d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = (struct driven){0};
    if (loop_init(&d->loop, d) < 0) return luaL_error(L, "no loop");
    luaL_setmetatable(L, LINK);
    ev_timer_init(&d->timer, on_timer, 0, 0);
    int err = link_new(&d->link, &d->loop, &o, &CALLS, d);
    return err < 0 ? lx_fail(L, err) : 1;
}

static int l_stand(lua_State *L) {
    if (lua_isnoneornil(L, 1)) clock_release();
    else clock_hold(clock_us() + luaL_checkinteger(L, 1) * 1000, clock_wall());
    return 0;
}

LX_EXPORT int luaopen_sluice_core_testing_link(lua_State *L);
LX_EXPORT int luaopen_sluice_core_testing_link(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"open", l_open}, {"stand", l_stand}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"dial", l_dial}, {"shut", l_shut}, {"is_up", l_is_up},
        {"send", l_send}, {"shas", l_shas}, {"stats", l_stats},
        {"step", l_step}, {"__gc", l_gc},   {NULL, NULL}};
    lx_newtype(L, LINK, methods);
    luaL_newlib(L, functions);
    return 1;
}
