/* Budgets of scripts; see guard.h. One app thread per process, so the state is static. */
#include "bind/guard.h"

#include "base/clock.h"
#include "bind/l_aux.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 50
/* Instructions that <close> variables may take after the first trip. */
#define GRACE_INSTRUCTIONS 1000000
#define GUARD_SIGNAL (SIGRTMIN + 3)

/* glibc's own name: ThreadSanitizer intercepts sigaction and would hold the signal back
 * until the next call into libc, which a loop never makes. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int __sigaction(int number, const struct sigaction *action, struct sigaction *old);

static struct {
    lua_State *volatile running;  /* the innermost coroutine of the app */
    lua_State *base;              /* the runtime's own, which is never stopped */
    volatile sig_atomic_t depth;  /* > 0: a script runs */
    volatile sig_atomic_t ticks;  /* of CPU time since it began */
    volatile sig_atomic_t budget; /* in ticks; 0: none */
    int trips;
    int64_t entered_us;
    timer_t timer;
    bool has_timer;
} guard;

/* ---- Tripping ----------------------------------------------------------------------- */

/* "app.lua:12: " of the innermost Lua function of the app, or of anybody when all are
 * ours; pushes it. */
static const char *where(lua_State *L) {
    const char *found = NULL;
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        bool ours = strstr(ar.short_src, "/sluice/") != NULL;
        if (ar.currentline <= 0 || (found && ours)) continue;
        found = lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
        if (!ours) break;
    }
    return found ? found : "";
}

static void trip(lua_State *L, lua_Debug *ar);

static void rearm(lua_State *L) {
    bool first = guard.trips <= 1;
    lua_sethook(L, trip, LUA_MASKCOUNT, first ? GRACE_INSTRUCTIONS : 1);
}

static void trip(lua_State *L, lua_Debug *ar) {
    int budget = guard.budget;
    bool over = guard.depth > 0 && budget > 0 && guard.ticks >= budget;
    lua_sethook(L, NULL, 0, 0);
    if (!over) return;
    guard.trips++;
    rearm(L);
    (void)ar;
    luaL_error(L, "%scomputed for %f s without a pause: a loop needs sluice.sleep()",
               where(L), (double)budget * TICK_MS / 1000);
}

/* Async-signal-safe: lua_sethook only stores, and the signal comes to the app thread, to
 * which all of this belongs. */
static void on_signal(int number) {
    (void)number;
    if (guard.depth == 0) return;
    int ticks = ++guard.ticks, budget = guard.budget;
    lua_State *L = guard.running;
    if (budget > 0 && ticks >= budget && L && L != guard.base)
        lua_sethook(L, trip, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT,
                    1);
}

static int start_timer(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (__sigaction(GUARD_SIGNAL, &action, NULL) < 0) return -errno;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, GUARD_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                             .sigev_signo = GUARD_SIGNAL};
    event._sigev_un._tid = gettid();
    clockid_t clock;
    int err = pthread_getcpuclockid(pthread_self(), &clock);
    if (err != 0) return -err;
    if (timer_create(clock, &event, &guard.timer) < 0) return -errno;
    struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    struct itimerspec every = {.it_interval = tick, .it_value = tick};
    guard.has_timer = timer_settime(guard.timer, 0, &every, NULL) == 0;
    return guard.has_timer ? 0 : -errno;
}

int guard_setup(lua_State *L, double budget_seconds) {
    guard.running = L;
    int ticks = budget_seconds > 0 ? (int)(budget_seconds * 1000 / TICK_MS + 0.5) : 0;
    guard.budget = budget_seconds > 0 && ticks == 0 ? 1 : ticks;
    return ticks > 0 && !guard.has_timer ? start_timer() : 0;
}

/* ---- Memory ------------------------------------------------------------------------- */

static struct {
    lua_Alloc allocate;
    void *ud;
    size_t used, limit;
} heap;

/* Only growth is refused, and only while a script runs: then somebody catches it. */
static void *limited(void *ud, void *p, size_t old, size_t size) {
    (void)ud;
    size_t before = p ? old : 0;
    bool too_much = heap.limit > 0 && size > before && guard.depth > 0 &&
                    heap.used - before + size > heap.limit;
    if (too_much) return NULL;
    void *q = heap.allocate(heap.ud, p, old, size);
    if (q || size == 0) heap.used += size - before;
    return q;
}

void guard_limit_memory(lua_State *L, size_t bytes) {
    if (!heap.allocate && bytes > 0) {
        heap.allocate = lua_getallocf(L, &heap.ud);
        heap.used =
            (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
        lua_setallocf(L, limited, NULL);
    }
    heap.limit = bytes;
}

/* ---- Coroutines --------------------------------------------------------------------- */

static lua_State *check_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    if (!co) luaL_typeerror(L, 1, "coroutine");
    return co;
}

/* Resume with 'n' arguments from the top of L. The number of results on L, or -1 with an
 * error message on L. */
static int resume(lua_State *L, lua_State *co, int n) {
    if (!lua_checkstack(co, n)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, n);
    lua_State *outer = guard.running;
    int results;
    guard.running = co;
    int status = lua_resume(co, L, n, &results);
    guard.running = outer;
    /* who resumes it must not go on either, or it could start one loop after the other */
    bool tripped = guard.trips > 0;
    if (tripped && L != guard.base) rearm(L);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(co, results);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, results);
    return results;
}

/* core.resume(co, …): coroutine.resume, and the guard knows who runs */
static int l_resume(lua_State *L) {
    lua_State *co = check_coroutine(L);
    int n = resume(L, co, lua_gettop(L) - 1);
    lua_pushboolean(L, n >= 0);
    lua_insert(L, n >= 0 ? -(n + 1) : -2);
    return n >= 0 ? n + 1 : 2;
}

/* Run the <close> variables of a coroutine; it is the one that runs meanwhile. */
static int close_coroutine(lua_State *co) {
    lua_State *outer = guard.running;
    guard.running = co;
    int status = lua_resetthread(co);
    guard.running = outer;
    return status;
}

static int wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int n = resume(L, co, lua_gettop(L));
    if (n >= 0) return n;
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) { /* died of it: close its variables */
        status = close_coroutine(co);
        if (status != LUA_OK) lua_xmove(co, L, 1); /* the error, or that of a __close */
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* core.wrap(fn | coroutine): coroutine.wrap, tracked. A coroutine that was made before is
 * taken as it is. */
static int l_wrap(lua_State *L) {
    if (!lua_isthread(L, 1)) {
        luaL_checktype(L, 1, LUA_TFUNCTION);
        lua_State *co = lua_newthread(L);
        lua_pushvalue(L, 1);
        lua_xmove(L, co, 1);
        lua_replace(L, 1);
    }
    lua_settop(L, 1);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

/* core.close(co): coroutine.close, tracked */
static int l_close(lua_State *L) {
    lua_State *co = check_coroutine(L);
    int status = lua_status(co);
    lua_Debug ar;
    bool busy = L == co || (status == LUA_OK && lua_getstack(co, 0, &ar));
    if (busy) return luaL_error(L, "cannot close a running coroutine");
    if (close_coroutine(co) == LUA_OK) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushboolean(L, false);
    lua_xmove(co, L, 1);
    return 2;
}

/* ---- Runs --------------------------------------------------------------------------- */

/* core.guard_enter(): the script begins to run; calls nest */
static int l_enter(lua_State *L) {
    if (guard.depth++ > 0) return 0;
    guard.running = guard.base = L;
    guard.entered_us = clock_us();
    guard.ticks = 0;
    guard.trips = 0;
    return 0;
}

/* core.guard_leave() -> CPU seconds (in steps of 50 ms), wall seconds, times it tripped */
static int l_leave(lua_State *L) {
    int ticks = guard.ticks;
    if (guard.depth > 0) guard.depth--;
    lua_sethook(L, NULL, 0, 0);
    lua_pushnumber(L, (double)ticks * TICK_MS / 1000);
    lua_pushnumber(L, (double)(clock_us() - guard.entered_us) / 1e6);
    lua_pushinteger(L, guard.trips);
    return 3;
}

/* core.tripped() -> whether the run that goes on has used up its budget */
static int l_tripped(lua_State *L) {
    lua_pushboolean(L, guard.depth > 0 && guard.trips > 0);
    return 1;
}

/* core.guard_budget(seconds | nil) -> true | nil, message, code */
static int l_budget(lua_State *L) {
    int err = guard_setup(L, luaL_optnumber(L, 1, 0));
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* core.memory_limit(bytes | nil) */
static int l_memory_limit(lua_State *L) {
    double bytes = luaL_optnumber(L, 1, 0);
    luaL_argcheck(L, bytes >= 0, 1, "0 or more");
    guard_limit_memory(L, (size_t)bytes);
    return 0;
}

/* core.heap() -> bytes of the Lua heap */
static int l_heap(lua_State *L) {
    lua_pushinteger(L,
                    (lua_Integer)lua_gc(L, LUA_GCCOUNT) * 1024 + lua_gc(L, LUA_GCCOUNTB));
    return 1;
}

void guard_add_functions(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"resume", l_resume},       {"wrap", l_wrap},
        {"close", l_close},         {"guard_enter", l_enter},
        {"guard_leave", l_leave},   {"tripped", l_tripped},
        {"guard_budget", l_budget}, {"memory_limit", l_memory_limit},
        {"heap", l_heap},           {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
