/* How many results a call wants; see wanted.h.
 *
 * Lua knows it and has no function that says it: it stands in the record of the call that
 * lua_getstack finds. That record is Lua's own; its layout has been the same in all of Lua 5.4,
 * and is believed only after calls whose answers are known have been asked about. In another Lua
 * all is wanted, always. */
#include "bind/wanted.h"

#include <lauxlib.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* The beginning of Lua's struct CallInfo. */
struct call {
    void *function, *top, *previous, *next;
    union {
        struct {
            const void *at;
            volatile int trap;
            int more;
        } lua;
        struct {
            lua_KFunction then;
            ptrdiff_t handler;
            lua_KContext context;
        } c;
    } running;
    int other;
    short n_results;
};

static atomic_bool is_known;

/* Of the function that called this one. */
static int wanted(lua_State *L) {
    lua_Debug at;
    if (!lua_getstack(L, 1, &at)) return LUA_MULTRET;
    short n;
    memcpy(&n, (const char *)at.i_ci + offsetof(struct call, n_results), sizeof n);
    return n;
}

bool wanted_nothing(lua_State *L) {
    return atomic_load_explicit(&is_known, memory_order_relaxed) && wanted(L) == 0;
}

/* Append the answer to the list that is its upvalue. */
static int ask(lua_State *L) {
    lua_pushinteger(L, wanted(L));
    lua_rawseti(L, lua_upvalueindex(1), (int)lua_rawlen(L, lua_upvalueindex(1)) + 1);
    return 0;
}

static const char CALLS[] = "local ask = ... "
                            "local function f() return ask() end "
                            "local function g() return f() end "
                            "f() local a = f() local b, c, d = f() local t = { f() } g() "
                            "local e, h = g() if f() then end pcall(f)";
static const int ANSWERS[] = {0, 1, 3, LUA_MULTRET, 0, 2, 1, LUA_MULTRET};

void wanted_learn(lua_State *L) {
    int top = lua_gettop(L), n = sizeof ANSWERS / sizeof *ANSWERS;
    lua_createtable(L, n, 0);
    bool good = luaL_loadstring(L, CALLS) == LUA_OK;
    lua_pushvalue(L, top + 1);
    lua_pushcclosure(L, ask, 1);
    good = good && lua_pcall(L, 1, 0, 0) == LUA_OK && (int)lua_rawlen(L, top + 1) == n;
    for (int i = 0; good && i < n; i++) {
        lua_rawgeti(L, top + 1, i + 1);
        good = lua_tointeger(L, -1) == ANSWERS[i];
    }
    lua_settop(L, top);
    atomic_store(&is_known, good);
}
