/* Where a spec's node or link finds its Redis: the fields of a Lua table. Not part of the product. */
#ifndef SLUICE_BIND_LINK_TABLE_H
#define SLUICE_BIND_LINK_TABLE_H

#include "bind/l_aux.h"
#include "cluster/link.h"

/* The texts are the table's. */
static inline const char *link_text(lua_State *L, const char *name) {
    struct slice s = lx_field_slice(L, 1, name);
    return s.n > 0 ? s.p : NULL;
}

/* Of the table at 1: host, port (6379), path, db, user, password, password_file, name ("test"),
 * client ("sluice-test"), on_disk, replicas, wait_ms (1000), asserts_disk, sentinels, set,
 * sentinel_password, tls, ca, cert, key, sni, by_hand. */
static inline struct link_options link_of_table(lua_State *L) {
    struct link_options o = {
        .host = link_text(L, "host"),
        .port = (uint16_t)lx_field_number(L, 1, "port", 6379),
        .path = link_text(L, "path"),
        .db = (uint32_t)lx_field_number(L, 1, "db", 0),
        .user = link_text(L, "user"),
        .password = link_text(L, "password"),
        .password_file = link_text(L, "password_file"),
        .name = link_text(L, "name"),
        .client = link_text(L, "client"),
        .durable = {lx_field_bool(L, 1, "on_disk", false),
                    (uint32_t)lx_field_number(L, 1, "replicas", 0),
                    (uint32_t)lx_field_number(L, 1, "wait_ms", 1000)},
        .asserts_disk = lx_field_bool(L, 1, "asserts_disk", false),
        .sentinels = link_text(L, "sentinels"),
        .set = link_text(L, "set"),
        .sentinel_password = link_text(L, "sentinel_password"),
        .tls = {lx_field_bool(L, 1, "tls", false), link_text(L, "ca"),
                link_text(L, "cert"), link_text(L, "key"), link_text(L, "sni")},
        .by_hand = lx_field_bool(L, 1, "by_hand", false),
    };
    if (!o.name) o.name = "test";
    if (!o.client) o.client = "sluice-test";
    return o;
}

#endif
