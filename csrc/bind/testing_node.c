/* sluice.core.testing_node: a node of a cluster on a real server, which a spec drives. Not part of
 * the product.
 *
 *     node = testing_node.open { seed =, history =, feed =, and where its server is: bind/link_table.h }
 *     node:publish(channel, data[, key[, idempotency]])   its answer has the same data
 *     node:warm(channel) -> here   node:cool(channel)   node:ask() -> ticket | nil
 *     node:judge(epoch, seq, asked) -> verdict, place
 *     node:look() -> state, epoch, pos, known, heard      node:counts()
 *     node:step(ms) -> list of what happened, after one turn of the loop or so many ms: tables with
 *         what = "release", "fill", "epoch", "answer", "tell"
 * With by_hand = true a spec is the server (see by_hand.h), and says what time it is:
 *     node:turn() -> list as above    node:next_ms() -> when something is due
 *     testing_node.hold(seconds) is the time of all nodes; without a number it goes on
 *     testing_node.seed(n)
 *     node:redis_dialled(lane), redis_accept, redis_take, redis_hear, redis_cut
 * Channels that begin with "s" are states, with "k" keyed logs; others logs. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"
#include "bind/by_hand.h"
#include "bind/l_aux.h"
#include "bind/link_table.h"
#include "cluster/node.h"

#define NODE "sluice.testing_node"

struct publish {
    struct list node;
    struct node_publish inner;
    char bytes[];
};

struct driven {
    struct loop loop;
    struct node *node;
    struct ev_timer timer;
    struct list publishes;
    uint32_t history;
    bool durable; /* all that it publishes */
    lua_State *L; /* during a call: the list is its last value */
};

static struct driven *check(lua_State *L) {
    struct driven *d = luaL_checkudata(L, 1, NODE);
    luaL_argcheck(L, d->node, 1, "it is closed");
    d->L = L;
    return d;
}

/* ---- What happens ----------------------------------------------------------------------- */

static lua_State *begin(struct driven *d, const char *what) {
    lua_State *L = d->L;
    lua_getiuservalue(L, 1, 1);
    lua_createtable(L, 0, 8);
    lua_pushstring(L, what);
    lua_setfield(L, -2, "what");
    return L;
}

static void end(lua_State *L) {
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

static void set_slice(lua_State *L, const char *name, struct slice text) {
    lx_pushslice(L, text);
    lua_setfield(L, -2, name);
}

static void set_entry(lua_State *L, const struct entry *e) {
    lx_set_integer(L, "seq", e->seq);
    lx_set_boolean(L, "mark", e->kind == FEED_MARK);
    set_slice(L, "slot", e->slot);
    lx_set_boolean(L, "remove", e->remove);
    set_slice(L, "key", e->key);
    set_slice(L, "data", e->data);
}

static struct node_policy on_policy(void *owner, struct slice channel) {
    const struct driven *d = owner;
    char kind =
        channel.n > 0 && (*channel.p == 's' || *channel.p == 'k') ? *channel.p : 'l';
    return (struct node_policy){kind, d->history, 600, false};
}

static bool on_release(void *owner, const struct entry *e) {
    lua_State *L = begin(owner, "release");
    set_entry(L, e);
    set_slice(L, "channel", e->channel);
    end(L);
    return true;
}

static void push_entries(lua_State *L, const struct list *in) {
    lua_newtable(L);
    lua_Integer n = 0;
    for (const struct list *at = in->next; at != in; at = at->next) {
        const struct fill_entry *e = (const void *)at; /* its first field */
        lua_createtable(L, 0, 6);
        set_entry(L, &e->entry);
        lua_rawseti(L, -2, ++n);
    }
}

static void on_fill(void *owner, struct fill *f, bool lost, bool more) {
    lua_State *L = begin(owner, "fill");
    set_slice(L, "channel", f->channel);
    lx_set_integer(L, "floor", f->floor);
    lx_set_boolean(L, "lost", lost);
    lx_set_boolean(L, "more", more);
    push_entries(L, &f->events);
    lua_setfield(L, -2, "entries");
    push_entries(L, &f->values);
    lua_setfield(L, -2, "values");
    fill_free(f);
    end(L);
}

static void on_epoch(void *owner, uint64_t base) {
    const struct driven *d = owner;
    const struct machine *m = node_machine(d->node);
    lua_State *L = begin(owner, "epoch");
    lx_set_integer(L, "base", base > INT64_MAX ? INT64_MAX : base);
    lx_set_integer(L, "joined", m->joined);
    set_slice(L, "slot", slice_str(m->slot));
    end(L);
}

static void on_missed(void *owner) {
    (void)owner;
}

static void on_answer(void *owner, struct node_publish *inner, int err) {
    struct publish *p = container_of(inner, struct publish, inner);
    lua_State *L = begin(owner, "answer");
    set_slice(L, "data", inner->event.data);
    lx_set_integer(L, "seq", inner->publish.seq);
    lx_set_boolean(L, "repeats", inner->publish.repeats);
    if (err < 0) set_slice(L, "code", slice_str(status_name(err)));
    list_remove(&p->node);
    mem_free(p);
    end(L);
}

static void on_changed(void *owner) {
    (void)owner;
}

static void on_tell(void *owner, const char *why, bool refused) {
    lua_State *L = begin(owner, "tell");
    set_slice(L, "why", slice_str(why));
    lx_set_boolean(L, "refused", refused);
    end(L);
}

static const struct node_calls calls = {.policy = on_policy,
                                        .release = on_release,
                                        .fill = on_fill,
                                        .epoch = on_epoch,
                                        .missed = on_missed,
                                        .reaped = on_missed,
                                        .answer = on_answer,
                                        .changed = on_changed,
                                        .tell = on_tell};

/* ---- Methods ---------------------------------------------------------------------------- */

static void on_timer(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)timer, (void)events;
    ev_break(ev, EVBREAK_ONE);
}

static int push_events(lua_State *L) {
    lua_getiuservalue(L, 1, 1);
    lua_newtable(L);
    lua_setiuservalue(L, 1, 1);
    return 1;
}

static int l_step(lua_State *L) {
    double seconds = luaL_checknumber(L, 2) / 1000;
    struct driven *d = check(L);
    ev_now_update(d->loop.ev);
    ev_timer_set(&d->timer, seconds, 0);
    ev_timer_start(d->loop.ev, &d->timer);
    ev_run(d->loop.ev, EVRUN_ONCE);
    ev_timer_stop(d->loop.ev, &d->timer);
    return push_events(L);
}

static int l_turn(lua_State *L) {
    node_step(check(L)->node);
    return push_events(L);
}

static int l_next_ms(lua_State *L) {
    lua_pushinteger(L, node_next(check(L)->node));
    return 1;
}

static int l_dialled(lua_State *L) {
    return by_hand_dialled(L, check(L)->node);
}

static int l_accept(lua_State *L) {
    return by_hand_accept(L, check(L)->node);
}

static int l_take(lua_State *L) {
    return by_hand_take(L, check(L)->node);
}

static int l_hear(lua_State *L) {
    return by_hand_hear(L, check(L)->node);
}

static int l_cut(lua_State *L) {
    return by_hand_cut(L, check(L)->node);
}

static struct slice copy(char **at, struct slice text) {
    struct slice mine = slice_of(*at, text.n);
    if (text.n > 0) memcpy(*at, text.p, text.n);
    *at += text.n;
    return mine;
}

static int l_publish(lua_State *L) {
    struct slice channel = lx_checkslice(L, 2), data = lx_checkslice(L, 3),
                 key = lx_optslice(L, 4), idempotency = lx_optslice(L, 5);
    struct driven *d = check(L);
    struct node_policy policy = on_policy(d, channel);
    struct publish *p = mem_new(sizeof *p + channel.n + data.n + key.n + idempotency.n);
    char *at = p->bytes;
    p->inner.publish.durable = d->durable;
    p->inner.event = (struct script_event){.kind = policy.kind,
                                           .channel = copy(&at, channel),
                                           .event = slice_str("message"),
                                           .key = copy(&at, key),
                                           .data = copy(&at, data),
                                           .idempotency = copy(&at, idempotency),
                                           .history = policy.history,
                                           .ttl_s = policy.ttl_s,
                                           .keys_max = 1000};
    list_add(&d->publishes, &p->node);
    node_publish(d->node, &p->inner);
    node_flush(d->node);
    return 0;
}

static int l_warm(lua_State *L) {
    struct slice channel = lx_checkslice(L, 2);
    lua_pushboolean(L, node_warm(check(L)->node, channel));
    return 1;
}

static int l_cool(lua_State *L) {
    struct slice channel = lx_checkslice(L, 2);
    node_cool(check(L)->node, channel);
    return 0;
}

static int l_ask(lua_State *L) {
    uint64_t ticket;
    if (!node_ask(check(L)->node, &ticket)) return 0;
    lua_pushinteger(L, (lua_Integer)ticket);
    return 1;
}

static int l_judge(lua_State *L) {
    static const char *const words[] = {"ours", "failover", "future", "epoch", "ask"};
    const char *epoch = luaL_checkstring(L, 2);
    uint64_t place, seq = (uint64_t)luaL_checkinteger(L, 3);
    const struct driven *d = check(L);
    enum machine_verdict v =
        machine_judge(node_machine(d->node), epoch, seq, lua_toboolean(L, 4), &place);
    lua_pushstring(L, words[v]);
    lua_pushinteger(L, (lua_Integer)place);
    return 2;
}

static int l_look(lua_State *L) {
    static const char *const states[] = {"away", "proving", "catching up", "live"};
    const struct machine *m = node_machine(check(L)->node);
    lua_pushstring(L, states[m->state]);
    lua_pushstring(L, m->epoch);
    lua_pushinteger(L, (lua_Integer)m->pos);
    lua_pushinteger(L, (lua_Integer)m->known);
    lua_pushinteger(L, (lua_Integer)machine_heard(m));
    return 5;
}

static int l_counts(lua_State *L) {
    const struct machine_counts *c = &node_machine(check(L)->node)->counts;
    lua_createtable(L, 0, 8);
    lx_set_integer(L, "published", c->published);
    lx_set_integer(L, "holes", c->holes);
    lx_set_integer(L, "loads", c->loads);
    lx_set_integer(L, "epochs", c->epochs);
    lx_set_integer(L, "marks", c->marks);
    lx_set_integer(L, "joins", c->joins);
    lx_set_integer(L, "resent", c->resent);
    lx_set_integer(L, "unknown", c->unknown);
    return 1;
}

static int l_close(lua_State *L) {
    struct driven *d = luaL_checkudata(L, 1, NODE);
    if (!d->node) return 0;
    node_free(d->node);
    d->node = NULL;
    while (!list_empty(&d->publishes)) {
        struct publish *p = container_of(d->publishes.next, struct publish, node);
        list_remove(&p->node);
        mem_free(p);
    }
    loop_deinit(&d->loop);
    return 0;
}

static int l_open(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct node_options o = {.link = link_of_table(L),
                             .label = "test",
                             .seed = (uint64_t)lx_field_number(L, 1, "seed", 1),
                             .feed_events = (uint32_t)lx_field_number(L, 1, "feed", 0)};
    uint32_t history = (uint32_t)lx_field_number(L, 1, "history", 100);
    struct driven *d = lua_newuserdatauv(L, sizeof *d, 1);
    memset(d, 0, sizeof *d);
    d->history = history;
    d->durable = o.link.durable.on_disk || o.link.durable.replicas > 0;
    list_init(&d->publishes);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    if (loop_init(&d->loop, d) < 0) return luaL_error(L, "no loop");
    luaL_setmetatable(L, NODE);
    ev_timer_init(&d->timer, on_timer, 0, 0);
    int err = node_new(&d->node, &d->loop, &o, &calls, d);
    return err < 0 ? lx_fail(L, err) : 1;
}

static int l_hold(lua_State *L) {
    if (lua_isnoneornil(L, 1)) clock_release();
    else clock_hold((int64_t)(luaL_checknumber(L, 1) * 1e6 + 0.5), 0);
    return 0;
}

static int l_seed(lua_State *L) {
    rand_seed((uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

LX_EXPORT int luaopen_sluice_core_testing_node(lua_State *L);
LX_EXPORT int luaopen_sluice_core_testing_node(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"open", l_open}, {"hold", l_hold}, {"seed", l_seed}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"step", l_step},
                                       {"publish", l_publish},
                                       {"warm", l_warm},
                                       {"cool", l_cool},
                                       {"ask", l_ask},
                                       {"judge", l_judge},
                                       {"look", l_look},
                                       {"counts", l_counts},
                                       {"close", l_close},
                                       {"__gc", l_close},
                                       {"turn", l_turn},
                                       {"next_ms", l_next_ms},
                                       {"redis_dialled", l_dialled},
                                       {"redis_accept", l_accept},
                                       {"redis_take", l_take},
                                       {"redis_hear", l_hear},
                                       {"redis_cut", l_cut},
                                       {NULL, NULL}};
    lx_newtype(L, NODE, methods);
    luaL_newlib(L, functions);
    return 1;
}
