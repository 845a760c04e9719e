/* A node by hand (cluster/link.h) as Lua sees it: a test is the Redis that it talks to. Each function
 * takes the lane, "scripts", "feed" or "keep", as argument 2, and returns how many results it has pushed. A
 * wire that is gone is spoken to in vain. */
#ifndef SLUICE_BIND_BY_HAND_H
#define SLUICE_BIND_BY_HAND_H

#include "bind/l_aux.h"
#include "cluster/node.h"
#include "cluster/wire.h"

/* 'n' may be NULL: there is none. */
static inline struct wire *by_hand_wire(lua_State *L, const struct node *n) {
    static const char *const lanes[] = {
        [LINK_SCRIPTS] = "scripts", [LINK_FEED] = "feed", [LINK_KEEP] = "keep", NULL};
    int lane = luaL_checkoption(L, 2, NULL, lanes);
    return n ? link_wire(node_link(n), (enum link_lane)lane) : NULL;
}

/* (lane) -> number of the attempt, whether it is connected | nothing: it does not dial */
static inline int by_hand_dialled(lua_State *L, const struct node *n) {
    const struct wire *w = by_hand_wire(L, n);
    if (!w) return 0;
    struct link_stats stats;
    link_stats(node_link(n), &stats);
    lua_pushinteger(L, (lua_Integer)stats.dials);
    lua_pushboolean(L, wire_is_open(w));
    return 2;
}

/* (lane): the connection is there */
static inline int by_hand_accept(lua_State *L, const struct node *n) {
    struct wire *w = by_hand_wire(L, n);
    if (w) wire_accept(w);
    return 0;
}

/* (lane) -> the commands that it has said since, as bytes */
static inline int by_hand_take(lua_State *L, const struct node *n) {
    struct wire *w = by_hand_wire(L, n);
    struct buf *said = lx_newbuf(L);
    if (w) wire_take(w, said);
    lua_pushlstring(L, said->n > 0 ? said->p : "", said->n);
    return 1;
}

/* (lane, bytes): what the server says */
static inline int by_hand_hear(lua_State *L, const struct node *n) {
    struct wire *w = by_hand_wire(L, n);
    struct slice bytes = lx_checkslice(L, 3);
    if (w) wire_hear(w, bytes);
    return 0;
}

/* (lane, why): it is gone, or was refused */
static inline int by_hand_cut(lua_State *L, const struct node *n) {
    struct wire *w = by_hand_wire(L, n);
    const char *why = luaL_checkstring(L, 3);
    if (w) wire_cut(w, why);
    return 0;
}

#endif
