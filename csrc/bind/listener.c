/* A listening socket and its connections, polled; see listener.h.
 *
 *     l:wait(seconds)  accepts, then says which connections have something to read or are
 *                      ready to take more
 *     l:read(i)        l:write(i, bytes) -> how many were taken     l:close(i)
 *
 * The program that owns it is one thread and blocks in wait. It knows no HTTP and keeps no
 * bytes: what a socket does not take stays with the caller. Bound: LISTENER_CONNS_MAX
 * connections; more wait in the kernel's queue until one is closed. */
#include "bind/listener.h"

#include "base/bounds.h"
#include "bind/l_aux.h"
#include "net/sock.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TYPE "sluice.listener"
#define READ_BYTES 4096

struct listener {
    int fd;
    int conns[LISTENER_CONNS_MAX]; /* -1: none */
    bool wants_room[LISTENER_CONNS_MAX];
};

static struct listener *check(lua_State *L) {
    struct listener *l = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, l->fd >= 0, 1, "it is closed");
    return l;
}

/* The index of the connection that argument 2 names, from 1. */
static int check_conn(lua_State *L, const struct listener *l) {
    lua_Integer i = luaL_checkinteger(L, 2);
    luaL_argcheck(L, i >= 1 && i <= LISTENER_CONNS_MAX && l->conns[i - 1] >= 0, 2,
                  "no such connection");
    return (int)i - 1;
}

/* core.listener(port) -> listener on 127.0.0.1, its port | nil, message, code */
static int l_listener(lua_State *L) {
    lua_Integer port = luaL_checkinteger(L, 1);
    luaL_argcheck(L, port >= 0 && port <= 65535, 1, "a port is 0 to 65535");
    struct listener *l = lua_newuserdatauv(L, sizeof *l, 0);
    *l = (struct listener){.fd = -1};
    for (int i = 0; i < LISTENER_CONNS_MAX; i++) l->conns[i] = -1;
    luaL_setmetatable(L, TYPE);
    uint16_t bound = (uint16_t)port;
    int fd = sock_listen_local(&bound);
    if (fd < 0) return lx_fail(L, fd);
    l->fd = fd;
    lua_pushinteger(L, bound);
    return 2;
}

static int free_place(const struct listener *l) {
    for (int i = 0; i < LISTENER_CONNS_MAX; i++)
        if (l->conns[i] < 0) return i;
    return -1;
}

/* listener:wait(seconds) -> indexes of connections to look at: new ones, those with
 * something to read or at their end, those that take more after a write was cut */
static int l_wait(lua_State *L) {
    struct listener *l = check(L);
    double seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0 && seconds <= 3600, 2, "0 to 3600 seconds");
    struct pollfd fds[LISTENER_CONNS_MAX + 1];
    int place = free_place(l), n = 0;
    for (int i = 0; i < LISTENER_CONNS_MAX; i++) {
        short events = (short)(POLLIN | (l->wants_room[i] ? POLLOUT : 0));
        fds[i] = (struct pollfd){.fd = l->conns[i], .events = events};
    }
    fds[LISTENER_CONNS_MAX] =
        (struct pollfd){.fd = place < 0 ? -1 : l->fd, .events = POLLIN};
    lua_newtable(L);
    if (poll(fds, LISTENER_CONNS_MAX + 1, (int)(seconds * 1000 + 0.999)) <= 0) return 1;
    for (int i = 0; i < LISTENER_CONNS_MAX; i++) {
        if (fds[i].fd < 0 || !fds[i].revents) continue;
        lua_pushinteger(L, i + 1);
        lua_rawseti(L, -2, ++n);
    }
    if (fds[LISTENER_CONNS_MAX].revents) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            l->conns[place] = fd;
            l->wants_room[place] = false;
        }
    }
    return 1;
}

/* listener:read(connection) -> bytes, "" when there are none now | nil at its end */
static int l_read(lua_State *L) {
    struct listener *l = check(L);
    char bytes[READ_BYTES];
    ssize_t n = recv(l->conns[check_conn(L, l)], bytes, sizeof bytes, 0);
    bool nothing = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (n <= 0 && !nothing) return 0;
    lua_pushlstring(L, bytes, nothing ? 0 : (size_t)n);
    return 1;
}

/* listener:write(connection, bytes) -> how many were taken | nil at its end */
static int l_write(lua_State *L) {
    struct listener *l = check(L);
    int i = check_conn(L, l);
    struct slice bytes = lx_checkslice(L, 3);
    ssize_t n = send(l->conns[i], bytes.p, bytes.n, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return 0;
    if (n < 0) n = 0;
    l->wants_room[i] = (size_t)n < bytes.n;
    lua_pushinteger(L, (lua_Integer)n);
    return 1;
}

/* listener:close(connection) */
static int l_close(lua_State *L) {
    struct listener *l = check(L);
    int i = check_conn(L, l);
    shutdown(l->conns[i], SHUT_WR);
    close(l->conns[i]);
    l->conns[i] = -1;
    return 0;
}

/* Everything is closed; twice does no harm. */
static int l_gc(lua_State *L) {
    struct listener *l = luaL_checkudata(L, 1, TYPE);
    for (int i = 0; i < LISTENER_CONNS_MAX; i++) {
        if (l->conns[i] >= 0) close(l->conns[i]);
        l->conns[i] = -1;
    }
    if (l->fd >= 0) close(l->fd);
    l->fd = -1;
    return 0;
}

void listener_add_functions(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"wait", l_wait}, {"read", l_read}, {"write", l_write}, {"close", l_close},
        {"shut", l_gc},   {"__gc", l_gc},   {NULL, NULL}};
    lx_newtype(L, TYPE, methods);
    lua_pushcfunction(L, l_listener);
    lua_setfield(L, -2, "listener");
}
