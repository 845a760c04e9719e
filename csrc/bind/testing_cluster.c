/* sluice.core.testing_cluster: the state machine of a node (cluster/machine.h) for its world
 * (spec/cluster). Not part of the product.
 *
 * What it does is a list of actions that Lua takes; what comes in are calls. An event, a fill
 * and a publish are whole numbers that Lua chose. */
#include "base/mem.h"
#include "base/planted.h"
#include "base/rand.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "cluster/machine.h"

#define MACHINE "sluice.testing.machine"
#define RESULTS_MAX CLUSTER_BATCH_MAX

struct node {
    struct machine machine;
    struct list publishes, pages;
    bool open, full;
    int64_t answered_ms; /* by its app; 0: it does always */
    lua_State *L;        /* during a call: the list of actions is its last value */
    int actions;         /* ... and how many there are */
};

struct publish {
    struct list node;
    struct cluster_publish inner;
    lua_Integer id;
    size_t n;
    char channel[];
};

struct page {
    struct list node;
    struct cluster_page inner;
    lua_Integer id;
};

static struct node *check_node(lua_State *L) {
    struct node *n = luaL_checkudata(L, 1, MACHINE);
    luaL_argcheck(L, n->open, 1, "it is closed");
    return n;
}

/* ---- What it does --------------------------------------------------------------------- */

/* An action is a table on top, until add_action. */
static lua_State *new_action(struct node *n, const char *what) {
    lua_createtable(n->L, 0, 8);
    lua_pushstring(n->L, what);
    lua_setfield(n->L, -2, "what");
    return n->L;
}

static void add_action(struct node *n) {
    lua_getiuservalue(n->L, 1, 1);
    lua_insert(n->L, -2);
    lua_rawseti(n->L, -2, (lua_Integer)lua_rawlen(n->L, -2) + 1);
    lua_pop(n->L, 1);
}

static void set_text(lua_State *L, const char *name, const char *text) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_slice(lua_State *L, const char *name, struct slice text) {
    lx_pushslice(L, text);
    lua_setfield(L, -2, name);
}

static lua_Integer number_of(const void *p) {
    return (lua_Integer)(intptr_t)p;
}

static void *pointer_of(lua_Integer n) {
    return (void *)(intptr_t)n;
}

static void on_dial(void *owner) {
    new_action(owner, "dial");
    add_action(owner);
}

static void on_hang_up(void *owner) {
    new_action(owner, "hang_up");
    add_action(owner);
}

static void push_publishes(lua_State *L, const struct cluster_call *call) {
    lua_createtable(L, (int)call->n, 0);
    for (unsigned i = 0; i < call->n; i++) {
        const struct publish *p = container_of(call->publishes[i], struct publish, inner);
        lua_createtable(L, 0, 3);
        lx_set_integer(L, "id", (uint64_t)p->id);
        lx_set_integer(L, "token", p->inner.token);
        lx_set_integer(L, "lease", p->inner.lease);
        set_slice(L, "channel", p->inner.channel);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "publishes");
}

static void on_call(void *owner, const struct cluster_call *call) {
    static const char *const kinds[] = {"join", "publish", "load", "mark",
                                        "beat", "keep",    "page"};
    lua_State *L = new_action(owner, "call");
    set_text(L, "kind", kinds[call->kind]);
    lx_set_integer(L, "tag", call->tag);
    set_text(L, "slot", call->slot);
    set_text(L, "epoch", call->epoch);
    set_text(L, "fence", call->fence);
    set_text(L, "replid", call->replid);
    lx_set_integer(L, "known", call->known);
    set_text(L, "new_epoch", call->new_epoch);
    lx_set_integer(L, "since", call->since_ms);
    lx_set_boolean(L, "would_lead", call->would_lead);
    if (call->page)
        lx_set_integer(L, "page",
                       (uint64_t)container_of(call->page, struct page, inner)->id);
    if (call->publishes) push_publishes(L, call);
    lua_createtable(L, (int)call->n, 0);
    for (unsigned i = 0; call->channels && i < call->n; i++) {
        lx_pushslice(L, call->channels[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "channels");
    add_action(owner);
}

static void on_follow(void *owner, uint64_t pos) {
    lx_set_integer(new_action(owner, "follow"), "pos", pos);
    add_action(owner);
}

static void set_entry(lua_State *L, const struct cluster_entry *e) {
    lx_set_integer(L, "seq", e->seq);
    lx_set_boolean(L, "mark", e->kind == ENTRY_MARK);
    set_slice(L, "slot", e->slot);
    set_slice(L, "channel", e->channel);
    lx_set_integer(L, "id", (uint64_t)number_of(e->event));
}

static bool on_release(void *owner, const struct cluster_entry *e) {
    const struct node *n = owner;
    if (n->full) return false;
    set_entry(new_action(owner, "release"), e);
    add_action(owner);
    return true;
}

static void on_fill(void *owner, struct slice channel, void *fill, bool lost, bool more) {
    lua_State *L = new_action(owner, "fill");
    set_slice(L, "channel", channel);
    lx_set_integer(L, "fill", (uint64_t)number_of(fill));
    lx_set_boolean(L, "lost", lost);
    lx_set_boolean(L, "more", more);
    add_action(owner);
}

static void on_add(void *owner, void *fill, const struct cluster_entry *e) {
    lua_State *L = new_action(owner, "add");
    set_entry(L, e);
    lx_set_integer(L, "fill", (uint64_t)number_of(fill));
    add_action(owner);
}

static void on_drop(void *owner, void *fill) {
    const struct node *n = owner;
    if (!n->L) return; /* it is being closed */
    lx_set_integer(new_action(owner, "drop"), "fill", (uint64_t)number_of(fill));
    add_action(owner);
}

/* As lineage_read has it. */
static void push_lineage(lua_State *L, const struct lineage *l) {
    lua_pushliteral(L, "");
    for (unsigned i = 0; i < l->n; i++) {
        lua_pushfstring(L, "%s%s:%I", i > 0 ? "," : "", l->rows[i].epoch,
                        (LUAI_UACINT)l->rows[i].base);
        lua_concat(L, 2);
    }
    lua_setfield(L, -2, "lineage");
}

static void on_epoch(void *owner, uint64_t base) {
    const struct node *n = owner;
    lua_State *L = new_action(owner, "epoch");
    lx_set_integer(L, "base", base > INT64_MAX ? INT64_MAX : base);
    set_text(L, "epoch", n->machine.epoch);
    lx_set_integer(L, "pos", n->machine.pos);
    lx_set_integer(L, "mark", n->machine.mark);
    lx_set_integer(L, "joined", n->machine.joined);
    push_lineage(L, &n->machine.lineage);
    add_action(owner);
}

static void on_page(void *owner, struct cluster_page *inner, const void *read) {
    struct page *p = container_of(inner, struct page, inner);
    (void)read; /* the spec has it */
    lx_set_integer(new_action(owner, "page"), "page", (uint64_t)p->id);
    list_remove(&p->node);
    mem_free(p);
    add_action(owner);
}

static void on_missed(void *owner) {
    (void)owner;
}

static void on_answer(void *owner, struct cluster_publish *inner, int err) {
    struct publish *p = container_of(inner, struct publish, inner);
    lua_State *L = new_action(owner, "answer");
    lx_set_integer(L, "id", (uint64_t)p->id);
    lx_set_integer(L, "seq", inner->seq);
    if (err < 0) set_text(L, "code", status_name(err));
    list_remove(&p->node);
    mem_free(p);
    add_action(owner);
}

static void on_changed(void *owner) {
    (void)owner;
}

static void on_lead(void *owner) {
    const struct node *n = owner;
    lx_set_integer(new_action(owner, "lead"), "token", n->machine.lead.token);
    add_action(owner);
}

static int64_t on_answered(void *owner) {
    const struct node *n = owner;
    return n->answered_ms > 0 ? n->answered_ms : n->machine.now_ms;
}

static const struct machine_ops ops = {.dial = on_dial,
                                       .hang_up = on_hang_up,
                                       .call = on_call,
                                       .follow = on_follow,
                                       .release = on_release,
                                       .fill = on_fill,
                                       .add = on_add,
                                       .drop = on_drop,
                                       .epoch = on_epoch,
                                       .page = on_page,
                                       .missed = on_missed,
                                       .reaped = on_missed,
                                       .answer = on_answer,
                                       .changed = on_changed,
                                       .lead = on_lead,
                                       .answered = on_answered};

/* ---- A node --------------------------------------------------------------------------- */

static int l_close(lua_State *L) {
    struct node *n = luaL_checkudata(L, 1, MACHINE);
    if (!n->open) return 0;
    n->open = false;
    n->L = NULL;
    machine_deinit(&n->machine);
    while (!list_empty(&n->publishes)) {
        struct publish *p = container_of(n->publishes.next, struct publish, node);
        list_remove(&p->node);
        mem_free(p);
    }
    while (!list_empty(&n->pages)) {
        struct page *p = container_of(n->pages.next, struct page, node);
        list_remove(&p->node);
        mem_free(p);
    }
    return 0;
}

/* testing_cluster.machine(slot, seed) -> a node that was never connected */
static int l_machine(lua_State *L) {
    const char *slot = luaL_checkstring(L, 1);
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 2);
    struct node *n = lua_newuserdatauv(L, sizeof *n, 1);
    memset(n, 0, sizeof *n);
    luaL_setmetatable(L, MACHINE);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    list_init(&n->publishes);
    list_init(&n->pages);
    machine_init(&n->machine, &ops, n, slot, seed);
    n->open = true;
    return 1;
}

static struct node *enter(lua_State *L) {
    struct node *n = check_node(L);
    n->L = L;
    return n;
}

/* node:take() -> the actions since the last time, in order */
static int l_take(lua_State *L) {
    check_node(L);
    lua_getiuservalue(L, 1, 1);
    if (lua_rawlen(L, -1) == 0) return 0;
    lua_newtable(L);
    lua_setiuservalue(L, 1, 1);
    return 1;
}

static int l_clock(lua_State *L) {
    int64_t now = luaL_checkinteger(L, 2);
    struct node *n = enter(L);
    if (now >= machine_next(&n->machine) || now - n->machine.now_ms >= 1000)
        machine_clock(&n->machine, now);
    else n->machine.now_ms = now;
    return 0;
}

static int l_dialled(lua_State *L) {
    machine_dialled(&enter(L)->machine);
    return 0;
}

static int l_broken(lua_State *L) {
    machine_broken(&enter(L)->machine);
    return 0;
}

static int l_idle(lua_State *L) {
    machine_idle(&enter(L)->machine);
    return 0;
}

static uint64_t field(lua_State *L, int index, const char *name) {
    return (uint64_t)lx_field_number(L, index, name, 0);
}

/* A list of { seq, … } in the field of that name, up to RESULTS_MAX. */
static unsigned read_results(lua_State *L, struct cluster_number *numbers,
                             struct cluster_loaded *loaded) {
    unsigned n = 0;
    if (lua_getfield(L, 3, "results") != LUA_TTABLE) return 0;
    for (; n < RESULTS_MAX && lua_rawgeti(L, -1, n + 1) == LUA_TTABLE; n++) {
        int at = lua_gettop(L);
        numbers[n] =
            (struct cluster_number){.seq = field(L, at, "seq"),
                                    .repeats = lx_field_bool(L, at, "repeats", false),
                                    .deposed = lx_field_bool(L, at, "deposed", false)};
        loaded[n].upto = field(L, at, "upto");
        loaded[n].last = field(L, at, "last");
        loaded[n].fill = pointer_of((lua_Integer)field(L, at, "fill"));
        lua_pop(L, 1);
    }
    return n;
}

/* node:reply(tag, { refused =, seq =, mark =, epoch =, fence =, lineage =, took =, age =, results =,
 *   lead =, lease =, left = }) */
static int l_reply(lua_State *L) {
    static const char *const words[] = {"", "lineage", "replicas", "full", "other", NULL};
    struct cluster_number numbers[RESULTS_MAX];
    struct cluster_loaded loaded[RESULTS_MAX];
    unsigned tag = (unsigned)luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    lua_getfield(L, 3, "refused");
    int refused = luaL_checkoption(L, 4, "", words);
    struct slice epoch = lx_field_slice(L, 3, "epoch"),
                 fence = lx_field_slice(L, 3, "fence"),
                 replid = lx_field_slice(L, 3, "replid");
    struct cluster_reply r = {.refused = (enum cluster_refusal)refused,
                              .seq = field(L, 3, "seq"),
                              .mark = field(L, 3, "mark"),
                              .epoch = epoch.n ? epoch.p : "",
                              .fence = fence.n ? fence.p : "",
                              .replid = replid.n ? replid.p : "",
                              .lineage = lx_field_slice(L, 3, "lineage"),
                              .took = lx_field_bool(L, 3, "took", false),
                              .lead = {lx_field_slice(L, 3, "lead"), field(L, 3, "lease"),
                                       (int64_t)field(L, 3, "left")},
                              .age_ms = field(L, 3, "age"),
                              .numbers = numbers,
                              .loaded = loaded};
    read_results(L, numbers, loaded);
    machine_reply(&enter(L)->machine, tag, &r);
    return 0;
}

/* node:entry{ kind = "event" | "mark" | "epoch" | "other", seq =, channel =, before =, slot =,
 *   token =, epoch =, base =, id = } -> "taken" | "later" | "stop" */
static int l_entry(lua_State *L) {
    static const char *const kinds[] = {"event", "mark", "epoch", "other", NULL};
    static const char *const taken[] = {"taken", "later", "stop"};
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_getfield(L, 2, "kind");
    int kind = luaL_checkoption(L, 3, NULL, kinds);
    bool chained = lua_getfield(L, 2, "before") != LUA_TNIL;
    struct slice epoch = lx_field_slice(L, 2, "epoch");
    struct cluster_entry e = {.kind = (enum cluster_entry_kind)kind,
                              .seq = field(L, 2, "seq"),
                              .channel = lx_field_slice(L, 2, "channel"),
                              .is_state = lx_field_bool(L, 2, "key", false),
                              .chained = chained,
                              .before = field(L, 2, "before"),
                              .slot = lx_field_slice(L, 2, "slot"),
                              .token = field(L, 2, "token"),
                              .epoch = epoch.n ? epoch.p : "",
                              .base = field(L, 2, "base"),
                              .event = pointer_of((lua_Integer)field(L, 2, "id"))};
    lua_pushstring(L, taken[machine_entry(&enter(L)->machine, &e)]);
    return 1;
}

/* node:publish(channel, id, is_state[, lease]) */
static int l_publish(lua_State *L) {
    struct slice channel = lx_checkslice(L, 2);
    lua_Integer id = luaL_checkinteger(L, 3);
    struct node *n = enter(L);
    struct publish *p = mem_new(sizeof *p + channel.n);
    memcpy(p->channel, channel.p, channel.n);
    p->id = id;
    p->inner.channel = slice_of(p->channel, channel.n);
    p->inner.is_state = lua_toboolean(L, 4);
    p->inner.lease = (uint64_t)luaL_optinteger(L, 5, 0);
    p->inner.bytes = 100;
    list_add(&n->publishes, &p->node);
    machine_publish(&n->machine, &p->inner);
    machine_flush(&n->machine);
    return 0;
}

/* node:page(id) */
static int l_page(lua_State *L) {
    lua_Integer id = luaL_checkinteger(L, 2);
    struct node *n = enter(L);
    struct page *p = mem_new(sizeof *p);
    p->id = id;
    list_add(&n->pages, &p->node);
    machine_page(&n->machine, &p->inner);
    return 0;
}

/* node:leads() -> its token, or nil */
static int l_leads(lua_State *L) {
    uint64_t token = machine_leads(&check_node(L)->machine);
    if (token == 0) return 0;
    lua_pushinteger(L, (lua_Integer)token);
    return 1;
}

/* node:answered(ms): its app has, then */
static int l_answered(lua_State *L) {
    enter(L)->answered_ms = luaL_checkinteger(L, 2);
    return 0;
}

/* node:give_up_lead(yes) */
static int l_give_up_lead(lua_State *L) {
    machine_give_up_lead(&enter(L)->machine, lua_toboolean(L, 2));
    return 0;
}

static int l_warm(lua_State *L) {
    struct slice channel = lx_checkslice(L, 2);
    lua_pushboolean(L, machine_warm(&enter(L)->machine, channel));
    return 1;
}

static int l_cool(lua_State *L) {
    struct slice channel = lx_checkslice(L, 2);
    machine_cool(&enter(L)->machine, channel);
    return 0;
}

/* node:room(yes): whether what is released finds room */
static int l_room(lua_State *L) {
    check_node(L)->full = !lua_toboolean(L, 2);
    return 0;
}

/* node:judge(epoch, seq, asked) -> verdict, place */
static int l_judge(lua_State *L) {
    static const char *const words[] = {"ours", "failover", "future", "epoch", "ask"};
    const struct node *n = check_node(L);
    uint64_t place;
    enum machine_verdict v =
        machine_judge(&n->machine, luaL_checkstring(L, 2),
                      (uint64_t)luaL_checkinteger(L, 3), lua_toboolean(L, 4), &place);
    lua_pushstring(L, words[v]);
    lua_pushinteger(L, (lua_Integer)place);
    return 2;
}

/* node:ask() -> ticket | nil: it is away */
static int l_ask(lua_State *L) {
    uint64_t ticket;
    if (!machine_ask(&enter(L)->machine, &ticket)) return 0;
    lua_pushinteger(L, (lua_Integer)ticket);
    return 1;
}

/* node:look() -> state, epoch, pos, known, heard, publishes that wait */
static int l_look(lua_State *L) {
    static const char *const states[] = {"away", "proving", "catching up", "live"};
    const struct machine *m = &check_node(L)->machine;
    lua_pushstring(L, states[m->state]);
    lua_pushstring(L, m->epoch);
    lua_pushinteger(L, (lua_Integer)m->pos);
    lua_pushinteger(L, (lua_Integer)m->known);
    lua_pushinteger(L, (lua_Integer)machine_heard(m));
    lua_pushinteger(L, m->n_publishes);
    return 6;
}

/* node:counts() -> { holes =, loads =, epochs =, marks =, joins =, resent =, unknown =, cold = } */
static int l_counts(lua_State *L) {
    const struct machine_counts *c = &check_node(L)->machine.counts;
    lua_createtable(L, 0, 8);
    lx_set_integer(L, "holes", c->holes);
    lx_set_integer(L, "loads", c->loads);
    lx_set_integer(L, "epochs", c->epochs);
    lx_set_integer(L, "marks", c->marks);
    lx_set_integer(L, "joins", c->joins);
    lx_set_integer(L, "resent", c->resent);
    lx_set_integer(L, "unknown", c->unknown);
    lx_set_integer(L, "cold", c->cold);
    return 1;
}

/* testing_cluster.plant(n): that planted bug is active (base/planted.h) */
static int l_plant(lua_State *L) {
#ifdef SLUICE_PLANTED
    planted_bug = (int)luaL_checkinteger(L, 1);
#else
    luaL_argcheck(L, luaL_checkinteger(L, 1) == 0, 1, "this build has no planted bugs");
#endif
    return 0;
}

/* testing_cluster.seed(n): names are hashed in the same way in each run */
static int l_seed(lua_State *L) {
    rand_seed((uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

static int l_alive(lua_State *L) {
    lua_pushinteger(L, mem_live());
    return 1;
}

LX_EXPORT int luaopen_sluice_core_testing_cluster(lua_State *L);

int luaopen_sluice_core_testing_cluster(lua_State *L) {
    static const luaL_Reg methods[] = {{"take", l_take},
                                       {"clock", l_clock},
                                       {"dialled", l_dialled},
                                       {"broken", l_broken},
                                       {"idle", l_idle},
                                       {"reply", l_reply},
                                       {"entry", l_entry},
                                       {"publish", l_publish},
                                       {"page", l_page},
                                       {"leads", l_leads},
                                       {"give_up_lead", l_give_up_lead},
                                       {"answered", l_answered},
                                       {"warm", l_warm},
                                       {"cool", l_cool},
                                       {"room", l_room},
                                       {"judge", l_judge},
                                       {"ask", l_ask},
                                       {"look", l_look},
                                       {"counts", l_counts},
                                       {"close", l_close},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {{"machine", l_machine},
                                         {"plant", l_plant},
                                         {"alive", l_alive},
                                         {"seed", l_seed},
                                         {NULL, NULL}};
    luaL_newmetatable(L, MACHINE);
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
