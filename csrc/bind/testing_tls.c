/* sluice.core.testing_tls: TLS on sockets that a spec has, for specs. Not part of the product.
 *
 *     side = testing_tls.client([ca])            whom to trust; NULL: the system
 *     side = testing_tls.server(certs, keys)     nil, why     side:load(certs, keys)   side:rotate()
 *     t = side:open(fd[, host[, protocol]])      a session; the socket stays the spec's
 *     t:handshake() -> true | false (later) | nil, why
 *     t:read([most]) -> bytes, "" when there are none | nil, "closed" (the peer said so) or "cut"
 *     t:write(head[, body]) -> how many were taken | nil
 *     t:close() -> true when said    t:about() -> { version =, cipher =, resumed =, went = }
 *     testing_tls.pair([room]) -> fd, fd         testing_tls.shut(fd)
 *     testing_tls.send_plain(fd, bytes) -> how many were taken */
#include "bind/l_aux.h"
#include "net/tls_client.h"
#include "net/tls_server.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIDE "sluice.testing_tls.side"
#define SESSION "sluice.testing_tls"
#define FILES_MAX 80

struct side {
    struct tls_client *client;
    struct tls_server *server;
};

struct session {
    struct tls *tls;
};

static struct tls *check(lua_State *L) {
    struct session *s = luaL_checkudata(L, 1, SESSION);
    luaL_argcheck(L, s->tls, 1, "it is freed");
    return s->tls;
}

static struct side *new_side(lua_State *L) {
    struct side *side = lua_newuserdatauv(L, sizeof *side, 0);
    *side = (struct side){0};
    luaL_setmetatable(L, SIDE);
    return side;
}

static int refuse(lua_State *L, const char *why) {
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int l_client(lua_State *L) {
    char why[256];
    struct side *side = new_side(L);
    side->client = tls_client_new(luaL_optstring(L, 1, NULL), false, why, sizeof why);
    return side->client ? 1 : refuse(L, why);
}

/* The lists of arguments 'at' and the next one. */
static int load_files(lua_State *L, struct tls_server *s, int at, char *why,
                      size_t size) {
    struct tls_files files[FILES_MAX];
    int n = 0;
    for (; n < FILES_MAX && lua_rawgeti(L, at, n + 1) == LUA_TSTRING; n++) {
        lua_rawgeti(L, at + 1, n + 1);
        files[n] = (struct tls_files){lua_tostring(L, -2), luaL_checkstring(L, -1)};
        lua_pop(L, 2); /* the lists keep them */
    }
    lua_pop(L, 1);
    return tls_server_load(s, files, n, why, size);
}

static int l_server(lua_State *L) {
    char why[512];
    struct side *side = new_side(L);
    side->server = tls_server_new();
    return load_files(L, side->server, 1, why, sizeof why) == 0 ? 1 : refuse(L, why);
}

static int l_load(lua_State *L) {
    char why[512];
    struct side *side = luaL_checkudata(L, 1, SIDE);
    if (load_files(L, side->server, 2, why, sizeof why) < 0) return refuse(L, why);
    lua_pushboolean(L, true);
    return 1;
}

static int l_rotate(lua_State *L) {
    struct side *side = luaL_checkudata(L, 1, SIDE);
    tls_server_rotate(side->server);
    return 0;
}

static int l_open(lua_State *L) {
    struct side *side = luaL_checkudata(L, 1, SIDE);
    int fd = (int)luaL_checkinteger(L, 2);
    const char *host = luaL_optstring(L, 3, "127.0.0.1");
    char alpn[64];
    size_t n;
    const char *protocol = luaL_optlstring(L, 4, "", &n);
    luaL_argcheck(L, n < sizeof alpn, 4, "too long");
    alpn[0] = (char)n;
    memcpy(alpn + 1, protocol, n);
    struct session *s = lua_newuserdatauv(L, sizeof *s, 1);
    s->tls = NULL;
    luaL_setmetatable(L, SESSION);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1); /* the side stays while sessions do */
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    s->tls = side->server ? tls_server_open(side->server, fd)
                          : tls_client_open(side->client, fd, host,
                                            slice_of(alpn, n > 0 ? n + 1 : 0));
    return s->tls ? 1 : luaL_error(L, "no session");
}

static int l_handshake(lua_State *L) {
    struct tls *t = check(L);
    int err = tls_handshake(t);
    if (err < 0 && err != -EAGAIN) return refuse(L, tls_failure_word(tls_failure(t)));
    lua_pushboolean(L, err == 0);
    return 1;
}

static int l_read(lua_State *L) {
    struct tls *t = check(L);
    luaL_Buffer b;
    size_t most = (size_t)luaL_optinteger(L, 2, TLS_RECORD_MAX);
    char *room = luaL_buffinitsize(L, &b, most);
    ssize_t n = tls_read(t, room, most);
    if (n == 0) return refuse(L, "closed");
    if (n < 0 && n != -EAGAIN) return refuse(L, "cut");
    luaL_pushresultsize(&b, n > 0 ? (size_t)n : 0);
    return 1;
}

static int l_write(lua_State *L) {
    struct tls *t = check(L);
    struct slice head = lx_checkslice(L, 2), body = slice_of(NULL, 0);
    if (!lua_isnoneornil(L, 3)) body = lx_checkslice(L, 3);
    ssize_t n = tls_write(t, head, body);
    if (n < 0) return refuse(L, "closed");
    lua_pushinteger(L, n);
    return 1;
}

static int l_close(lua_State *L) {
    lua_pushboolean(L, tls_close(check(L)) == 0);
    return 1;
}

static int l_about(lua_State *L) {
    struct tls *t = check(L);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, tls_version(t));
    lua_setfield(L, -2, "version");
    lua_pushstring(L, tls_cipher(t));
    lua_setfield(L, -2, "cipher");
    lua_pushboolean(L, tls_is_resumed(t));
    lua_setfield(L, -2, "resumed");
    lua_pushinteger(L, tls_went(t));
    lua_setfield(L, -2, "went");
    return 1;
}

static int l_free(lua_State *L) {
    struct session *s = luaL_checkudata(L, 1, SESSION);
    tls_free(s->tls);
    s->tls = NULL;
    return 0;
}

static int l_free_side(lua_State *L) {
    struct side *side = luaL_checkudata(L, 1, SIDE);
    tls_client_free(side->client);
    tls_server_free(side->server);
    *side = (struct side){0};
    return 0;
}

static int l_pair(lua_State *L) {
    int room = (int)luaL_optinteger(L, 1, 0), fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return luaL_error(L, "no pair of sockets");
    for (int i = 0; i < 2 && room > 0; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    lua_pushinteger(L, fds[0]);
    lua_pushinteger(L, fds[1]);
    return 2;
}

static int l_send_plain(lua_State *L) {
    struct slice bytes = lx_checkslice(L, 2);
    lua_pushinteger(L,
                    send((int)luaL_checkinteger(L, 1), bytes.p, bytes.n, MSG_NOSIGNAL));
    return 1;
}

static int l_shut(lua_State *L) {
    close((int)luaL_checkinteger(L, 1));
    return 0;
}

LX_EXPORT int luaopen_sluice_core_testing_tls(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"client", l_client}, {"server", l_server},         {"pair", l_pair},
        {"shut", l_shut},     {"send_plain", l_send_plain}, {NULL, NULL}};
    static const luaL_Reg of_side[] = {{"open", l_open},
                                       {"load", l_load},
                                       {"rotate", l_rotate},
                                       {"__gc", l_free_side},
                                       {NULL, NULL}};
    static const luaL_Reg of_session[] = {{"handshake", l_handshake}, {"read", l_read},
                                          {"write", l_write},         {"close", l_close},
                                          {"about", l_about},         {"free", l_free},
                                          {"__gc", l_free},           {NULL, NULL}};
    lx_newtype(L, SIDE, of_side);
    lx_newtype(L, SESSION, of_session);
    luaL_newlib(L, functions);
    return 1;
}
