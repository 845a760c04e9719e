/* The type of the server object, put together from the files that have its methods. */
#ifndef SLUICE_BIND_SERVER_TYPE_H
#define SLUICE_BIND_SERVER_TYPE_H

#include "bind/server.h"

void lx_server_type(lua_State *L); /* makes it, once in a state */
int lx_server_new(lua_State *L);   /* core.server */

int lx_store_is_there(lua_State *L); /* core.store_is_there */

int lx_sql_look(lua_State *L); /* core.sql_look */

int lx_check_network(lua_State *L); /* core.check_network */

/* Field 'refused' of the table on top: how often each limit did. */
void lx_set_refused(lua_State *L, const struct limits *l);

/* The methods of one file each, added to the type's table on top of the stack. */
void lx_server_add_life(lua_State *L);
void lx_server_add_channels(lua_State *L);
void lx_server_add_clients(lua_State *L);
void lx_server_add_stats(lua_State *L);
void lx_server_add_metrics(lua_State *L);
void lx_server_add_explain(lua_State *L);
void lx_server_add_console(lua_State *L);
void lx_server_add_http_out(lua_State *L);
void lx_server_add_durable(lua_State *L);
void lx_server_add_cluster(lua_State *L);
void lx_server_add_sql(lua_State *L);
void lx_server_add_redis(lua_State *L);
void lx_server_add_lab(lua_State *L);
void lx_server_add_crowd(lua_State *L);
void lx_server_add_limits(lua_State *L);

/* While the server is there; nothing is told. */
void lx_redis_close_all(struct lx_server *s);

int lx_log_tail(lua_State *L); /* core.log_tail */

/* What happens on the server, for Lua. */
extern const struct server_events lx_server_events;

/* A route snapshot from the table at 'index'. Pushes a box that owns it. */
struct routes *lx_checkroutes(lua_State *L, int index);

#endif
