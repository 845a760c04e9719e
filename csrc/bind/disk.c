/* The userdata; see disk.h. */
#include "bind/disk.h"

#include "bind/l_aux.h"

#define TYPE "sluice.rehearsal_disk"

static struct disk *check_disk(lua_State *L) {
    struct disk **d = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, *d, 1, "the disk is closed");
    return *d;
}

/* disk:close(): no server may use it any more; also __gc */
static int l_close(lua_State *L) {
    struct disk **d = luaL_checkudata(L, 1, TYPE);
    if (*d) disk_free(*d);
    *d = NULL;
    return 0;
}

/* disk:kill(): the process that used it died. disk:cut(): its power failed. */
static int l_kill(lua_State *L) {
    disk_kill(check_disk(L));
    return 0;
}

static int l_cut(lua_State *L) {
    disk_cut(check_disk(L));
    return 0;
}

static long field_long(lua_State *L, const char *name) {
    return (long)lx_field_number(L, 2, name, -1);
}

/* disk:fault{ full_bytes =, write_error_in =, sync_error_in =, ever = }: 0 takes one back */
static int l_fault(lua_State *L) {
    struct disk *d = check_disk(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    long full = field_long(L, "full_bytes"), write = field_long(L, "write_error_in"),
         sync = field_long(L, "sync_error_in");
    bool ever = lx_field_bool(L, 2, "ever", false);
    if (full >= 0) disk_limit(d, (uint64_t)full);
    if (write >= 0) disk_fail_write(d, write, ever);
    if (sync >= 0) disk_fail_sync(d, sync, ever);
    return 0;
}

static void new_type(lua_State *L) {
    static const luaL_Reg methods[] = {{"close", l_close}, {"kill", l_kill},
                                       {"cut", l_cut},     {"fault", l_fault},
                                       {"__gc", l_close},  {NULL, NULL}};
    lx_newtype(L, TYPE, methods);
}

int lx_disk_new(lua_State *L) {
    uint64_t seed = (uint64_t)luaL_optinteger(L, 1, 1);
    struct disk **d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = NULL;
    new_type(L);
    luaL_setmetatable(L, TYPE);
    *d = disk_new(seed);
    return 1;
}

struct disk *lx_field_disk(lua_State *L, int index, const char *name) {
    struct disk *d = NULL;
    if (lua_getfield(L, index, name) != LUA_TNIL)
        d = *(struct disk **)luaL_checkudata(L, -1, TYPE);
    lua_pop(L, 1);
    return d;
}
