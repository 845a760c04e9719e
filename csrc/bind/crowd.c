/* `sluice bench` on the loop of a server without routes; see crowd/crowd.h. */
#include "base/bounds.h"
#include "base/status.h"
#include "bind/lookup.h"
#include "bind/server_type.h"
#include "net/tls_client.h"

#include <errno.h>
#include <stdio.h>

/* The fields `tls`, `ca` (NULL: the system) and `any`: whom to trust; NULL without a message: no
 * TLS. */
static struct tls_client *read_tls(lua_State *L, char *why, size_t size) {
    why[0] = '\0';
    if (!lx_field_bool(L, 2, "tls", false)) return NULL;
    bool any = lx_field_bool(L, 2, "any", false);
    lua_getfield(L, 2, "ca"); /* the table keeps it */
    const char *ca = luaL_optstring(L, -1, NULL);
    return tls_client_new(ca, any, why, size);
}

static int fail_readers(lua_State *L, int err, uint64_t limit) {
    char text[100];
    if (err != -EMFILE) return lx_fail(L, err);
    snprintf(text, sizeof text,
             "this process may have %llu connections: ulimit -Hn is the limit",
             (unsigned long long)limit);
    return lx_fail_text(L, err, text);
}

/* server:crowd{ host =, port =, request =, mark =, time =, readers =, rate =, tls =, ca =, any = }
 *   -> true | nil, message, code: one at a time */
static int l_crowd(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, !s->crowd, 1, "it has a crowd already");
    double readers = lx_field_number(L, 2, "readers", 1);
    luaL_argcheck(L, readers >= 1 && readers <= CROWD_READERS_MAX, 2, "readers");
    struct slice host = lx_field_slice(L, 2, "host"); /* the table keeps them */
    struct crowd_options o = {.request = lx_field_slice(L, 2, "request"),
                              .mark = lx_field_slice(L, 2, "mark"),
                              .time = lx_field_slice(L, 2, "time"),
                              .host = host,
                              .readers = (uint32_t)readers,
                              .rate = lx_field_number(L, 2, "rate", 0)};
    char why[256];
    uint64_t limit = 0;
    int err = lx_find_address(host, lx_field_port(L, 2, "port"), &o.to, &o.to_n);
    if (err < 0) return lx_fail_text(L, err, "no address has this name");
    err = crowd_allow(o.readers, &limit);
    if (err < 0) return fail_readers(L, err, limit);
    o.tls = read_tls(L, why, sizeof why);
    if (!o.tls && why[0]) return lx_fail_text(L, E_INVAL, why);
    err = crowd_new(&s->crowd, &s->server->loop, &o); /* nothing raises behind read_tls */
    if (err == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    if (o.tls) tls_client_free(o.tls);
    return lx_fail(L, err);
}

static struct crowd *check_crowd(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_argcheck(L, s->crowd, 1, "it has no crowd");
    return s->crowd;
}

/* A field of the table on top: { n =, p50 =, p99 =, p999 =, max = }, in seconds. */
static void set_times(lua_State *L, const char *name, const struct hist *h) {
    static const struct {
        const char *name;
        double part;
    } rows[] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}};
    lua_createtable(L, 0, 5);
    lx_set_integer(L, "n", h->n);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        lx_set_number(L, rows[i].name, (double)hist_quantile(h, rows[i].part) / 1e6);
    lx_set_number(L, "max", (double)h->max / 1e6);
    lua_setfield(L, -2, name);
}

static void set_reasons(lua_State *L, const struct crowd_counts *c) {
    lua_createtable(L, 0, 2);
    for (int i = 0; i < CROWD_REASONS_MAX && c->reasons[i].n > 0; i++)
        lx_set_integer(L, c->reasons[i].word, c->reasons[i].n);
    lua_setfield(L, -2, "reasons");
}

/* server:crowd_counts() -> the fields of struct crowd_counts; `error` as a text, `reasons` by
 * word */
static int l_counts(lua_State *L) {
    const struct crowd_counts *c = crowd_counts(check_crowd(L));
    lua_createtable(L, 0, 20);
    lx_set_integer(L, "waiting", c->waiting);
    lx_set_integer(L, "open", c->open);
    lx_set_integer(L, "refused", c->refused);
    lx_set_integer(L, "failed", c->failed);
    lx_set_integer(L, "ended", c->ended);
    lx_set_integer(L, "broken", c->broken);
    lx_set_integer(L, "status", (uint64_t)c->status);
    lx_set_integer(L, "events", c->events);
    lx_set_integer(L, "own", c->own);
    lx_set_integer(L, "bytes", c->bytes);
    lx_set_integer(L, "hellos", c->hellos);
    lx_set_integer(L, "resets", c->resets);
    lx_set_integer(L, "byes", c->byes);
    lx_set_integer(L, "lost", c->lost);
    lx_set_integer(L, "repeated", c->repeated);
    lx_set_integer(L, "disordered", c->disordered);
    if (c->error) {
        lua_pushstring(L, status_text(-c->error));
        lua_setfield(L, -2, "error");
    }
    set_reasons(L, c);
    set_times(L, "head", &c->head);
    set_times(L, "latency", &c->latency);
    return 1;
}

/* server:crowd_measure(): events are counted from now on */
static int l_measure(lua_State *L) {
    crowd_measure(check_crowd(L));
    return 0;
}

/* server:crowd_reached(n) -> how many open readers have our own event of this number */
static int l_reached(lua_State *L) {
    struct crowd *crowd = check_crowd(L);
    lua_pushinteger(L, crowd_reached(crowd, (uint64_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* server:crowd_settle(n, seconds): what open readers lack is lost: of our own events up to n, of
 * others that the first had by then (of core.now) */
static int l_settle(lua_State *L) {
    struct crowd *crowd = check_crowd(L);
    uint64_t own = (uint64_t)luaL_checkinteger(L, 2);
    crowd_settle(crowd, own, (int64_t)(luaL_checknumber(L, 3) * 1e6));
    return 0;
}

/* server:crowd_end(): all connections end */
static int l_end(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    crowd_free(s->crowd);
    s->crowd = NULL;
    return 0;
}

void lx_server_add_crowd(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"crowd", l_crowd},   {"crowd_counts", l_counts},   {"crowd_measure", l_measure},
        {"crowd_end", l_end}, {"crowd_reached", l_reached}, {"crowd_settle", l_settle},
        {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
