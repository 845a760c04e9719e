/* The Lua object "sluice.server": its userdata, and how the functions that take one get at
 * it. Its methods are in server_life.c, server_channels.c, server_clients.c, server_stats.c,
 * server_explain.c, server_console.c, http_out.c, sql.c, redis.c, lab.c, crowd.c and rehearsal.c; server_type.c puts them together,
 * and server_events.c calls
 * Lua with what happens. */
#ifndef SLUICE_BIND_SERVER_H
#define SLUICE_BIND_SERVER_H

#include "base/list.h"
#include "bind/l_aux.h"
#include "crowd/crowd.h"
#include "edge/http_out.h"
#include "edge/sql.h"
#include "lab/lab.h"
#include "serve/app/server.h"

struct lx_server {
    const void *type;      /* what it is; see lx_checkserver */
    struct server *server; /* NULL: closed */
    lua_State *L;          /* the thread that runs it, or the main one */
    int on_event;          /* registry reference of the one callback */
    int on_answer;         /* ... of the one for answers; LUA_REFNIL: none */
    int on_stream;         /* ... and of the one for usual streams */
    int waiting, mark;     /* ... of who waits for one, and of what they yield */
    struct http_out *http; /* NULL until the first request to another server */
    struct sql *sql;       /* NULL until the first database file of another program */
    struct list redis; /* connections to Redis of sources; not set up before the first */
    unsigned n_redis;
    uint64_t last_redis; /* id of one */
    struct lab *lab;     /* NULL without `sluice lab` */
    int on_lab;          /* registry reference of what is called with its faults */
    struct crowd *crowd; /* NULL without `sluice bench` */
};

struct lx_server *lx_checkserver(lua_State *L); /* argument 1, open */

/* Whether the event (or none) and the data of (server, channel, event, data) are strings. */
bool lx_are_texts(lua_State *L);

/* An event's id. */
void lx_pushid(lua_State *L, const struct server *s, uint64_t seq);

/* The names of the channels that a client follows, as a list. */
void lx_pushchannels(lua_State *L, struct client *c);

/* A closed one, pushed; it is open once 'server' is set. */
struct lx_server *lx_newserver(lua_State *L);
struct lx_server *lx_toserver(lua_State *L); /* argument 1, open or not */

/* Push the table of its methods, to be filled; false (nothing is pushed) when it is there. */
bool lx_newservertype(lua_State *L);

/* Call 'push' with 'what' as its light userdata: it calls the one callback. Everything in
 * it is protected; false when it failed (logged) or there is no callback. */
bool lx_server_call(struct lx_server *s, lua_CFunction push, void *what);

#endif
