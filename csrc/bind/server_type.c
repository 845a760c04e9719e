/* Puts the type of the server object together; see server_type.h. */
#include "bind/server_type.h"

#include "bind/rehearsal.h"

void lx_server_type(lua_State *L) {
    if (!lx_newservertype(L)) return;
    lx_server_add_life(L);
    lx_server_add_channels(L);
    lx_server_add_clients(L);
    lx_server_add_stats(L);
    lx_server_add_metrics(L);
    lx_server_add_explain(L);
    lx_server_add_console(L);
    lx_server_add_http_out(L);
    lx_server_add_durable(L);
    lx_server_add_cluster(L);
    lx_server_add_sql(L);
    lx_server_add_redis(L);
    lx_server_add_lab(L);
    lx_server_add_crowd(L);
    lx_server_add_limits(L);
    rehearsal_add_methods(L);
    lua_pop(L, 1);
}
