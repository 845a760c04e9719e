/* Limits of addresses and users, and how often they refused. */
#include "base/bounds.h"
#include "base/clock.h"
#include "bind/server_type.h"

/* core.check_network(text) -> whether it is an address or a network */
int lx_check_network(lua_State *L) {
    struct network network;
    lua_pushboolean(L, address_read_network(lx_checkslice(L, 1), &network));
    return 1;
}

static uint32_t check_most(lua_State *L, enum limit which) {
    double most = lx_field_number(L, 2, limit_name(which), 0);
    if (!(most >= 0 && most <= LIMIT_MOST))
        luaL_error(L, "'%s' is out of range", limit_name(which));
    return (uint32_t)most;
}

/* server:limit{ max_streams_per_address =, …, exempt = { network, … } }; absent: no limit */
static int l_limit(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct limits_set set = {0};
    luaL_checktype(L, 2, LUA_TTABLE);
    for (enum limit i = 0; i < LIMITS; i++) set.most[i] = check_most(L, i);
    lua_getfield(L, 2, "exempt");
    struct filter_list list = lx_checklist(L, -1, "exempt");
    struct network *exempt = lx_scratch(L, (list.n + 1) * sizeof *exempt);
    for (uint32_t i = 0; i < list.n; i++)
        if (!address_read_network(list.items[i], &exempt[i]))
            luaL_error(L, "exempt: [%d] is no address or network", (int)i + 1);
    set.exempt = exempt;
    set.n_exempt = list.n;
    limits_configure(&s->server->hub.limits, &set);
    return 0;
}

/* server:ask(user): count a request of theirs -> nil, or seconds after which one may come */
static int l_ask(lua_State *L) {
    struct limits *l = &lx_checkserver(L)->server->hub.limits;
    struct slice user = lx_checkslice(L, 2);
    const enum limit which = LIMIT_REQUESTS_OF_USER;
    unsigned wait = limits_ask(l, which, user, clock_ms());
    if (wait == 0) return 0;
    limits_refused(l, which, user, false);
    lua_pushinteger(L, wait);
    return 1;
}

void lx_set_refused(lua_State *L, const struct limits *l) {
    lua_createtable(L, 0, LIMITS);
    for (enum limit i = 0; i < LIMITS; i++)
        lx_set_integer(L, limit_name(i),
                       atomic_load_explicit(&l->refused[i], memory_order_relaxed));
    lua_setfield(L, -2, "refused");
}

void lx_server_add_limits(lua_State *L) {
    static const luaL_Reg methods[] = {{"limit", l_limit}, {"ask", l_ask}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
