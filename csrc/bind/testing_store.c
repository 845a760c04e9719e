/* sluice.core.testing_store: the durable store without a server, for specs. Not part of the
 * product.
 *
 * What the store calls (open, release, abort, done, late, floor, pages) is kept in a log that
 * Lua takes when it likes, since the store's threads must not run Lua. Policies are tables by
 * exact name. Numbers are given as the sequencer gives them. */
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "bind/testing_store_each.h"
#include "bind/testing_store_op.h"
#include "store/disk.h"
#include "store/store.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>

static struct disk *check_disk(lua_State *L, int index) { /* made by testing_disk */
    return *(struct disk **)luaL_checkudata(L, index, "sluice.disk");
}

#define GAP ((uint64_t)1 << 24)

/* ---- The log of what was called -------------------------------------------------------- */

struct entry {
    struct list node;
    const char *what;
    lua_Integer a, b, c; /* -1: not given */
    struct buf text;
    struct store_page page;
    bool has_page;
};

struct box {
    struct store *store;
    pthread_mutex_t lock;
    struct list log;                     /* [lock] */
    uint64_t head, group_first, group_n; /* [lock] */
    uint64_t floor;
    struct policies *now; /* [store thread] */
    lua_Integer ids;
    uint64_t done; /* [lock] ops given back */
    bool is_quiet; /* a bench: nothing is logged */
    pthread_cond_t ended;
};

static struct entry *add(struct box *b, const char *what, lua_Integer x, lua_Integer y,
                         lua_Integer z) {
    struct entry *e = mem_new(sizeof *e);
    e->what = what;
    e->a = x, e->b = y, e->c = z;
    list_add(&b->log, &e->node);
    return e;
}

/* ---- Calls ---------------------------------------------------------------------------- */

static int on_open(void *owner, uint32_t n, uint64_t *first) {
    struct box *b = owner;
    pthread_mutex_lock(&b->lock);
    assert(b->group_first == 0);
    b->group_first = *first = b->head + GAP + 1;
    b->group_n = n;
    if (!b->is_quiet) add(b, "open", (lua_Integer)*first, n, -1);
    pthread_mutex_unlock(&b->lock);
    return 0;
}

static void on_release(void *owner, struct store_op **ops, uint32_t n,
                       uint32_t n_numbers) {
    struct box *b = owner;
    pthread_mutex_lock(&b->lock);
    assert(n_numbers <= b->group_n);
    if (n_numbers > 0) {
        b->head = b->group_first + n_numbers - 1;
        b->group_first = b->group_n = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct op *op = op_of(ops[i]);
        if (op->op.kind == STORE_CONVERT) { /* from here on these are the policies */
            struct policies *old = b->now;
            b->now = op->next;
            op->next = old;
        }
        if (!b->is_quiet)
            add(b, "release", op->id, (lua_Integer)op->op.seq, op->op.answer);
    }
    pthread_mutex_unlock(&b->lock);
}

static void on_abort(void *owner) {
    struct box *b = owner;
    pthread_mutex_lock(&b->lock);
    add(b, "abort", (lua_Integer)b->group_first, -1, -1);
    b->group_first = b->group_n = 0;
    pthread_mutex_unlock(&b->lock);
}

static void on_done(void *owner, struct store_op **ops, uint32_t n) {
    struct box *b = owner;
    pthread_mutex_lock(&b->lock);
    b->done += n;
    for (uint32_t i = 0; i < n && !b->is_quiet; i++)
        add(b, "done", op_of(ops[i])->id, ops[i]->answer, (lua_Integer)ops[i]->seq);
    if (b->is_quiet) pthread_cond_signal(&b->ended);
    pthread_mutex_unlock(&b->lock);
    for (uint32_t i = 0; i < n; i++) op_free(op_of(ops[i]));
}

static void on_late(void *owner, struct store_op *op) {
    struct box *b = owner;
    pthread_mutex_lock(&b->lock);
    add(b, "late", op_of(op)->id, -1, -1);
    pthread_mutex_unlock(&b->lock);
}

static void on_policy(void *owner, struct slice channel, struct store_policy *out,
                      uint64_t *floor) {
    struct box *b = owner;
    const struct policy_row *row = policies_find(b->now, channel);
    if (row) *out = row->policy;
    *floor = row && row->floor > b->floor ? row->floor : b->floor;
}

static void on_floor(void *owner, struct slice channel, uint64_t floor) {
    struct box *b = owner;
    pthread_mutex_lock(&b->lock);
    struct entry *e = add(b, "floor", (lua_Integer)floor, -1, -1);
    buf_add(&e->text, channel.p, channel.n);
    pthread_mutex_unlock(&b->lock);
}

static const struct store_calls calls = {.open = on_open,
                                         .release = on_release,
                                         .abort = on_abort,
                                         .done = on_done,
                                         .late = on_late,
                                         .policy = on_policy,
                                         .floor = on_floor};

/* ---- A store -------------------------------------------------------------------------- */

static struct box *check_box(lua_State *L) {
    struct box *b = luaL_checkudata(L, 1, "sluice.store");
    if (!b->store) luaL_error(L, "the store is closed");
    return b;
}

static void box_empty(struct box *b) {
    while (!list_empty(&b->log)) {
        struct entry *e = container_of(b->log.next, struct entry, node);
        list_remove(&e->node);
        buf_free(&e->text);
        store_page_free(&e->page);
        mem_free(e);
    }
    if (b->now) policies_free(b->now);
    b->now = NULL;
}

static int box_gc(lua_State *L) {
    struct box *b = lua_touserdata(L, 1);
    if (b->store) store_close(b->store, 10000);
    b->store = NULL;
    box_empty(b);
    return 0;
}

/* open{ disk | folder, threads, weak, pages, reserves } -> store | nil, why, code */
static int l_open(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct store_options o = {.threads = lx_field_bool(L, 1, "threads", false),
                              .weak = lx_field_bool(L, 1, "weak", false),
                              .checkpoint_pages =
                                  (uint32_t)lx_field_number(L, 1, "pages", 0),
                              .reserves = lx_field_bool(L, 1, "reserves", false),
                              .calls = &calls};
    if (lua_getfield(L, 1, "disk") != LUA_TNIL) o.disk = check_disk(L, -1);
    if (lua_getfield(L, 1, "folder") != LUA_TNIL) o.folder = lua_tostring(L, -1);
    struct box *b = lua_newuserdatauv(L, sizeof *b, 1);
    *b = (struct box){0};
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->ended, NULL);
    list_init(&b->log);
    luaL_setmetatable(L, "sluice.store");
    lua_getfield(L, 1, "disk"); /* the disk lives as long */
    lua_setiuservalue(L, -2, 1);
    o.owner = b;
    const char *why = NULL;
    int err = store_open(&b->store, &o, &why);
    if (err < 0) return lx_fail_text(L, err, why ? why : status_text(err));
    return 1;
}

/* store:begin{ epoch, head, policies, changes, floor } -> { epoch, first, new, clean }
 * floor: of channels without a row, beside the policy's; nil: the first number */
static int box_begin(lua_State *L) {
    struct box *b = check_box(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct store_start start = {.first = (uint64_t)lx_field_number(L, 2, "head", 0)};
    struct slice epoch = lx_field_slice(L, 2, "epoch");
    if (epoch.n == STORE_EPOCH_LENGTH) memcpy(start.epoch, epoch.p, epoch.n);
    lua_getfield(L, 2, "policies");
    b->now = check_policies(L, lua_absindex(L, -1));
    struct store_conversion now = {.judge = on_judge, .arg = b->now};
    struct store_change *changes = check_changes(L, 2, &now.n_changes);
    now.changes = changes;
    const char *why = NULL;
    int err = store_begin(b->store, &start, &now, &why);
    mem_free(changes);
    if (err < 0) return lx_fail_text(L, err, why ? why : status_text(err));
    b->head = start.first;
    b->floor = (uint64_t)lx_field_number(L, 2, "floor", (double)start.first);
    lua_newtable(L);
    lua_pushstring(L, start.epoch);
    lua_setfield(L, -2, "epoch");
    lx_set_integer(L, "first", start.first);
    lx_set_boolean(L, "new", start.is_new);
    lx_set_boolean(L, "clean", start.is_clean);
    return 1;
}

static int box_run(lua_State *L) {
    int err = store_run(check_box(L)->store);
    return err < 0 ? lx_fail(L, err) : (lua_pushboolean(L, 1), 1);
}

/* ---- Operations ------------------------------------------------------------------------ */

/* store:submit{ kind =, ... } -> id | nil, message, code */
static int box_submit(lua_State *L) {
    struct box *b = check_box(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    enum store_op_kind kind = check_op_kind(L, 2);
    struct op *op = mem_new(sizeof *op);
    int err = buf_reserve(&op->text, 256 * 1024); /* it must not move */
    assert(err == 0);
    op->op.kind = kind;
    copy_op(L, op, 2);
    pthread_mutex_lock(&b->lock);
    op->id = ++b->ids;
    pthread_mutex_unlock(&b->lock);
    lua_Integer id = op->id;
    err = store_submit(b->store, &op->op);
    if (err < 0) op_free(op);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, id);
    return 1;
}

/* store:memory() -> the number of an event in memory, nil when the gap is used up */
static int box_memory(lua_State *L) {
    struct box *b = check_box(L);
    lua_Integer by = luaL_optinteger(L, 2, 1);
    pthread_mutex_lock(&b->lock);
    uint64_t next = b->head + (uint64_t)by;
    bool fits = b->group_first == 0 || next < b->group_first;
    if (fits) b->head = next;
    pthread_mutex_unlock(&b->lock);
    if (fits) lua_pushinteger(L, (lua_Integer)next);
    else lua_pushnil(L);
    return 1;
}

static int box_head(lua_State *L) {
    struct box *b = check_box(L);
    pthread_mutex_lock(&b->lock);
    uint64_t head = b->head;
    pthread_mutex_unlock(&b->lock);
    lua_pushinteger(L, (lua_Integer)head);
    return 1;
}

/* store:burst(n, publishers, bytes, channels) -> seconds: n events, so many in flight */
static int box_burst(lua_State *L) {
    struct box *b = check_box(L);
    uint64_t n = (uint64_t)luaL_checkinteger(L, 2);
    uint64_t publishers = (uint64_t)luaL_checkinteger(L, 3);
    size_t bytes = (size_t)luaL_checkinteger(L, 4);
    unsigned channels = (unsigned)luaL_checkinteger(L, 5);
    int64_t from = clock_us();
    pthread_mutex_lock(&b->lock);
    b->is_quiet = true;
    b->done = 0;
    for (uint64_t sent = 0; b->done < n;) {
        if (sent == n || sent - b->done >= publishers) {
            pthread_cond_wait(&b->ended, &b->lock);
            continue;
        }
        pthread_mutex_unlock(&b->lock);
        struct op *op = mem_new(sizeof *op);
        buf_reserve(&op->text, bytes + 16);
        memset(op->text.p, 'x', bytes + 16);
        int used = snprintf(op->text.p, 16, "c%u", (unsigned)(sent++ % channels));
        op->op.event = (struct store_event){.channel = slice_of(op->text.p, (size_t)used),
                                            .data = slice_of(op->text.p + 16, bytes),
                                            .at_ms = (int64_t)(clock_wall() * 1000)};
        int err = store_submit(b->store, &op->op);
        assert(err == 0);
        (void)err;
        pthread_mutex_lock(&b->lock);
    }
    b->is_quiet = false;
    pthread_mutex_unlock(&b->lock);
    lua_pushnumber(L, (double)(clock_us() - from) / 1e6);
    return 1;
}

/* ---- Reading --------------------------------------------------------------------------- */

struct request {
    struct store_read read;
    struct box *box;
    lua_Integer id;
    char text[];
};

static void on_read(void *owner, struct store_read *read) {
    struct request *r = container_of(read, struct request, read);
    struct box *b = owner;
    pthread_mutex_lock(&b->lock);
    struct entry *e = add(b, "page", r->id, read->err, (lua_Integer)read->seq);
    e->page = read->page;
    e->has_page = read->kind == STORE_READ_PAGE && read->err == 0;
    b->done++;
    pthread_mutex_unlock(&b->lock);
    mem_free(r);
}

/* store:read{ channel, above, head, rows, bytes } or { channel, key } -> id */
static int box_read(lua_State *L) {
    struct box *b = check_box(L);
    struct slice channel = lx_field_slice(L, 2, "channel");
    struct slice key = lx_field_slice(L, 2, "key");
    struct request *r = mem_new(sizeof *r + channel.n + key.n + 2);
    memcpy(r->text, channel.p, channel.n);
    if (key.n > 0) memcpy(r->text + channel.n, key.p, key.n);
    pthread_mutex_lock(&b->lock);
    r->id = ++b->ids;
    double head = (double)b->head;
    pthread_mutex_unlock(&b->lock);
    r->read = (struct store_read){
        .kind = key.n > 0 ? STORE_READ_KEY : STORE_READ_PAGE,
        .channel = slice_of(r->text, channel.n),
        .key = slice_of(r->text + channel.n, key.n),
        .above = (uint64_t)lx_field_number(L, 2, "above", 0),
        .head = (uint64_t)lx_field_number(L, 2, "head", head),
        .rows_max = (uint32_t)lx_field_number(L, 2, "rows", 1000),
        .bytes_max = (uint32_t)lx_field_number(L, 2, "bytes", 1 << 20),
        .done = on_read,
        .owner = b};
    lua_Integer id = r->id;
    int err = store_read(b->store, &r->read);
    if (err < 0) mem_free(r);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, id);
    return 1;
}

static void push_page(lua_State *L, const struct store_page *p) {
    lua_createtable(L, (int)p->n, 4);
    for (uint32_t i = 0; i < p->n; i++) {
        push_row(L, &p->rows[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lx_set_integer(L, "floor", p->floor);
    lx_set_integer(L, "upto", p->upto);
    lx_set_boolean(L, "more", p->more);
    lx_set_boolean(L, "damaged", p->damaged);
}

static void push_entry(lua_State *L, struct entry *e) {
    lua_createtable(L, 5, 0);
    lua_pushstring(L, e->what);
    lua_rawseti(L, -2, 1);
    const lua_Integer values[] = {e->a, e->b, e->c};
    for (int i = 0; i < 3; i++) {
        lua_pushinteger(L, values[i]);
        lua_rawseti(L, -2, i + 2);
    }
    if (e->has_page) push_page(L, &e->page);
    else lx_pushslice(L, buf_slice(&e->text));
    lua_rawseti(L, -2, 5);
}

/* store:take() -> the next entry { what, a, b, c, text | page } or nil; id, answer and seq */
static int box_take(lua_State *L) {
    struct box *b = luaL_checkudata(L, 1, "sluice.store");
    pthread_mutex_lock(&b->lock);
    struct entry *e =
        list_empty(&b->log) ? NULL : container_of(b->log.next, struct entry, node);
    if (e) list_remove(&e->node);
    pthread_mutex_unlock(&b->lock);
    if (!e) return 0;
    push_entry(L, e);
    buf_free(&e->text);
    store_page_free(&e->page);
    mem_free(e);
    return 1;
}

/* ---- What is stored -------------------------------------------------------------------- */

/* store:each("channels" | "newest" | "pairs" | "tasks") -> list, damaged | nil, m, code.
 * Without threads also after begin. */
static int box_each(lua_State *L) {
    struct box *b = check_box(L);
    char what = *luaL_checkstring(L, 2);
    uint32_t damaged = 0;
    lua_newtable(L);
    int err = what == 'c' ? store_each_channel(b->store, each_channel, L)
              : what == 'n'
                  ? store_each_newest(b->store, slice_of("", 0), each_newest, L, &damaged)
              : what == 'p' ? store_each_pair(b->store, each_pair, L, &damaged)
                            : store_each_task(b->store, each_task, L, &damaged);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, damaged);
    return 2;
}

/* store:recent(channel, events) -> the newest first, each with 'before' */
static int box_recent(lua_State *L) {
    struct box *b = check_box(L);
    struct slice channel = lx_checkslice(L, 2);
    uint32_t n = (uint32_t)luaL_checkinteger(L, 3);
    lua_newtable(L);
    int err = store_each_recent(b->store, channel, n, each_recent, L);
    return err < 0 ? lx_fail(L, err) : 1;
}

static int box_stats(lua_State *L) {
    struct store_stats st;
    store_stats(check_box(L)->store, &st);
    lua_newtable(L);
    lx_set_integer(L, "commits", st.commits);
    lx_set_integer(L, "events", st.events);
    lx_set_integer(L, "failed", st.failed);
    lx_set_integer(L, "unknown", st.unknown);
    lx_set_integer(L, "group_us", st.group_us);
    lx_set_integer(L, "queued", st.queued);
    lx_set_integer(L, "in_flight", st.in_flight);
    lx_set_integer(L, "trimmed", st.trimmed);
    lx_set_integer(L, "head", st.head);
    lx_set_integer(L, "wal_pages", st.wal_pages);
    lx_set_integer(L, "damaged", st.damaged);
    lx_set_boolean(L, "in_doubt", st.in_doubt);
    lua_pushstring(L, st.trouble);
    lua_setfield(L, -2, "trouble");
    return 1;
}

/* ---- Time and end ---------------------------------------------------------------------- */

static int box_tick(lua_State *L) {
    struct box *b = check_box(L);
    store_tick(b->store, (uint64_t)luaL_optinteger(L, 2, 0));
    return 0;
}

static int box_step(lua_State *L) {
    lua_pushboolean(L, store_step(check_box(L)->store));
    return 1;
}

static int box_next(lua_State *L) {
    lua_pushinteger(L, store_next(check_box(L)->store));
    return 1;
}

/* store:pace(commit_us, early[, read_us[, joins]]) */
static int box_pace(lua_State *L) {
    struct box *b = check_box(L);
    store_pace(b->store, luaL_checkinteger(L, 2), lua_toboolean(L, 3),
               lua_toboolean(L, 5));
    store_pace_reads(b->store, luaL_optinteger(L, 4, 0));
    return 0;
}

static int box_close(lua_State *L) {
    struct box *b = check_box(L);
    int err = store_close(b->store, luaL_optinteger(L, 2, 10000));
    if (err < 0) return lx_fail(L, err);
    b->store = NULL;
    lua_pushboolean(L, 1);
    return 1;
}

static int box_drop(lua_State *L) {
    struct box *b = check_box(L);
    store_drop(b->store);
    b->store = NULL;
    return 0;
}

/* testing_store.time(us, wall seconds): both clocks stand there; nil: they go on */
static int l_time(lua_State *L) {
    if (lua_isnoneornil(L, 1)) clock_release();
    else clock_hold(luaL_checkinteger(L, 1), luaL_checknumber(L, 2));
    return 0;
}

static int l_alive(lua_State *L) {
    lua_pushinteger(L, mem_live());
    return 1;
}

#ifdef SLUICE_PLANTED
static int l_plant(lua_State *L) {
    planted_bug = (int)luaL_checkinteger(L, 1);
    return 0;
}
#endif

LX_EXPORT int luaopen_sluice_core_testing_store(lua_State *L) {
    log_configure(LOG_OFF, (struct log_form){0}); /* trouble is what the specs make */
    static const luaL_Reg methods[] = {
        {"begin", box_begin}, {"run", box_run},       {"submit", box_submit},
        {"read", box_read},   {"memory", box_memory}, {"head", box_head},
        {"take", box_take},   {"each", box_each},     {"recent", box_recent},
        {"stats", box_stats}, {"tick", box_tick},     {"step", box_step},
        {"next", box_next},   {"pace", box_pace},     {"close", box_close},
        {"drop", box_drop},   {"burst", box_burst},   {"__gc", box_gc},
        {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", l_open},
                                         {"time", l_time},
                                         {"alive", l_alive},
#ifdef SLUICE_PLANTED
                                         {"plant", l_plant},
#endif
                                         {NULL, NULL}};
    lx_newtype(L, "sluice.store", methods);
    luaL_newlib(L, functions);
    return 1;
}
