/* Channels of the server object: what is published to them, and what they hold. */
#include "base/bounds.h"
#include "base/clock.h"
#include "base/status.h"
#include "bind/server_type.h"
#include "bind/wanted.h"
#include "serve/app/durable.h"

static int fail_publish(lua_State *L, struct server *s, int err, const struct event *e) {
    bool used_up = false;
    if (err == E_BUSY) seq_refused(&s->hub.seq, &used_up);
    if (!used_up) return lx_fail_event(L, err, e);
    return lx_fail_text(L, err,
                        "the disk does not answer, and no number is left below what it "
                        "has: nothing was published, try again");
}

static int publish(lua_State *L, struct server *s, const struct event *event,
                   bool wants_id) {
    struct published done;
    int err = server_publish(s, event, &done);
    if (err < 0) return fail_publish(L, s, err, event);
    if (wants_id && done.has_id) lx_pushid(L, s, done.seq);
    else lua_pushboolean(L, true);
    lua_pushinteger(L, done.subscribers);
    return 2;
}

/* server:publish(channel, event, text[, key[, remove[, ttl]]])
 *   -> id | true (a state), subscribers | nil, message, code */
static int l_publish(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct event event = {.channel = lx_checkslice(L, 2),
                          .name = lx_optslice(L, 3),
                          .data = lx_checkslice(L, 4),
                          .key = lx_optslice(L, 5),
                          .remove = lua_toboolean(L, 6),
                          .ttl_ms = lx_ms(luaL_optnumber(L, 7, 0))};
    return publish(L, s->server, &event, true);
}

/* server:publish_text(channel, event, data) -> as publish | nothing: event or data is no text.
 *
 * For a function that returns what this does: the caller of that one may drop the id, which
 * costs as much as the rest of a publish, since Lua looks among all its strings for it. Then it
 * is not made. */
static int l_publish_text(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    if (!lx_are_texts(L)) return 0;
    struct event event = {.channel = lx_checkslice(L, 2),
                          .name = lx_optslice(L, 3),
                          .data = lx_checkslice(L, 4)};
    return publish(L, s->server, &event, !wanted_nothing(L));
}

/* server:policy(channel) -> { kind, history, ttl, key, max_keys, denies, durable, shared, max_rate,
 * batch, budget }; durable: it is published to through the store; ttl is false when events do not age */
static int l_policy(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct policy p = policy_of(s->server->fan.chans.policies.set, lx_checkslice(L, 2));
    lua_createtable(L, 0, 11);
    lua_pushstring(L, lx_kind_name(policy_kind(&p)));
    lua_setfield(L, -2, "kind");
    lx_set_integer(L, "history", p.history);
    lx_set_integer(L, "budget", p.budget);
    lx_set_integer(L, "max_keys", p.max_keys);
    if (p.ttl_ms > 0) lua_pushnumber(L, (double)p.ttl_ms / 1000);
    else lua_pushboolean(L, false);
    lua_setfield(L, -2, "ttl");
    lx_set_number(L, "max_rate", p.period_ms ? 1000.0 / p.period_ms : 0);
    lx_set_number(L, "batch", (double)p.batch_ms / 1000);
    if (p.key.n > 0) lx_pushslice(L, p.key);
    else lua_pushnil(L);
    lua_setfield(L, -2, "key");
    lx_set_boolean(L, "denies", p.reads);
    lx_set_boolean(L, "shared", !p.local);
    lx_set_boolean(L, "durable", durable_has(s->server, lx_checkslice(L, 2)));
    return 1;
}

/* server:latest(channel[, key[, event]]) -> text, id | nothing. All of the event is copied
 * before something is pushed, since a finalizer may publish meanwhile. */
static int l_latest(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice channel = lx_checkslice(L, 2);
    struct slice key = lx_optslice(L, 3), name = lx_optslice(L, 4);
    struct buf *b = lx_newbuf(L);
    struct chan *c = chans_find(&s->server->fan.chans, channel);
    struct frame *f = c ? chan_latest(c, key, name, clock_ms()) : NULL;
    if (!f) return 0;
    if (frame_payload(f, b) < 0) return luaL_error(L, "out of memory");
    bool has_id = f->has_id;
    uint64_t seq = f->seq;
    lx_pushslice(L, buf_slice(b));
    buf_free(b);
    if (!has_id) return 1;
    lx_pushid(L, s->server, seq);
    return 2;
}

/* Frames that are held while their rows are made. */
struct held {
    size_t n, max;
    uint64_t all, bytes; /* of the newest: how many there are, and their size */
    struct frame *frames[];
};

static void let_go(struct held *h) {
    while (h->n > 0) frame_unref(h->frames[--h->n]);
}

static int held_gc(lua_State *L) {
    let_go(lua_touserdata(L, 1));
    return 0;
}

/* Append { id, event, data, key } to the list on top of the stack; 'b' is scratch. */
static void add_row(lua_State *L, const struct lx_server *s, const struct frame *f,
                    struct buf *b) {
    b->n = 0;
    if (frame_payload(f, b) < 0) luaL_error(L, "out of memory");
    lua_createtable(L, 0, 4);
    if (f->has_id) {
        lx_pushid(L, s->server, f->seq);
        lua_setfield(L, -2, "id");
    }
    lx_pushslice(L, f->name);
    lua_setfield(L, -2, "event");
    lx_pushslice(L, buf_slice(b));
    lua_setfield(L, -2, "data");
    if (f->key.n > 0) {
        lx_pushslice(L, f->key);
        lua_setfield(L, -2, "key");
    }
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* Which events: those above 'after' with that name, without the first 'skip'. Two walks, so
 * that no list of all is made. */
struct selection {
    const struct chan *c;
    struct slice name;
    uint64_t after, skip;
    int64_t now_ms;
    bool newest; /* of each key, of a keyed log too */
};

static bool is_selected(const struct selection *sel, const struct frame *f) {
    bool named = sel->name.n == 0 || slice_eq(f->name, sel->name);
    return named && f->seq > sel->after && !frame_is_over(f, sel->now_ms) &&
           !(f->remove && sel->c->kind == CHANNEL_STATE);
}

static void hold(const struct selection *sel, struct frame *f, uint64_t *n,
                 struct held *out) {
    if (!is_selected(sel, f) || (*n)++ < sel->skip) return;
    if (out && out->n < out->max) out->frames[out->n++] = frame_ref(f);
}

/* Hold the selection; with 'out' NULL only count it. */
static uint64_t each_selected(const struct selection *sel, struct held *out) {
    const struct kept *k = sel->c->kept;
    const struct latest *l = k->latest;
    uint64_t n = 0;
    if (l && (sel->c->kind == CHANNEL_STATE || sel->newest)) {
        for (uint32_t i = latest_after(l, 0); i < l->n; i = latest_next(l, i))
            hold(sel, latest_at(l, i), &n, out);
        return n;
    }
    for (uint64_t i = k->history; i < k->head; i++)
        hold(sel, chan_at(sel->c, i), &n, out);
    return n;
}

/* The last 'limit' of the selection, in a box on the stack: the box comes first. */
static struct held *hold_last(lua_State *L, struct fan *fan, struct slice channel,
                              struct selection *sel, lua_Integer limit) {
    struct chan *c = chans_find(&fan->chans, channel);
    size_t max = c ? chan_events(c) : 0;
    if (max > (size_t)limit) max = (size_t)limit;
    struct held *h = lx_box(L, sizeof *h + max * sizeof *h->frames, held_gc);
    h->max = max;
    sel->c = chans_find(&fan->chans, channel);
    if (!sel->c) return h;
    if (sel->c->policy->local) sel->after = 0; /* no id is of it */
    uint64_t n = each_selected(sel, NULL);
    if (n > max) sel->skip = n - max;
    each_selected(sel, h);
    return h;
}

/* The arguments (…, limit[, after[, event]]) from index 3; the limit. Negative: 'after' is no
 * id. */
static lua_Integer read_selection(lua_State *L, const struct lx_server *s,
                                  struct selection *sel) {
    *sel = (struct selection){.name = lx_optslice(L, 5), .now_ms = clock_ms()};
    lua_Integer limit = luaL_optinteger(L, 3, 100);
    luaL_argcheck(L, limit >= 0, 3, "0 or more");
    struct eventid after = eventid_parse(lx_optslice(L, 4));
    if (after.kind != EVENTID_NONE && after.kind != EVENTID_GOOD) return -1;
    if (strcmp(after.epoch, s->server->fan.epoch) == 0) sel->after = after.seq;
    lua_settop(L, 5);
    return limit;
}

static int fail_after(lua_State *L) {
    return lx_fail_text(L, E_INVAL, "'after' is not the id of an event");
}

static void push_rows(lua_State *L, const struct lx_server *s, struct held *h,
                      struct buf *b) {
    lua_createtable(L, (int)h->n, 0);
    for (size_t i = 0; i < h->n; i++) add_row(L, s, h->frames[i], b);
    buf_free(b);
    let_go(h);
}

/* server:history(channel, limit[, after[, event]])
 *   -> { {id, event, data, key}, … } | nil, message, code */
static int l_history(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice channel = lx_checkslice(L, 2);
    struct selection sel;
    lua_Integer limit = read_selection(L, s, &sel);
    if (limit < 0) return fail_after(L);
    struct buf *b = lx_newbuf(L);
    struct held *h = hold_last(L, &s->server->fan, channel, &sel, limit);
    push_rows(L, s, h, b);
    return 1;
}

/* The first of the newest, in a box on the stack, and the counts of all with that name. */
static struct held *hold_newest(lua_State *L, struct fan *fan, struct slice channel,
                                struct selection *sel, lua_Integer limit) {
    struct chan *c = chans_find(&fan->chans, channel);
    size_t max = c && c->kept->latest ? c->kept->latest->live : 0;
    if (max > (size_t)limit) max = (size_t)limit;
    struct held *h = lx_box(L, sizeof *h + max * sizeof *h->frames, held_gc);
    h->max = max;
    sel->c = chans_find(&fan->chans, channel); /* a finalizer may have published */
    if (!sel->c || !sel->c->kept->latest) return h;
    if (sel->c->policy->local) sel->after = 0;
    each_selected(sel, h);
    sel->after = 0;
    const struct latest *l = sel->c->kept->latest;
    for (uint32_t i = latest_after(l, 0); i < l->n; i = latest_next(l, i)) {
        if (!is_selected(sel, latest_at(l, i))) continue;
        h->all++;
        h->bytes += latest_at(l, i)->text.n;
    }
    return h;
}

/* server:newest(channel, limit[, after[, event]])
 *   -> { {id, event, data, key}, … }, how many of all, their bytes | nil, message, code
 * The newest of each key and name that a state or keyed log holds, the oldest first. */
static int l_newest(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice channel = lx_checkslice(L, 2);
    struct selection sel;
    lua_Integer limit = read_selection(L, s, &sel);
    if (limit < 0) return fail_after(L);
    sel.newest = true;
    struct buf *b = lx_newbuf(L);
    struct held *h = hold_newest(L, &s->server->fan, channel, &sel, limit);
    push_rows(L, s, h, b);
    lua_pushinteger(L, (lua_Integer)h->all);
    lua_pushinteger(L, (lua_Integer)h->bytes);
    return 3;
}

/* server:channels([pattern]) -> names of the channels that hold or held events */
static int l_channels(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice pattern = lx_optslice(L, 2);
    struct capture captures[PATTERN_CAPTURES_MAX];
    struct buf *names = lx_newbuf(L);
    for (struct chan *c = NULL; (c = chans_next(&s->server->fan.chans, c));) {
        if (pattern.n > 0 && pattern_match(pattern, chan_name(c), captures) < 0) continue;
        lx_addname(L, names, chan_name(c));
    }
    lx_pushnames(L, names);
    return 1;
}

/* ---- What the store has of them -------------------------------------------------------- */

#define STORED_ROWS_MAX 1000

struct stored {
    enum channel_kind kind;
    uint64_t events, values;
    bool more; /* older events, which memory does not hold */
    size_t name_n;
    char name[CHANNEL_NAME_MAX];
};

/* By what memory knows of a durable channel. False: nothing. */
static bool look_at(const struct chan *c, struct stored *out) {
    *out = (struct stored){.kind = c->kind, .name_n = c->name_n};
    memcpy(out->name, c->name, out->name_n);
    const struct kept *k = c->kept;
    if (k->latest) out->values = k->latest->live - k->latest->removals;
    if (c->kind != CHANNEL_STATE) {
        uint64_t first = chan_after(c, k->unstored);
        out->events = k->head - (first > k->history ? first : k->history);
        out->more = chan_lost(c) < k->gone;
    }
    return out->events > 0 || out->values > 0 || out->more;
}

/* What becomes of a channel by the set deletes what is stored of it. NULL: any set. */
static bool goes(const struct chan *c, const struct policy_set *set) {
    if (!set) return true;
    struct policy to = policy_of(set, chan_name(c));
    return !to.durable ||
           (policy_kind(&to) == CHANNEL_STATE) != (c->kind == CHANNEL_STATE);
}

/* Returns how many found no room. */
static lua_Integer collect_stored(struct server *s, const struct policy_set *set,
                                  struct buf *rows) {
    lua_Integer left_out = 0;
    for (struct chan *c = NULL; (c = chans_next(&s->fan.chans, c));) {
        struct stored has;
        if (!c->known || !c->policy->durable || !goes(c, set) || !look_at(c, &has))
            continue;
        bool fits = rows->n / sizeof has < STORED_ROWS_MAX;
        if (!fits || buf_add(rows, &has, sizeof has) < 0) left_out++;
    }
    return left_out;
}

static void push_stored(lua_State *L, const struct stored *has) {
    lua_createtable(L, 0, 5);
    lua_pushlstring(L, has->name, has->name_n);
    lua_setfield(L, -2, "channel");
    lua_pushstring(L, lx_kind_name(has->kind));
    lua_setfield(L, -2, "kind");
    lx_set_integer(L, "events", has->events);
    lx_set_integer(L, "values", has->values);
    lx_set_boolean(L, "more", has->more);
}

/* server:stored([policies]) -> { { channel, kind, events, values, more }, … }, left out
 * What the store has of durable channels; with policies, what they would delete of it. */
static int l_stored(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    lua_settop(L, 2);
    struct buf *rows = lx_newbuf(L);
    struct policy_set *set = lua_isnoneornil(L, 2) ? NULL : lx_checkpolicies(L, 2);
    server_catch_up(s->server);
    lua_Integer left_out = collect_stored(s->server, set, rows);
    policy_set_unref(set);
    lua_newtable(L);
    for (size_t i = 0; i < rows->n / sizeof(struct stored); i++) {
        struct stored has;
        memcpy(&has, rows->p + i * sizeof has, sizeof has);
        push_stored(L, &has);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(L, left_out);
    return 2;
}

static int l_subscribers(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    server_catch_up(s->server);
    lua_pushinteger(L, server_subscribers(s->server, lx_checkslice(L, 2)));
    return 1;
}

void lx_server_add_channels(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"publish", l_publish}, {"publish_text", l_publish_text},
        {"policy", l_policy},   {"latest", l_latest},
        {"history", l_history}, {"channels", l_channels},
        {"stored", l_stored},   {"subscribers", l_subscribers},
        {"newest", l_newest},   {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
