/* sluice.core.testing_sock: queued writes on pairs of sockets, for specs. Not part of the
 * product.
 *
 *     set = testing_sock.new("send" | "delayed" | "ring")     raises where there is none
 *     i = set:pair([room[, tcp]])     set:write(i, head, body) -> taken | "queued" | -errno
 *     set:flush() -> { [i] = taken or -errno }
 *     set:fill(i)   set:read(i)   set:close(i)   set:reset(i): a pair of TCP */
#include "base/fault.h"
#include "base/mem.h"
#include "bind/l_aux.h"
#include "net/ring.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TYPE "sluice.testing_sock"
#define PAIRS_MAX 512

struct set {
    struct socks socks;
    int n;
    int pairs[PAIRS_MAX][2]; /* -1: closed */
    lua_State *L;            /* of the flush */
    bool open;
};

static struct set *check(lua_State *L) {
    struct set *set = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, set->open, 1, "it is closed");
    return set;
}

static int check_pair(lua_State *L, const struct set *set) {
    lua_Integer i = luaL_checkinteger(L, 2);
    luaL_argcheck(L, i >= 1 && i <= set->n, 2, "no such pair");
    return (int)i - 1;
}

static int l_new(lua_State *L) {
    static const char *const ways[] = {"send", "delayed", "ring", NULL};
    int way = luaL_checkoption(L, 1, NULL, ways);
    struct set *set = lua_newuserdatauv(L, sizeof *set, 0);
    *set = (struct set){.socks.delayed = way == 1, .open = true};
    luaL_setmetatable(L, TYPE);
    int err = way == 2 ? ring_new(&set->socks.ring) : 0;
    if (err == 0) err = socks_begin(&set->socks);
    return err < 0 ? luaL_error(L, "%s", ring_problem(err)) : 1;
}

static int connect_local(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static int tcp_pair(int *pair) {
    uint16_t port = 0;
    int listener = sock_listen_local(&port);
    if (listener < 0) return -1;
    pair[1] = connect_local(port);
    pair[0] = pair[1] < 0 ? -1 : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(listener);
    if (pair[0] < 0 && pair[1] >= 0) close(pair[1]);
    return pair[0] < 0 ? -1 : 0;
}

/* set:pair([bytes that it holds unread[, tcp]]) -> its number */
static int l_pair(lua_State *L) {
    struct set *set = check(L);
    int room = (int)luaL_optinteger(L, 2, 0), *pair = set->pairs[set->n];
    luaL_argcheck(L, set->n < PAIRS_MAX, 1, "it has too many");
    if ((lua_toboolean(L, 3)
             ? tcp_pair(pair)
             : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) < 0)
        return luaL_error(L, "no pair of sockets");
    if (room > 0) setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    lua_pushinteger(L, ++set->n);
    return 1;
}

/* set:write(pair, head, body): both must stay where they are until the flush */
static int l_write(lua_State *L) {
    struct set *set = check(L);
    int i = check_pair(L, set);
    struct sock_write w = {.fd = set->pairs[i][0],
                           .head = lx_checkslice(L, 3),
                           .body = lx_checkslice(L, 4),
                           .owner = set->pairs[i]};
    ssize_t n = sock_write(&set->socks, &w);
    if (n == SOCK_QUEUED) lua_pushliteral(L, "queued");
    else lua_pushinteger(L, n);
    return 1;
}

static struct set *flushed; /* the pairs are its array */

static void on_result(void *owner, ssize_t n) {
    lua_pushinteger(flushed->L, n);
    lua_rawseti(flushed->L, -2, ((int(*)[2])owner - flushed->pairs) + 1);
}

static int l_flush(lua_State *L) {
    struct set *set = check(L);
    lua_newtable(L);
    set->L = L;
    flushed = set;
    sock_flush(&set->socks, on_result);
    return 1;
}

/* set:fill(pair): it takes no more */
static int l_fill(lua_State *L) {
    struct set *set = check(L);
    int fd = set->pairs[check_pair(L, set)][0];
    const char byte = '.';
    while (send(fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) continue;
    return 0;
}

/* set:read(pair) -> what its other end has received */
static int l_read(lua_State *L) {
    struct set *set = check(L);
    char bytes[65536];
    ssize_t n =
        recv(set->pairs[check_pair(L, set)][1], bytes, sizeof bytes, MSG_DONTWAIT);
    lua_pushlstring(L, bytes, n > 0 ? (size_t)n : 0);
    return 1;
}

/* set:close(pair): its other end; set:shut(): everything */
static int l_close(lua_State *L) {
    struct set *set = check(L);
    int *fd = &set->pairs[check_pair(L, set)][1];
    close(*fd);
    *fd = -1;
    return 0;
}

/* set:reset(pair): its other end is gone without a word */
static int l_reset(lua_State *L) {
    const int *pair = check(L)->pairs[check_pair(L, check(L))];
    struct linger now = {.l_onoff = 1};
    struct pollfd hears = {.fd = pair[0]};
    setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &now, sizeof now);
    l_close(L);
    poll(&hears, 1, 5000);
    return 0;
}

static void ignore(void *owner, ssize_t n) {
    (void)owner, (void)n;
}

static int l_shut(lua_State *L) {
    struct set *set = luaL_checkudata(L, 1, TYPE);
    if (!set->open) return 0;
    set->open = false;
    sock_flush(&set->socks, ignore);
    socks_deinit(&set->socks);
    for (int i = 0; i < set->n; i++) {
        close(set->pairs[i][0]);
        if (set->pairs[i][1] >= 0) close(set->pairs[i][1]);
    }
    return 0;
}

/* set:has_ring() */
static int l_has_ring(lua_State *L) {
    lua_pushboolean(L, check(L)->socks.ring != NULL);
    return 1;
}

/* testing_sock.fail_after(n): the n-th step from now that the kernel may refuse fails */
static int l_fail_after(lua_State *L) {
    fault_after((long)luaL_checkinteger(L, 1), false);
    return 0;
}

LX_EXPORT int luaopen_sluice_core_testing_sock(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"new", l_new}, {"fail_after", l_fail_after}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"pair", l_pair},   {"write", l_write},  {"flush", l_flush},
        {"read", l_read},   {"close", l_close},  {"has_ring", l_has_ring},
        {"reset", l_reset}, {"fill", l_fill},    {"shut", l_shut},
        {"__gc", l_shut},   {"__close", l_shut}, {NULL, NULL}};
    lx_newtype(L, TYPE, methods);
    luaL_newlib(L, functions);
    return 1;
}
