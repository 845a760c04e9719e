/* server:step, next_due, dial, and the clock and the dice of a test. A dialled connection
 * is an object that never waits: read returns what is there. */
#include "bind/rehearsal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "bind/by_hand.h"
#include "bind/server.h"
#include "serve/app/rehearsal.h"
#include "serve/cluster.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define TYPE "sluice.dialled"
#define READ_MAX 16384

struct dialled {
    int fd; /* -1: closed */
};

static struct lx_server *check_rehearsal(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_argcheck(L, s->server->hub.options.rehearsal && s->server->hub.started, 1,
                  "a started server with rehearsal = true is expected");
    return s;
}

/* server:step() -> whether it came to rest */
static int l_step(lua_State *L) {
    struct lx_server *s = check_rehearsal(L);
    lua_State *before = s->L;
    s->L = L;
    bool rests = rehearsal_step(s->server);
    s->L = before;
    lua_pushboolean(L, rests);
    return 1;
}

/* server:next_due() -> monotonic seconds | nil */
static int l_next_due(lua_State *L) {
    double at = rehearsal_next(check_rehearsal(L)->server);
    if (at < 0) return 0;
    lua_pushnumber(L, at);
    return 1;
}

/* server:dial([buffer]) -> connection | nil, message, code */
static int l_dial(lua_State *L) {
    struct lx_server *s = check_rehearsal(L);
    int buffer = (int)luaL_optinteger(L, 2, 0);
    struct dialled *d = lua_newuserdatauv(L, sizeof *d, 0);
    d->fd = -1; /* closed first: __gc may come at any time */
    luaL_setmetatable(L, TYPE);
    int err = rehearsal_dial(s->server, buffer, &d->fd);
    return err < 0 ? lx_fail(L, err) : 1;
}

/* server:group_gap(n): numbers that a group leaves below itself, instead of 2^24 */
static int l_group_gap(lua_State *L) {
    struct lx_server *s = check_rehearsal(L);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n > 0 && n <= GROUP_GAP, 2, "1 to 2^24");
    s->server->hub.seq.gap = (uint32_t)n;
    return 0;
}

/* What a node of a cluster says to its Redis, which the test is: see by_hand.h. */

static struct node *check_node(lua_State *L) {
    const struct lx_server *s = check_rehearsal(L);
    const struct cluster *c = s->server->hub.cluster;
    return c ? cluster_node(c) : NULL;
}

static int l_redis_dialled(lua_State *L) {
    return by_hand_dialled(L, check_node(L));
}

static int l_redis_accept(lua_State *L) {
    return by_hand_accept(L, check_node(L));
}

static int l_redis_take(lua_State *L) {
    return by_hand_take(L, check_node(L));
}

static int l_redis_hear(lua_State *L) {
    return by_hand_hear(L, check_node(L));
}

static int l_redis_cut(lua_State *L) {
    return by_hand_cut(L, check_node(L));
}

static struct dialled *check_dialled(lua_State *L) {
    return luaL_checkudata(L, 1, TYPE);
}

/* conn:write(bytes) -> bytes taken | nil, message, code */
static int dialled_write(lua_State *L) {
    struct dialled *d = check_dialled(L);
    struct slice bytes = lx_checkslice(L, 2);
    ssize_t n = send(d->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) n = 0;
    if (n < 0) return lx_fail(L, -errno);
    lua_pushinteger(L, n);
    return 1;
}

/* conn:read() -> a piece of what is there (maybe ""), or nil when the server has closed */
static int dialled_read(lua_State *L) {
    struct dialled *d = check_dialled(L);
    char bytes[READ_MAX];
    ssize_t n = recv(d->fd, bytes, READ_MAX, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) lua_pushnil(L);
    else lua_pushlstring(L, bytes, n > 0 ? (size_t)n : 0);
    return 1;
}

static int dialled_close(lua_State *L) {
    struct dialled *d = check_dialled(L);
    if (d->fd >= 0) close(d->fd);
    d->fd = -1;
    return 0;
}

/* core.hold_clock(monotonic seconds, seconds since 1970); without arguments: let it go */
static int l_hold_clock(lua_State *L) {
    if (lua_isnoneornil(L, 1)) clock_release();
    else
        clock_hold((int64_t)(luaL_checknumber(L, 1) * 1e6 + 0.5), luaL_checknumber(L, 2));
    return 0;
}

/* core.seed(n): equal seeds give equal ids, epochs and jitter; 0: the kernel's again */
static int l_seed(lua_State *L) {
    rand_seed((uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

static void new_type(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"write", dialled_write}, {"read", dialled_read},     {"close", dialled_close},
        {"__gc", dialled_close},  {"__close", dialled_close}, {NULL, NULL}};
    lx_newtype(L, TYPE, methods);
}

void rehearsal_add_methods(lua_State *L) {
    static const luaL_Reg methods[] = {{"step", l_step},
                                       {"next_due", l_next_due},
                                       {"dial", l_dial},
                                       {"group_gap", l_group_gap},
                                       {"redis_dialled", l_redis_dialled},
                                       {"redis_accept", l_redis_accept},
                                       {"redis_take", l_redis_take},
                                       {"redis_hear", l_redis_hear},
                                       {"redis_cut", l_redis_cut},
                                       {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
    new_type(L);
}

void rehearsal_add_functions(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"hold_clock", l_hold_clock}, {"seed", l_seed}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
