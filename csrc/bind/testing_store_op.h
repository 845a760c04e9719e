/* Operations of the durable store as a spec writes them: tables become struct store_op with
 * everything their slices point to. For testing_store.c alone. */
#ifndef SLUICE_BIND_TESTING_STORE_OP_H
#define SLUICE_BIND_TESTING_STORE_OP_H

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "bind/l_aux.h"
#include "store/store.h"

/* ---- Policies ------------------------------------------------------------------------- */

struct policy_row {
    struct map_node node;
    struct slice key;
    struct store_policy policy;
    uint64_t floor;
    char name[];
};

static struct slice policy_key(const struct map_node *node) {
    return container_of(node, const struct policy_row, node)->key;
}

struct policies {
    struct map by_name;
};

static void policies_free(struct policies *p) {
    for (struct map_node *n = map_next(&p->by_name, NULL), *next; n; n = next) {
        next = map_next(&p->by_name, n);
        mem_free(container_of(n, struct policy_row, node));
    }
    map_deinit(&p->by_name);
    mem_free(p);
}

static const struct policy_row *policies_find(const struct policies *p,
                                              struct slice name) {
    struct map_node *n = p ? map_get(&p->by_name, name) : NULL;
    return n ? container_of(n, struct policy_row, node) : NULL;
}

static void on_judge(void *arg, struct slice name, struct store_policy *out) {
    const struct policy_row *row = policies_find(arg, name);
    if (row) *out = row->policy;
}

static enum store_kind check_kind(lua_State *L, int t) {
    struct slice kind = lx_field_slice(L, t, "kind");
    if (slice_eq_lit(kind, "state")) return STORE_STATE;
    return slice_eq_lit(kind, "keyed") ? STORE_KEYED : STORE_LOG;
}

/* { name = { kind =, durable =, events =, bytes =, age =, keys =, floor = } } */
static struct policies *check_policies(lua_State *L, int t) {
    struct policies *p = mem_new(sizeof *p);
    map_init(&p->by_name, policy_key);
    for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) {
        struct slice name = lx_checkslice(L, -2);
        int v = lua_absindex(L, -1);
        struct policy_row *row = mem_new(sizeof *row + name.n + 1);
        memcpy(row->name, name.p, name.n);
        row->key = slice_of(row->name, name.n);
        double none = (double)STORE_NO_LIMIT;
        row->policy = (struct store_policy){
            .kind = check_kind(L, v),
            .durable = lx_field_bool(L, v, "durable", false),
            .events_max = (uint32_t)lx_field_number(L, v, "events", none),
            .bytes_max = (uint64_t)lx_field_number(L, v, "bytes", 0),
            .age_ms = (int64_t)lx_field_number(L, v, "age", 0),
            .keys_max = (uint32_t)lx_field_number(L, v, "keys", none)};
        row->floor = (uint64_t)lx_field_number(L, v, "floor", 0);
        map_add(&p->by_name, &row->node);
    }
    return p;
}

/* ---- Operations ------------------------------------------------------------------------ */

struct op {
    struct store_op op;
    lua_Integer id;
    struct policies *next; /* of a conversion */
    struct store_change *changes;
    struct store_live *lives;
    struct buf text; /* what the slices point to */
};

static void op_free(struct op *op) {
    if (op->next) policies_free(op->next);
    mem_free(op->changes);
    mem_free(op->lives);
    buf_free(&op->text);
    mem_free(op);
}

static struct op *op_of(struct store_op *op) {
    return container_of(op, struct op, op);
}

/* names in 'names' become changes without values */
static struct store_change *check_changes(lua_State *L, int t, uint32_t *n) {
    lua_getfield(L, t, "changes");
    *n = lua_istable(L, -1) ? (uint32_t)lua_rawlen(L, -1) : 0;
    struct store_change *changes = *n ? mem_new(*n * sizeof *changes) : NULL;
    for (uint32_t i = 0; i < *n; i++) {
        lua_rawgeti(L, -1, i + 1);
        int c = lua_absindex(L, -1);
        changes[i].name = lx_field_slice(L, c, "name");
        changes[i].newest = (uint64_t)lx_field_number(L, c, "newest", 0);
        changes[i].was = check_kind(L, c);
        lua_pop(L, 1);
    }
    return changes; /* the table stays on the stack */
}

/* A copy of a field in the op's text; the text has room. */
static struct slice copied(lua_State *L, struct op *op, int t, const char *field) {
    struct slice s = lx_field_slice(L, t, field);
    size_t at = op->text.n;
    buf_add(&op->text, s.p, s.n);
    return slice_of(op->text.p + at, s.n);
}

static void copy_event(lua_State *L, struct op *op, int t) {
    struct store_event *e = &op->op.event;
    e->channel = copied(L, op, t, "channel");
    e->name = copied(L, op, t, "name");
    e->key = copied(L, op, t, "key");
    e->data = copied(L, op, t, "data");
    e->idempotency = copied(L, op, t, "idempotency");
    e->remove = lx_field_bool(L, t, "remove", false);
    e->update = lx_field_bool(L, t, "update", false);
    e->at_ms = (int64_t)lx_field_number(L, t, "at", clock_wall() * 1000);
    e->expires_ms = (int64_t)lx_field_number(L, t, "expires", 0);
}

static void copy_lives(lua_State *L, struct op *op, int c, struct store_change *change,
                       uint32_t *used) {
    lua_getfield(L, c, "lives");
    uint32_t n = lua_istable(L, -1) ? (uint32_t)lua_rawlen(L, -1) : 0;
    change->lives = op->lives + *used;
    change->n_lives = n;
    for (uint32_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, i + 1);
        int v = lua_absindex(L, -1);
        struct store_live *l = &op->lives[(*used)++];
        l->seq = (uint64_t)lx_field_number(L, v, "seq", 0);
        l->name = copied(L, op, v, "name");
        l->key = copied(L, op, v, "key");
        l->data = copied(L, op, v, "data");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void copy_conversion(lua_State *L, struct op *op, int t) {
    lua_getfield(L, t, "policies");
    op->next = check_policies(L, lua_absindex(L, -1));
    struct store_conversion *c = &op->op.conversion;
    *c = (struct store_conversion){.judge = on_judge, .arg = op->next};
    op->changes = check_changes(L, t, &c->n_changes);
    op->lives = mem_new(1000 * sizeof *op->lives);
    c->changes = op->changes;
    uint32_t used = 0;
    for (uint32_t i = 0; i < c->n_changes; i++) {
        lua_rawgeti(L, -1, i + 1);
        int v = lua_absindex(L, -1);
        op->changes[i].name = copied(L, op, v, "name");
        copy_lives(L, op, v, &op->changes[i], &used);
        lua_pop(L, 1);
    }
}

static enum store_op_kind check_op_kind(lua_State *L, int t) {
    static const char *const names[] = {"event",  "convert", "trim", "set",
                                        "delete", "task",    "done", NULL};
    lua_getfield(L, t, "kind");
    int kind = luaL_checkoption(L, -1, "event", names);
    lua_pop(L, 1);
    return (enum store_op_kind)kind;
}

static void copy_op(lua_State *L, struct op *op, int t) {
    switch (op->op.kind) {
    case STORE_EVENT: copy_event(L, op, t); break;
    case STORE_CONVERT: copy_conversion(L, op, t); break;
    case STORE_TRIM:
        op->op.trim.channel = copied(L, op, t, "channel");
        op->op.trim.seq = (uint64_t)lx_field_number(L, t, "seq", 0);
        break;
    case STORE_SET:
    case STORE_DELETE:
        op->op.pair = (struct store_pair){.store = copied(L, op, t, "store"),
                                          .key = copied(L, op, t, "key"),
                                          .value = copied(L, op, t, "value")};
        break;
    default:
        op->op.task = (struct store_task){.id = copied(L, op, t, "id"),
                                          .name = copied(L, op, t, "name"),
                                          .data = copied(L, op, t, "data")};
        op->op.task.due_ms = (int64_t)lx_field_number(L, t, "due", 0);
    }
}

#endif
