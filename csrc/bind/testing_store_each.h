/* What a store has, appended to the list on top of the stack, a table each: what its store_each_*
 * call. For testing_store.c alone. */
#ifndef SLUICE_BIND_TESTING_STORE_EACH_H
#define SLUICE_BIND_TESTING_STORE_EACH_H

#include "bind/l_aux.h"
#include "store/store.h"

static void push_row(lua_State *L, const struct store_row *r) {
    lua_createtable(L, 0, 6);
    lx_set_integer(L, "seq", r->seq);
    lx_set_integer(L, "at", (uint64_t)r->at_ms);
    lx_set_boolean(L, "remove", r->remove);
    const struct slice texts[] = {r->name, r->key, r->data};
    static const char *const names[] = {"name", "key", "data"};
    for (int i = 0; i < 3; i++) {
        lx_pushslice(L, texts[i]);
        lua_setfield(L, -2, names[i]);
    }
}

static void append(lua_State *L) {
    lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
}

static void set_slice(lua_State *L, const char *name, struct slice s) {
    lx_pushslice(L, s);
    lua_setfield(L, -2, name);
}

static int each_channel(void *arg, const struct store_channel *c) {
    lua_State *L = arg;
    static const char *const kinds[] = {"log", "state", "keyed"};
    lua_newtable(L);
    set_slice(L, "name", c->name);
    set_slice(L, "kind", slice_str(kinds[c->kind]));
    lx_set_boolean(L, "durable", c->durable);
    lx_set_integer(L, "floor", c->floor);
    lx_set_integer(L, "last", c->last);
    append(L);
    return 0;
}

static int each_newest(void *arg, struct slice channel, const struct store_row *r) {
    lua_State *L = arg;
    push_row(L, r);
    set_slice(L, "channel", channel);
    append(L);
    return 0;
}

static int each_recent(void *arg, const struct store_row *r, uint64_t before) {
    lua_State *L = arg;
    push_row(L, r);
    lx_set_integer(L, "before", before);
    append(L);
    return 0;
}

static int each_pair(void *arg, const struct store_pair *p) {
    lua_State *L = arg;
    lua_newtable(L);
    set_slice(L, "store", p->store);
    set_slice(L, "key", p->key);
    set_slice(L, "value", p->value);
    append(L);
    return 0;
}

static int each_task(void *arg, const struct store_task *t) {
    lua_State *L = arg;
    lua_newtable(L);
    set_slice(L, "id", t->id);
    set_slice(L, "name", t->name);
    set_slice(L, "data", t->data);
    lx_set_integer(L, "due", (uint64_t)t->due_ms);
    append(L);
    return 0;
}

#endif
