/* Budgets of scripts; see budget.h. One app thread per process, so the state is static. */
#include "bind/budget.h"

#include "base/log.h"
#include "base/status.h"
#include "bind/heap.h"
#include "bind/l_aux.h"
#include "run/stall.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 50
/* Where the script is, is looked at from then on. */
#define NOTE_TICKS 4
/* What <close> variables may take after the first trip: the lower of both. */
#define GRACE_INSTRUCTIONS 1000000
#define GRACE_TICKS 2
/* A function of ours goes on for so many steps of so many instructions. */
#define SPARED_MAX 1000
#define SPARED_INSTRUCTIONS 1000
#define BUDGET_SIGNAL (SIGRTMIN + 3)
#define PLACE_MAX 160

/* glibc's own name: ThreadSanitizer intercepts sigaction and would hold the signal back
 * until the next call into libc, which a loop never makes. musl hides its own name. */
#ifdef __GLIBC__
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int __sigaction(int number, const struct sigaction *action, struct sigaction *old);
#define SIGACTION __sigaction
#else
#define SIGACTION sigaction
#endif
#ifndef sigev_notify_thread_id /* glibc before 2.41 has no public name for it */
#define sigev_notify_thread_id _sigev_un._tid
#endif

static struct {
    lua_State *volatile running; /* the innermost coroutine of the app */
    lua_State *base;             /* the runtime's own, which is never stopped */
    volatile sig_atomic_t depth; /* > 0: a script runs */
    volatile sig_atomic_t ticks; /* of CPU time since it began */
    volatile sig_atomic_t limit; /* in ticks; 0: none */
    volatile sig_atomic_t trips;
    int spared;
    bool is_inner;      /* the coroutine that runs was resumed by one of the app */
    lua_State *stopped; /* one that was suspended to be closed */
    int stall, last;    /* depths, for stall_leave: of the run, of the process's end */
    timer_t timer;
    bool has_timer;
    char own[256]; /* the folder of our own Lua files, as sources name it; "": unknown */
} budget;

/* ---- Where a script is -------------------------------------------------------------- */

static bool is_own(const lua_Debug *ar) {
    return budget.own[0] && strncmp(ar->source, budget.own, strlen(budget.own)) == 0;
}

/* The innermost Lua function, or with 'of_app' the innermost of the app; false: none. */
static bool find(lua_State *L, lua_Debug *ar, bool of_app) {
    for (int level = 0; lua_getstack(L, level, ar); level++) {
        lua_getinfo(L, "Sl", ar);
        if (ar->currentline > 0 && !(of_app && is_own(ar))) return true;
    }
    return false;
}

/* "app.lua:12", in the script or, when all is ours, in what is ours. Allocates nothing. */
static bool find_place(lua_State *L, char *out, size_t size) {
    lua_Debug ar;
    if (!find(L, &ar, true) && !find(L, &ar, false)) return false;
    bool is_file = ar.source[0] == '@';
    snprintf(out, size, "%s:%d", is_file ? ar.source + 1 : ar.short_src, ar.currentline);
    return true;
}

/* ---- Tripping ----------------------------------------------------------------------- */

/* Push onto L what is raised, for the script that stands in 'at'. */
static void push_message(lua_State *L, lua_State *at) {
    char place[PLACE_MAX];
    bool known = find_place(at, place, sizeof place);
    lua_pushfstring(
        L, "%s%scomputed for %f s without a pause: a loop needs sluice.sleep()",
        known ? place : "", known ? ": " : "", (double)budget.limit * TICK_MS / 1000);
}

static void trip(lua_State *L, lua_Debug *ar);

static void rearm(lua_State *L) {
    lua_sethook(L, trip, LUA_MASKCOUNT, budget.trips <= 1 ? GRACE_INSTRUCTIONS : 1);
}

/* What is ours may be in the middle of something that must be done as a whole. */
static bool spares(lua_State *L) {
    lua_Debug ar;
    if (!find(L, &ar, false) || !is_own(&ar) || budget.spared >= SPARED_MAX) return false;
    budget.spared++;
    lua_sethook(L, trip, LUA_MASKCOUNT, SPARED_INSTRUCTIONS);
    return true;
}

/* Whether a coroutine of the app's own can be suspended here, and closed by its resumer. It
 * can at an instruction, not at a call. */
static bool suspends(lua_State *L, const lua_Debug *ar) {
    if (!budget.is_inner || !lua_isyieldable(L)) return false;
    if (ar->event == LUA_HOOKCOUNT) {
        budget.trips++;
        budget.stopped = L;
        lua_sethook(L, NULL, 0, 0);
        lua_yield(L, 0);
    }
    return true;
}

static void trip(lua_State *L, lua_Debug *ar) {
    lua_Debug of_app;
    bool over = budget.depth > 0 && budget.limit > 0 && budget.ticks >= budget.limit;
    if (!over || !find(L, &of_app, true)) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    if (spares(L) || suspends(L, ar)) return;
    budget.trips++;
    rearm(L);
    push_message(L, L);
    lua_error(L); /* luaL_error would say where, again */
}

static void note(lua_State *L, lua_Debug *ar) {
    (void)ar;
    char place[PLACE_MAX];
    lua_sethook(L, NULL, 0, 0);
    if (find_place(L, place, sizeof place)) stall_place(place);
}

/* Async-signal-safe: lua_sethook only stores, and the signal comes to the app thread, to
 * which all of this belongs. A hook of the app's own stays, until the budget is used up. */
static void on_signal(int number) {
    (void)number;
    if (budget.depth == 0) return;
    int ticks = ++budget.ticks, limit = budget.limit;
    lua_State *L = budget.running;
    if (!L || L == budget.base) return;
    int end = budget.trips > 0 ? limit + GRACE_TICKS : limit;
    if (limit > 0 && ticks >= end)
        lua_sethook(L, trip, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    else if (ticks >= NOTE_TICKS && !lua_gethook(L))
        lua_sethook(L, note, LUA_MASKCOUNT, 1);
}

static int start_timer(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (SIGACTION(BUDGET_SIGNAL, &action, NULL) < 0) return -errno;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, BUDGET_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                             .sigev_signo = BUDGET_SIGNAL};
    event.sigev_notify_thread_id = gettid();
    clockid_t clock;
    int err = pthread_getcpuclockid(pthread_self(), &clock);
    if (err != 0) return -err;
    if (timer_create(clock, &event, &budget.timer) < 0) return -errno;
    struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    struct itimerspec every = {.it_interval = tick, .it_value = tick};
    budget.has_timer = timer_settime(budget.timer, 0, &every, NULL) == 0;
    return budget.has_timer ? 0 : -errno;
}

/* ---- Warnings ----------------------------------------------------------------------- */

/* Lua's warnings, which report errors in finalizers, and the app's own: a line each. They
 * come in pieces; "@on" and "@off" are for the interpreter's own output. */
static void on_warning(void *ud, const char *piece, int more) {
    static char text[1024];
    static size_t n;
    (void)ud;
    if (n == 0 && !more && piece[0] == '@') return;
    int added = snprintf(text + n, sizeof text - n, "%s", piece);
    n = added < (int)(sizeof text - n) ? n + (size_t)added : sizeof text - 1;
    if (more) return;
    n = 0;
    log_printf(LOG_WARN, "Lua warning: %s", text);
}

int budget_setup(lua_State *L, double budget_seconds) {
    budget.running = L;
    lua_setwarnf(L, on_warning, NULL);
    int ticks = budget_seconds > 0 ? (int)(budget_seconds * 1000 / TICK_MS + 0.5) : 0;
    budget.limit = budget_seconds > 0 && ticks == 0 ? 1 : ticks;
    int err = stall_watch();
    if (err < 0)
        log_printf(LOG_WARN,
                   "a script that hangs is logged only afterwards: no thread (%s)",
                   status_text(err));
    err = budget.has_timer ? 0 : start_timer();
    stall_budget(err == 0 ? (int64_t)budget.limit * TICK_MS : 0);
    return err;
}

/* ---- Memory ------------------------------------------------------------------------- */

static struct {
    lua_Alloc allocate;
    void *ud;
    size_t used, limit;
} heap;

/* Only growth is refused, and only to a script: that is called protected. */
static void *limited(void *ud, void *p, size_t old, size_t size) {
    (void)ud;
    size_t before = p ? old : 0;
    bool is_script = budget.depth > 0 && budget.running != budget.base;
    bool too_much = heap.limit > 0 && size > before && is_script &&
                    heap.used - before + size > heap.limit;
    if (too_much) return NULL;
    void *q = heap.allocate(heap.ud, p, old, size);
    if (q || size == 0) heap.used += size - before;
    return q;
}

void budget_limit_memory(lua_State *L, size_t bytes) {
    if (!heap.allocate && bytes > 0) {
        heap.allocate = lua_getallocf(L, &heap.ud);
        heap.used =
            (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
        lua_setallocf(L, limited, NULL);
    }
    heap.limit = bytes;
}

/* ---- Coroutines --------------------------------------------------------------------- */

static lua_State *check_coroutine(lua_State *L, int index) {
    lua_State *co = lua_tothread(L, index);
    if (!co) luaL_typeerror(L, index, "coroutine");
    return co;
}

/* Run the <close> variables of a coroutine; it is the one that runs meanwhile. */
static int close_coroutine(lua_State *co) {
    lua_State *outer = budget.running;
    budget.running = co;
    int status = lua_resetthread(co);
    budget.running = outer;
    return status;
}

/* It was suspended because the budget is used up: it dies of that. */
static int stop(lua_State *L, lua_State *co) {
    budget.stopped = NULL;
    push_message(L, co);
    close_coroutine(co);
    lua_settop(co, 0);
    return -1;
}

/* Resume with 'n' arguments from the top of L. The number of results on L, or -1 with an
 * error message on L. */
static int resume(lua_State *L, lua_State *co, int n) {
    if (!lua_checkstack(co, n)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, n);
    lua_State *outer = budget.running;
    bool was_inner = budget.is_inner;
    int results;
    budget.running = co;
    budget.is_inner = outer != budget.base;
    int status = lua_resume(co, L, n, &results);
    budget.running = outer;
    budget.is_inner = was_inner;
    /* its resumer must not go on either, or it could start one loop after the other */
    bool tripped = budget.trips > 0;
    if (tripped && L != budget.base) rearm(L);
    if (status == LUA_YIELD && budget.stopped == co) return stop(L, co);
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

bool budget_can_wait(lua_State *L) {
    return budget.running == L && !budget.is_inner && lua_isyieldable(L);
}

/* What a resume has left lies behind 'index', where now comes whether it was good. */
static int push_outcome(lua_State *L, int index, int n) {
    lua_pushboolean(L, n >= 0);
    lua_replace(L, index);
    return n >= 0 ? n + 1 : 2;
}

/* core.resume(co, …): coroutine.resume, and the budget is that of what runs */
static int l_resume(lua_State *L) {
    lua_State *co = check_coroutine(L, 1);
    return push_outcome(L, 1, resume(L, co, lua_gettop(L) - 1));
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
    /* a trip has its place already */
    if (status != LUA_ERRMEM && budget.trips == 0 && lua_type(L, -1) == LUA_TSTRING) {
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
    lua_State *co = check_coroutine(L, 1);
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

struct budget_mark budget_begin(void) {
    return (struct budget_mark){stall_enter(NULL), budget.depth};
}

void budget_end(struct budget_mark mark) {
    stall_leave(mark.stall);
    budget.depth = mark.depth;
}

/* The script begins to run; calls nest. The caller holds the name. */
static void enter(lua_State *L, const char *name) {
    if (budget.depth > 0) {
        budget.depth++;
        return;
    }
    budget.stall = stall_enter(name);
    budget.running = budget.base = L;
    budget.ticks = budget.trips = budget.spared = 0;
    budget.is_inner = false;
    budget.depth = 1;
}

/* What held up the app for long is logged in one line. */
static void leave(lua_State *L) {
    lua_sethook(L, NULL, 0, 0);
    if (budget.depth > 0 && --budget.depth == 0) stall_leave(budget.stall);
}

/* It has returned, or was never given a function. */
static bool has_no_function(lua_State *co) {
    lua_Debug ar;
    return lua_status(co) == LUA_OK && lua_gettop(co) == 0 && !lua_getstack(co, 0, &ar);
}

/* core.run(name, co, …): coroutine.resume as a run of its own; one of core.thread's begins with the
 * function */
static int l_run(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    lua_State *co = check_coroutine(L, 2);
    if (has_no_function(co) && lua_isfunction(L, 3)) {
        lua_pushvalue(L, 3);
        lua_xmove(L, co, 1);
        lua_remove(L, 3);
    }
    enter(L, name);
    int n = resume(L, co, lua_gettop(L) - 2);
    leave(L);
    return push_outcome(L, 2, n);
}

static bool is_spare(lua_State *co) {
    return co && has_no_function(co) && !lua_gethook(co);
}

/* core.is_spare(co) -> whether it has returned, and may run another function: no hook is left */
static int l_is_spare(lua_State *L) {
    lua_pushboolean(L, is_spare(lua_tothread(L, 1)));
    return 1;
}

/* core.thread([co]) -> a coroutine that core.run gives its function to: 'co', when that may run
 * another, or a new one */
static int l_thread(lua_State *L) {
    if (is_spare(lua_tothread(L, 1))) lua_settop(L, 1);
    else lua_newthread(L);
    return 1;
}

/* core.budget_enter(name), core.budget_leave(): a run that resumes nothing */
static int l_enter(lua_State *L) {
    enter(L, luaL_checkstring(L, 1));
    return 0;
}

static int l_leave(lua_State *L) {
    leave(L);
    return 0;
}

/* core.budget_last(): only the end of the process comes now, in time or without the app */
static int l_last(lua_State *L) {
    (void)L;
    if (budget.last > 0) return 0;
    budget.last = stall_enter("the end of the process");
    stall_is_last();
    return 0;
}

/* The first object of a state is the last one that is finalized: what comes behind it is no
 * code of any app. */
static int on_last_finalizer(lua_State *L) {
    (void)L;
    if (budget.last > 0) stall_leave(budget.last);
    budget.last = 0;
    return 0;
}

static void await_finalizers(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &budget) == LUA_TNIL) {
        lua_newuserdatauv(L, 1, 0);
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, on_last_finalizer);
        lua_setfield(L, -2, "__gc");
        lua_setmetatable(L, -2);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &budget);
    }
    lua_pop(L, 1);
}

/* core.budget_own(source): the prefix of what is ours, as debug.getinfo says it */
static int l_own(lua_State *L) {
    struct slice own = lx_checkslice(L, 1);
    luaL_argcheck(L, own.n < sizeof budget.own, 1, "too long");
    memcpy(budget.own, own.p, own.n + 1);
    return 0;
}

/* core.tripped() -> whether the run that goes on has used up its budget */
static int l_tripped(lua_State *L) {
    lua_pushboolean(L, budget.depth > 0 && budget.trips > 0);
    return 1;
}

/* core.budget_set(seconds | nil) -> true | nil, message, code */
static int l_budget(lua_State *L) {
    int err = budget_setup(L, luaL_optnumber(L, 1, 0));
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* core.memory_limit(bytes | nil) */
static int l_memory_limit(lua_State *L) {
    double bytes = luaL_optnumber(L, 1, 0);
    luaL_argcheck(L, bytes >= 0, 1, "0 or more");
    budget_limit_memory(L, (size_t)bytes);
    return 0;
}

/* core.pool_heap(): small Lua objects come from pools */
static int l_pool_heap(lua_State *L) {
    heap_pool(L);
    return 0;
}

/* core.heap() -> bytes of the Lua heap */
static int l_heap(lua_State *L) {
    lua_pushinteger(L,
                    (lua_Integer)lua_gc(L, LUA_GCCOUNT) * 1024 + lua_gc(L, LUA_GCCOUNTB));
    return 1;
}

void budget_add_functions(lua_State *L) {
    static const luaL_Reg functions[] = {{"resume", l_resume},
                                         {"run", l_run},
                                         {"thread", l_thread},
                                         {"is_spare", l_is_spare},
                                         {"wrap", l_wrap},
                                         {"close", l_close},
                                         {"budget_enter", l_enter},
                                         {"budget_leave", l_leave},
                                         {"tripped", l_tripped},
                                         {"budget_set", l_budget},
                                         {"memory_limit", l_memory_limit},
                                         {"budget_last", l_last},
                                         {"budget_own", l_own},
                                         {"pool_heap", l_pool_heap},
                                         {"heap", l_heap},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    await_finalizers(L);
}
