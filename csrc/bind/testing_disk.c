/* sluice.core.testing_disk: disks in memory whose power can be cut, and the store's tools, for
 * specs. Not part of the product. */
#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "store/db.h"
#include "store/disk.h"
#include "store/folder.h"
#include "store/schema.h"
#include "store/tools.h"

#include <stdio.h>

/* ---- Disks ---------------------------------------------------------------------------- */

static int disk_gc(lua_State *L) {
    struct disk **d = lua_touserdata(L, 1);
    disk_free(*d);
    *d = NULL;
    return 0;
}

static struct disk *check_disk(lua_State *L, int index) {
    return *(struct disk **)luaL_checkudata(L, index, "sluice.disk");
}

static int l_disk(lua_State *L) {
    uint64_t seed = (uint64_t)luaL_optinteger(L, 1, 1);
    struct disk **d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = NULL;
    luaL_setmetatable(L, "sluice.disk");
    *d = disk_new(seed);
    return 1;
}

/* disk:set(what[, n or true[, ever]]) */
static int disk_set(lua_State *L) {
    struct disk *d = check_disk(L, 1);
    const char *what = luaL_checkstring(L, 2);
    long n = (long)luaL_optinteger(L, 3, 0);
    bool on = lua_toboolean(L, 4);
    if (!strcmp(what, "kill")) disk_kill(d);
    else if (!strcmp(what, "cut")) disk_cut(d);
    else if (!strcmp(what, "die")) disk_die_in(d, n, on);
    else if (!strcmp(what, "write")) disk_fail_write(d, n, on);
    else if (!strcmp(what, "sync")) disk_fail_sync(d, n, on);
    else if (!strcmp(what, "limit")) disk_limit(d, (uint64_t)n);
    else if (!strcmp(what, "hang")) disk_hang(d, n != 0);
    else return luaL_error(L, "what is '%s'?", what);
    return 0;
}

static int disk_is(lua_State *L) {
    struct disk *d = check_disk(L, 1);
    lua_pushboolean(L, disk_is_dead(d));
    lua_pushinteger(L, disk_steps(d));
    return 2;
}

static int disk_read(lua_State *L) {
    lx_pushslice(L, disk_bytes(check_disk(L, 1), lx_checkslice(L, 2)));
    return 1;
}

static int disk_write_file(lua_State *L) {
    struct disk *d = check_disk(L, 1);
    disk_put(d, luaL_checkstring(L, 2), lx_checkslice(L, 3));
    return 0;
}

/* disk:damage(name, bit | nil, bytes): flips a bit, or truncates */
static int disk_damage(lua_State *L) {
    struct disk *d = check_disk(L, 1);
    struct slice name = lx_checkslice(L, 2);
    if (lua_isnil(L, 3)) disk_truncate(d, name, (uint64_t)luaL_checkinteger(L, 4));
    else disk_flip(d, name, (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

/* testing_disk.old(path, version): a new file of an older schema */
static int l_old(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct db db;
    int err = db_open(&db, path, NULL, DB_WRITE);
    if (err == 0) err = schema_make(&db, (int)luaL_checkinteger(L, 2));
    db_close(&db);
    return err < 0 ? lx_fail(L, err) : (lua_pushboolean(L, 1), 1);
}

static int hold_release(lua_State *L) {
    struct db *db = lua_touserdata(L, lua_upvalueindex(1));
    if (db->handle) db_close(db);
    return 0;
}

static int hold_gc(lua_State *L) {
    struct db *db = lua_touserdata(L, 1);
    if (db->handle) db_close(db);
    return 0;
}

/* testing_disk.hold(path | disk) -> release: a reader that has begun to read, until it is
 * called */
static int l_hold(lua_State *L) {
    struct disk *disk = lua_isstring(L, 1) ? NULL : check_disk(L, 1);
    const char *path = disk ? FOLDER_FILE : lua_tostring(L, 1);
    struct db *db = lx_box(L, sizeof *db, hold_gc);
    int64_t n = 0;
    int err = db_open(db, path, disk ? disk_vfs(disk) : NULL, DB_READ);
    if (err == 0) err = db_run(db, db_sql(db, SQL_BEGIN_READ));
    if (err == 0) err = db_number(db, db_sql(db, SQL_HEAD), 0, &n);
    if (err < 0) return lx_fail(L, err);
    lua_pushcclosure(L, hold_release, 1);
    return 1;
}

/* ---- Tools ---------------------------------------------------------------------------- */

static struct store_place check_place(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TSTRING)
        return (struct store_place){.folder = lua_tostring(L, index)};
    return (struct store_place){.disk = check_disk(L, index)};
}

struct progress {
    uint64_t calls, done, total, end_at; /* end_at: the call that ends it; 0: none */
};

static int on_progress(void *arg, uint64_t done, uint64_t total) {
    struct progress *p = arg;
    p->calls++;
    if (total > 0) { /* else a long statement asks */
        p->done = done;
        p->total = total;
    }
    return p->calls == p->end_at;
}

static int answer(lua_State *L, int err, const struct store_job *job) {
    const struct progress *p = job->arg;
    if (err < 0 && job->why) return lx_fail_text(L, err, job->why);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, (lua_Integer)p->calls);
    lua_pushinteger(L, (lua_Integer)p->done);
    lua_pushinteger(L, (lua_Integer)p->total);
    return 3;
}

struct first {
    char text[200];
};

static void note_first(void *arg, const struct store_finding *f) {
    struct first *first = arg;
    if (first->text[0]) return;
    snprintf(first->text, sizeof first->text, "%s: %.*s %llu", f->text, (int)f->channel.n,
             f->channel.p ? f->channel.p : "", (unsigned long long)f->seq);
}

/* verify(place) -> { rows, damaged, holes, stale, first } */
static int l_verify(lua_State *L) {
    struct store_place place = check_place(L, 1);
    struct store_verdict v;
    struct first first = {{0}};
    struct store_job job = {.arg = &first};
    int err = store_verify(&place, &job, note_first, &v);
    if (err < 0) return lx_fail(L, err);
    lua_newtable(L);
    lx_set_integer(L, "rows", v.rows);
    lx_set_integer(L, "damaged", v.damaged);
    lx_set_integer(L, "holes", v.holes);
    lx_set_integer(L, "stale", v.stale);
    lua_pushstring(L, first.text);
    lua_setfield(L, -2, "first");
    return 1;
}

static int l_figures(lua_State *L) {
    struct store_place place = check_place(L, 1);
    struct store_figures f;
    struct store_job job = {0};
    int err = store_figures(&place, &job, &f);
    if (err < 0) return lx_fail(L, err);
    lua_newtable(L);
    lua_pushstring(L, f.epoch);
    lua_setfield(L, -2, "epoch");
    lx_set_integer(L, "head", f.head);
    lx_set_boolean(L, "clean", f.clean);
    lx_set_integer(L, "events", f.events);
    lx_set_integer(L, "newest", f.newest);
    lx_set_integer(L, "keys", f.keys);
    lx_set_integer(L, "pairs", f.pairs);
    lx_set_integer(L, "tasks", f.tasks);
    lx_set_integer(L, "durable", f.logs + f.states + f.keyed);
    lx_set_integer(L, "bytes", f.bytes);
    return 1;
}

/* backup(place, path[, end_at]), export(...) -> calls, done, total of the progress */
static int l_backup(lua_State *L) {
    struct store_place place = check_place(L, 1);
    struct progress p = {.end_at = (uint64_t)luaL_optinteger(L, 3, 0)};
    struct store_job job = {.progress = on_progress, .arg = &p};
    return answer(L, store_backup(&place, luaL_checkstring(L, 2), false, &job), &job);
}

static int l_export(lua_State *L) {
    struct store_place place = check_place(L, 1);
    struct progress p = {.end_at = (uint64_t)luaL_optinteger(L, 3, 0)};
    struct store_job job = {.progress = on_progress, .arg = &p};
    return answer(L, store_export(&place, luaL_checkstring(L, 2), false, &job), &job);
}

static int l_import(lua_State *L) {
    struct store_place place = check_place(L, 1);
    struct progress p = {0};
    struct store_job job = {.progress = on_progress, .arg = &p};
    return answer(L, store_import(&place, luaL_checkstring(L, 2), false, &job), &job);
}

static int l_alive(lua_State *L) {
    lua_pushinteger(L, mem_live());
    return 1;
}

LX_EXPORT int luaopen_sluice_core_testing_disk(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"set", disk_set},       {"is_dead", disk_is},
        {"read", disk_read},     {"write", disk_write_file},
        {"damage", disk_damage}, {"close", disk_gc},
        {"__gc", disk_gc},       {NULL, NULL}};
    static const luaL_Reg functions[] = {{"new", l_disk},      {"old", l_old},
                                         {"hold", l_hold},     {"alive", l_alive},
                                         {"verify", l_verify}, {"figures", l_figures},
                                         {"backup", l_backup}, {"export", l_export},
                                         {"import", l_import}, {NULL, NULL}};
    lx_newtype(L, "sluice.disk", methods);
    luaL_newlib(L, functions);
    return 1;
}
