/* sluice.core.testing_scripts: how the scripts of a cluster are asked and answer, for specs. Not part of
 * the product.
 *
 *     testing_scripts.texts() -> { join = text, pub = text, ... }
 *     testing_scripts.command(name, shas, what, args[, proof]) -> bytes
 *         what: a script, or "follow"; args: fields as in scripts.h, for pub, load and mark a list;
 *         cursor: "none" for no values
 *     testing_scripts.answer(what, bytes[, n]) -> { answer = "OK", ... }
 *     testing_scripts.read(bytes[, piece]) -> list of replies, nil or "EINVAL", ...: texts, integers,
 *         false (nil), { err = text }, lists; fed 'piece' bytes at a time */
#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "bind/reply_tree.h"
#include "cluster/entry.h"
#include "cluster/scripts.h"

#define MOST 64

/* ---- Commands ------------------------------------------------------------------------- */

/* The string stays in the table. */
static const char *text_of(lua_State *L, int at, const char *name) {
    struct slice s = lx_field_slice(L, at, name);
    return s.p ? s.p : "";
}

static uint64_t number_of(lua_State *L, int at, const char *name) {
    return (uint64_t)lx_field_number(L, at, name, 0);
}

static enum script_safe safe_of(lua_State *L, int at) {
    struct slice s = lx_field_slice(L, at, "safe");
    return s.n == 0 ? SAFE_UNKNOWN : slice_eq_lit(s, "yes") ? SAFE_YES : SAFE_NO;
}

static struct script_proof proof_of(lua_State *L, int at) {
    return (struct script_proof){
        .epoch = text_of(L, at, "epoch"),
        .fence = text_of(L, at, "fence"),
        .replid = text_of(L, at, "replid"),
        .slot = text_of(L, at, "slot"),
        .known = number_of(L, at, "known"),
    };
}

static struct script_event event_of(lua_State *L, int at) {
    return (struct script_event){
        .kind = *text_of(L, at, "kind"),
        .remove = lx_field_bool(L, at, "remove", false),
        .is_owned = lx_field_bool(L, at, "owned", false),
        .channel = lx_field_slice(L, at, "channel"),
        .event = lx_field_slice(L, at, "event"),
        .key = lx_field_slice(L, at, "key"),
        .data = lx_field_slice(L, at, "data"),
        .token = lx_field_slice(L, at, "token"),
        .idempotency = lx_field_slice(L, at, "idempotency"),
        .crc = (uint32_t)number_of(L, at, "crc"),
        .lease = number_of(L, at, "lease"),
        .history = (uint32_t)number_of(L, at, "history"),
        .ttl_s = (uint32_t)number_of(L, at, "ttl"),
        .keys_max = (uint32_t)number_of(L, at, "keys_max"),
        .expires_ms = (int64_t)number_of(L, at, "expires"),
    };
}

struct asked {
    lua_State *L;
    struct buf *out;
    struct scripts scripts;
    struct script_proof proof;
    uint32_t n; /* items of the list at 4 */
};

static int put_pub(struct asked *a) {
    struct script_event events[MOST];
    for (uint32_t i = 0; i < a->n; i++) {
        lua_rawgeti(a->L, 4, i + 1);
        events[i] = event_of(a->L, lua_gettop(a->L)); /* stays on the stack */
    }
    return script_pub(a->out, &a->scripts, &a->proof, events, a->n);
}

static int put_load(struct asked *a) {
    struct script_load channels[MOST];
    for (uint32_t i = 0; i < a->n; i++) {
        lua_rawgeti(a->L, 4, i + 1);
        int at = lua_gettop(a->L);
        struct slice cursor = lx_field_slice(a->L, at, "cursor");
        channels[i] = (struct script_load){
            .kind = *text_of(a->L, at, "kind"),
            .channel = lx_field_slice(a->L, at, "channel"),
            .ttl_s = (uint32_t)number_of(a->L, at, "ttl"),
            .before = number_of(a->L, at, "before"),
            .cursor = slice_eq_lit(cursor, "none") ? slice_of("", 0)
                      : cursor.n > 0               ? cursor
                                                   : slice_of("0", 1),
        };
    }
    return script_load(a->out, &a->scripts, &a->proof, channels, a->n);
}

static int put_page(struct asked *a) {
    struct script_page ask = {
        .channel = lx_field_slice(a->L, 4, "channel"),
        .above = number_of(a->L, 4, "above"),
        .upto = number_of(a->L, 4, "upto"),
        .joined = number_of(a->L, 4, "joined"),
        .newest = (uint32_t)number_of(a->L, 4, "newest"),
        .events = (uint32_t)number_of(a->L, 4, "events"),
        .bytes = (uint32_t)number_of(a->L, 4, "bytes"),
    };
    return script_page(a->out, &a->scripts, &a->proof, &ask);
}

static int put_mark(struct asked *a) {
    struct script_mark channels[MOST];
    for (uint32_t i = 0; i < a->n; i++) {
        lua_rawgeti(a->L, 4, i + 1);
        int at = lua_gettop(a->L);
        channels[i] = (struct script_mark){
            .channel = lx_field_slice(a->L, at, "channel"),
            .ttl_s = (uint32_t)number_of(a->L, at, "ttl"),
            .history = (uint32_t)number_of(a->L, at, "history"),
            .since_ms = (uint64_t)number_of(a->L, at, "since"),
        };
    }
    return script_mark(a->out, &a->scripts, &a->proof, channels, a->n);
}

static int put_join(struct asked *a) {
    struct script_join join = {
        .slot = text_of(a->L, 4, "slot"),
        .epoch = text_of(a->L, 4, "epoch"),
        .known = number_of(a->L, 4, "known"),
        .new_epoch = text_of(a->L, 4, "new_epoch"),
        .safe = safe_of(a->L, 4),
        .label = text_of(a->L, 4, "label"),
        .rules = text_of(a->L, 4, "rules"),
    };
    return script_join(a->out, &a->scripts, &join);
}

static int put_beat(struct asked *a) {
    struct script_beat beat = {
        .label = text_of(a->L, 4, "label"),
        .safe = safe_of(a->L, 4),
        .feed_events = (uint32_t)number_of(a->L, 4, "feed_events"),
        .rules = text_of(a->L, 4, "rules"),
        .would_lead = lx_field_bool(a->L, 4, "would_lead", false),
        .reaps = lx_field_bool(a->L, 4, "reaps", false),
    };
    return script_beat(a->out, &a->scripts, &a->proof, &beat);
}

static int put_follow(struct asked *a) {
    return script_follow(a->out, &a->scripts, number_of(a->L, 4, "after"),
                         (uint32_t)number_of(a->L, 4, "count"),
                         (uint32_t)number_of(a->L, 4, "block"));
}

static int put_what(struct asked *a, const char *what) {
    if (strcmp(what, "join") == 0) return put_join(a);
    if (strcmp(what, "pub") == 0) return put_pub(a);
    if (strcmp(what, "beat") == 0) return put_beat(a);
    if (strcmp(what, "load") == 0) return put_load(a);
    if (strcmp(what, "page") == 0) return put_page(a);
    if (strcmp(what, "mark") == 0) return put_mark(a);
    if (strcmp(what, "follow") == 0) return put_follow(a);
    if (strcmp(what, "head") == 0) return script_head(a->out, &a->scripts, &a->proof);
    return script_probe(a->out, &a->scripts);
}

static int l_command(lua_State *L) {
    struct asked a = {.L = L};
    const char *what = luaL_checkstring(L, 3);
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_settop(L, 5);
    a.n = (uint32_t)lua_rawlen(L, 4);
    luaL_argcheck(L, a.n <= MOST, 4, "too many");
    luaL_checkstack(L, MOST + 40, NULL);
    snprintf(a.scripts.name, sizeof a.scripts.name, "%s", luaL_checkstring(L, 1));
    for (int i = 0; i < SCRIPTS; i++)
        snprintf(a.scripts.sha[i], sizeof a.scripts.sha[i], "%s",
                 text_of(L, 2, script_name((enum script)i)));
    if (!lua_isnil(L, 5)) a.proof = proof_of(L, 5);
    a.out = lx_newbuf(L);
    int box = lua_gettop(L), err = put_what(&a, what);
    if (err < 0) return lx_fail(L, err);
    lua_pushlstring(L, a.out->p, a.out->n);
    lua_replace(L, box);
    lua_settop(L, box);
    return 1;
}

/* ---- Answers -------------------------------------------------------------------------- */

static void set_slice(lua_State *L, const char *name, struct slice s) {
    lx_pushslice(L, s);
    lua_setfield(L, -2, name);
}

static void push_entry(lua_State *L, const struct entry *e, int err) {
    lua_newtable(L);
    lx_set_integer(L, "seq", e->seq);
    if (err < 0) {
        lua_pushstring(L, status_name(err));
        lua_setfield(L, -2, "wrong");
        return;
    }
    char kind = (char)e->kind;
    set_slice(L, "kind", slice_of(&kind, 1));
    lx_set_integer(L, "prior", e->prior);
    lx_set_boolean(L, "is_bound", e->is_bound);
    lx_set_boolean(L, "remove", e->remove);
    set_slice(L, "channel", e->channel);
    set_slice(L, "event", e->event);
    set_slice(L, "key", e->key);
    set_slice(L, "data", e->data);
    set_slice(L, "evicted", e->evicted);
    set_slice(L, "slot", e->slot);
    set_slice(L, "token", e->token);
    lx_set_integer(L, "time", (uint64_t)e->time_ms);
    lx_set_integer(L, "expires", (uint64_t)e->expires_ms);
}

static void push_joined(lua_State *L, const struct script_joined *j) {
    set_slice(L, "epoch", slice_str(j->epoch));
    set_slice(L, "fence", slice_str(j->fence));
    set_slice(L, "run", slice_str(j->run));
    set_slice(L, "replid", slice_str(j->replid));
    set_slice(L, "lineage", j->lineage);
    lx_set_boolean(L, "took", j->took);
    lx_set_integer(L, "age", j->age_ms);
    lx_set_integer(L, "seq", j->seq);
    lx_set_integer(L, "mark", j->mark);
    lx_set_integer(L, "now", (uint64_t)j->now_ms);
}

static void push_now(lua_State *L, const struct script_now *now) {
    lx_set_integer(L, "seq", now->seq);
    lx_set_integer(L, "mark", now->mark);
    lx_set_integer(L, "now", (uint64_t)now->now_ms);
    lx_set_integer(L, "nodes", now->nodes);
    lx_set_integer(L, "reaped", now->reaped);
    set_slice(L, "leader", slice_str(now->leader));
    lx_set_integer(L, "lease", now->lease);
    lx_set_integer(L, "left", (uint64_t)now->lease_ms);
}

static enum script_answer take_join(lua_State *L, const struct reply *r) {
    struct script_joined j;
    enum script_answer a = script_joined(r, &j);
    if (a == SCRIPT_OK) push_joined(L, &j);
    return a;
}

static enum script_answer take_now(lua_State *L, const struct reply *r) {
    struct script_now now;
    enum script_answer a = script_now(r, &now);
    if (a == SCRIPT_OK) push_now(L, &now);
    return a;
}

static enum script_answer take_pub(lua_State *L, const struct reply *r, uint32_t n) {
    struct script_place places[MOST];
    enum script_answer a = script_published(r, places, n);
    for (uint32_t i = 0; a == SCRIPT_OK && i < n; i++) {
        lua_newtable(L);
        lx_set_integer(L, "seq", places[i].seq);
        if (places[i].is_deposed) lx_set_boolean(L, "deposed", true);
        if (places[i].is_repeat) {
            set_slice(L, "epoch", slice_str(places[i].epoch));
            lx_set_integer(L, "crc", places[i].crc);
        }
        lua_rawseti(L, -2, i + 1);
    }
    return a;
}

static void push_history(lua_State *L, const struct reply *history) {
    struct entry e;
    lua_newtable(L);
    for (uint32_t i = 0; i < history->n; i++) {
        push_entry(L, &e, entry_of_history(&history->items[i], &e));
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "history");
}

static void push_loaded(lua_State *L, const struct script_loaded *c) {
    struct entry e;
    lua_newtable(L);
    lx_set_integer(L, "floor", c->floor);
    lx_set_integer(L, "last", c->last);
    lx_set_integer(L, "before", c->before);
    set_slice(L, "cursor", c->cursor);
    push_history(L, c->history);
    lua_newtable(L);
    for (uint32_t i = 0; i < c->values->n; i += 2) {
        int err = entry_of_value(&c->values->items[i], &c->values->items[i + 1], &e);
        push_entry(L, &e, err);
        lua_rawseti(L, -2, i / 2 + 1);
    }
    lua_setfield(L, -2, "values");
}

static enum script_answer take_load(lua_State *L, const struct reply *r, uint32_t n) {
    struct script_loaded channels[MOST];
    struct script_now now;
    enum script_answer a = script_loaded(r, &now, channels, &n);
    if (a != SCRIPT_OK) return a;
    push_now(L, &now);
    for (uint32_t i = 0; i < n; i++) {
        push_loaded(L, &channels[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return a;
}

static enum script_answer take_page(lua_State *L, const struct reply *r) {
    struct script_paged page;
    enum script_answer a = script_paged(r, &page);
    if (a != SCRIPT_OK) return a;
    lx_set_integer(L, "floor", page.floor);
    lx_set_integer(L, "above", page.above);
    lx_set_integer(L, "given", page.given);
    push_history(L, page.history);
    return a;
}

static enum script_answer take_follow(lua_State *L, const struct reply *r) {
    const struct reply *entries;
    struct entry e;
    uint32_t n;
    enum script_answer a = script_followed(r, &entries, &n);
    for (uint32_t i = 0; i < n; i++) {
        push_entry(L, &e, entry_of_feed(&entries[i], &e));
        lua_rawseti(L, -2, i + 1);
    }
    return a;
}

static enum script_answer take_what(lua_State *L, const char *what, const struct reply *r,
                                    uint32_t n) {
    if (strcmp(what, "join") == 0) return take_join(L, r);
    if (strcmp(what, "pub") == 0) return take_pub(L, r, n);
    if (strcmp(what, "load") == 0) return take_load(L, r, n);
    if (strcmp(what, "page") == 0) return take_page(L, r);
    if (strcmp(what, "follow") == 0) return take_follow(L, r);
    if (strcmp(what, "probe") == 0) return script_answer(r);
    return take_now(L, r);
}

static int free_resp(lua_State *L) {
    struct resp **r = lua_touserdata(L, 1);
    resp_free(*r);
    *r = NULL;
    return 0;
}

static struct resp *new_resp(lua_State *L) {
    struct resp **box = lx_box(L, sizeof *box, free_resp);
    *box = resp_new();
    if (!*box) luaL_error(L, "built without hiredis");
    return *box;
}

static int l_answer(lua_State *L) {
    const char *what = luaL_checkstring(L, 1);
    struct slice bytes = lx_checkslice(L, 2);
    uint32_t n = (uint32_t)luaL_optinteger(L, 3, 0);
    const struct reply *r;
    luaL_argcheck(L, n <= MOST, 3, "too many");
    struct resp *resp = new_resp(L);
    if (resp_feed(resp, bytes) < 0 || resp_next(resp, &r) != 1)
        return luaL_argerror(L, 2, "not one reply");
    lua_newtable(L);
    enum script_answer a = take_what(L, what, r, n);
    lua_pushstring(L, script_answer_word(a));
    lua_setfield(L, -2, "answer");
    return 1;
}

static int l_read(lua_State *L) {
    struct slice bytes = lx_checkslice(L, 1);
    size_t piece = (size_t)luaL_optinteger(L, 2, (lua_Integer)bytes.n + 1), at = 0;
    const struct reply *r;
    struct resp *resp = new_resp(L);
    int err = 0, n = 0;
    lua_newtable(L);
    while (err == 0 && at < bytes.n) {
        size_t some = bytes.n - at < piece ? bytes.n - at : piece;
        err = resp_feed(resp, slice_of(bytes.p + at, some));
        at += some;
        while (err == 0 && (err = resp_next(resp, &r)) == 1) {
            reply_push(L, r);
            lua_rawseti(L, -2, ++n);
            err = 0;
        }
    }
    if (err == 0) return 1;
    lua_pushstring(L, status_name(err));
    return 2;
}

static int l_texts(lua_State *L) {
    lua_newtable(L);
    for (int i = 0; i < SCRIPTS; i++) {
        lua_pushstring(L, script_text((enum script)i));
        lua_setfield(L, -2, script_name((enum script)i));
    }
    return 1;
}

LX_EXPORT int luaopen_sluice_core_testing_scripts(lua_State *L);
LX_EXPORT int luaopen_sluice_core_testing_scripts(lua_State *L) {
    static const luaL_Reg functions[] = {{"texts", l_texts},
                                         {"command", l_command},
                                         {"answer", l_answer},
                                         {"read", l_read},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
