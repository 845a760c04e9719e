/* The Lua object "sluice.server", in four files: server.c (its life and its channels),
 * server_clients.c (requests and clients), server_stats.c (figures), server_events.c (what
 * it calls); http_out.c has its requests to other servers. */
#ifndef SLUICE_BIND_SERVER_H
#define SLUICE_BIND_SERVER_H

#include "bind/l_aux.h"
#include "edge/http_out.h"
#include "serve/app/server.h"

struct lx_server {
    struct server *server; /* NULL: closed */
    lua_State *L;          /* the thread that runs it, or the main one */
    int on_event;          /* registry reference of the one callback */
    struct http_out *http; /* NULL until the first request to another server */
};

struct lx_server *lx_checkserver(lua_State *L); /* argument 1, open */

/* An event's id. */
void lx_pushid(lua_State *L, const struct server *s, uint64_t seq);

void lx_server_type(lua_State *L);
int lx_server_new(lua_State *L);

/* Methods of the other files, added to the type's table on top of the stack. */
void lx_server_add_clients(lua_State *L);
void lx_server_add_stats(lua_State *L);
void lx_server_add_http_out(lua_State *L);

extern const struct server_events lx_server_events;

/* Call 'tell' with 'what' as its light userdata: it calls the one callback. Everything in
 * it is protected; false when it failed (logged) or nobody listens. */
bool lx_server_tell(struct lx_server *s, lua_CFunction tell, void *what);

/* A route snapshot from the table at 'index'. Pushes a box that owns it. */
struct routes *lx_checkroutes(lua_State *L, int index);

#endif
