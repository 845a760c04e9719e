/* core.store.verify, figures, backup, export, import. They block, and end early at INT, TERM
 * and HUP (code "ECLOSED"), with nothing left of what was half done. A progress function is
 * called ten times in a second at most. Findings are gathered beside Lua, since it may raise
 * while the file is open; FINDINGS_MAX of them are kept. */
#include "bind/store_tools.h"

#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "store/tools.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_MS 100
#define FINDINGS_MAX 1000

/* ---- Progress and signals ------------------------------------------------------------- */

static volatile sig_atomic_t is_stopped;

/* It may come just before a read or write that waits: SIGALRM interrupts that one, too. */
static void on_signal(int number) {
    (void)number;
    is_stopped = 1;
    alarm(1);
}

static const int numbers[] = {SIGALRM, SIGINT, SIGTERM, SIGHUP};
#define NUMBERS (sizeof numbers / sizeof *numbers)

struct work {
    struct store_job job;
    lua_State *L;
    int on_progress; /* stack index; 0: none */
    int64_t told_ms;
    struct buf *findings, *texts;
    uint64_t n_findings;
    struct sigaction before[NUMBERS];
};

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int on_progress(void *arg, uint64_t done, uint64_t total) {
    struct work *w = arg;
    if (is_stopped) return 1;
    if (w->on_progress == 0 || total == 0) return 0;
    int64_t now = now_ms();
    if (done < total && now - w->told_ms < PROGRESS_MS) return 0;
    w->told_ms = now;
    lua_pushvalue(w->L, w->on_progress);
    lua_pushinteger(w->L, (lua_Integer)done);
    lua_pushinteger(w->L, (lua_Integer)total);
    if (lua_pcall(w->L, 2, 0, 0) != LUA_OK) lua_pop(w->L, 1); /* it only shows */
    return 0;
}

/* A signal that is ignored stays so. */
static void begin(struct work *w, lua_State *L, int index) {
    *w = (struct work){.L = L, .on_progress = lua_isfunction(L, index) ? index : 0};
    w->job = (struct store_job){.progress = on_progress, .arg = w};
    struct sigaction act = {.sa_handler = on_signal};
    luaL_checkstack(L, 8, "progress");
    is_stopped = 0;
    for (size_t i = 0; i < NUMBERS; i++) {
        sigaction(numbers[i], NULL, &w->before[i]);
        if (w->before[i].sa_handler != SIG_IGN) sigaction(numbers[i], &act, NULL);
    }
}

/* Returns err, E_CLOSED when a signal has ended it. */
static int end(struct work *w, int err) {
    if (is_stopped) alarm(0);
    for (size_t i = 0; i < NUMBERS; i++) sigaction(numbers[i], &w->before[i], NULL);
    if (err < 0 && is_stopped) {
        w->job.why = NULL;
        return E_CLOSED;
    }
    return err;
}

static int answer(lua_State *L, const struct work *w, int err) {
    if (err == E_CLOSED) return lx_fail_text(L, err, "interrupted");
    if (err < 0 && w->job.why) return lx_fail_text(L, err, w->job.why);
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

static struct store_place check_place(lua_State *L) {
    return (struct store_place){.folder = luaL_checkstring(L, 1)};
}

/* ---- Verify --------------------------------------------------------------------------- */

struct finding {
    enum store_fault fault;
    uint64_t seq;
    size_t channel_n, text_n;
    const char *lost; /* static */
};

static void on_found(void *arg, const struct store_finding *f) {
    struct work *w = arg;
    struct finding kept = {f->fault, f->seq, f->channel.n, strlen(f->text), f->lost};
    if (w->n_findings++ >= FINDINGS_MAX) return;
    if (buf_add(w->findings, &kept, sizeof kept) < 0 ||
        buf_add(w->texts, f->channel.p, f->channel.n) < 0 ||
        buf_add(w->texts, f->text, kept.text_n) < 0)
        w->findings->n = w->texts->n = 0; /* the counts stay */
}

static void push_findings(lua_State *L, const struct work *w) {
    static const char *const words[] = {[STORE_DAMAGED] = "damaged",
                                        [STORE_MISSING] = "missing",
                                        [STORE_STALE] = "stale"};
    size_t n = w->findings->n / sizeof(struct finding);
    const char *p = w->texts->p;
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        struct finding f;
        memcpy(&f, w->findings->p + i * sizeof f, sizeof f);
        lua_createtable(L, 0, 5);
        lua_pushstring(L, words[f.fault]);
        lua_setfield(L, -2, "fault");
        if (f.channel_n > 0) {
            lua_pushlstring(L, p, f.channel_n);
            lua_setfield(L, -2, "channel");
        }
        if (f.seq > 0) lx_set_integer(L, "number", f.seq);
        lua_pushlstring(L, p + f.channel_n, f.text_n);
        lua_setfield(L, -2, "what");
        lua_pushstring(L, f.lost);
        lua_setfield(L, -2, "lost");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
        p += f.channel_n + f.text_n;
    }
}

/* core.store.verify(folder[, progress]) -> { rows, damaged, missing, stale, lost, epoch,
 * findings, more } | nil, message, code */
static int l_verify(lua_State *L) {
    struct store_place place = check_place(L);
    struct store_verdict v;
    struct work w;
    lua_settop(L, 2);
    struct buf *findings = lx_newbuf(L), *texts = lx_newbuf(L);
    begin(&w, L, 2);
    w.findings = findings;
    w.texts = texts;
    int err = end(&w, store_verify(&place, &w.job, on_found, &v));
    if (err < 0) return answer(L, &w, err);
    lua_createtable(L, 0, 9);
    lx_set_integer(L, "rows", v.rows);
    lx_set_integer(L, "damaged", v.damaged);
    lx_set_integer(L, "missing", v.holes);
    lx_set_integer(L, "stale", v.stale);
    lx_set_integer(L, "lost", v.lost);
    lx_set_integer(L, "more", w.n_findings - findings->n / sizeof(struct finding));
    lua_pushstring(L, v.epoch);
    lua_setfield(L, -2, "epoch");
    push_findings(L, &w);
    lua_setfield(L, -2, "findings");
    return 1;
}

/* ---- Figures -------------------------------------------------------------------------- */

static void set_time(lua_State *L, const char *name, int64_t ms) {
    if (ms > 0) lx_set_number(L, name, (double)ms / 1000);
}

/* core.store.figures(folder) -> table | nil, message, code */
static int l_figures(lua_State *L) {
    struct store_place place = check_place(L);
    struct store_figures f;
    struct work w;
    begin(&w, L, 0);
    int err = end(&w, store_figures(&place, &w.job, &f));
    if (err < 0) return answer(L, &w, err);
    lua_createtable(L, 0, 24);
    lua_pushstring(L, f.epoch);
    lua_setfield(L, -2, "epoch");
    lx_set_integer(L, "head", f.head);
    lx_set_boolean(L, "clean", f.clean);
    lx_set_integer(L, "schema", (uint64_t)f.version);
    if (f.holder > 0) lx_set_integer(L, "pid", (uint64_t)f.holder);
    lx_set_integer(L, "logs", f.logs);
    lx_set_integer(L, "states", f.states);
    lx_set_integer(L, "keyed", f.keyed);
    lx_set_integer(L, "patterns", f.patterns);
    lx_set_integer(L, "former", f.former);
    lx_set_integer(L, "events", f.events);
    lx_set_integer(L, "event_bytes", f.event_bytes);
    lx_set_integer(L, "newest", f.newest);
    lx_set_integer(L, "newest_bytes", f.newest_bytes);
    lx_set_integer(L, "keys", f.keys);
    lx_set_integer(L, "pairs", f.pairs);
    lx_set_integer(L, "pair_bytes", f.pair_bytes);
    lx_set_integer(L, "tasks", f.tasks);
    set_time(L, "oldest_at", f.oldest_ms);
    set_time(L, "newest_at", f.newest_ms);
    set_time(L, "due_at", f.due_ms);
    lx_set_integer(L, "file_bytes", f.bytes);
    lx_set_integer(L, "log_bytes", f.wal_bytes);
    return 1;
}

/* ---- Copies --------------------------------------------------------------------------- */

/* core.store.backup(folder, path[, replace[, progress]]) -> true | nil, message, code */
static int l_backup(lua_State *L) {
    struct store_place place = check_place(L);
    const char *path = luaL_checkstring(L, 2);
    struct work w;
    begin(&w, L, 4);
    int err = store_backup(&place, path, lua_toboolean(L, 3), &w.job);
    return answer(L, &w, end(&w, err));
}

/* core.store.export(folder, path or nil[, replace[, progress]]) -> how many rows were
 * damaged, whether more may be missing | nil, message, code */
static int l_export(lua_State *L) {
    struct store_place place = check_place(L);
    const char *path = luaL_optstring(L, 2, NULL);
    struct work w;
    begin(&w, L, 4);
    int err = end(&w, store_export(&place, path, lua_toboolean(L, 3), &w.job));
    if (err < 0) return answer(L, &w, err);
    lua_pushinteger(L, (lua_Integer)w.job.damaged);
    lua_pushboolean(L, w.job.incomplete);
    return 2;
}

/* core.store.import(folder, path or nil[, renew[, progress]]) -> true | nil, message, code */
static int l_import(lua_State *L) {
    struct store_place place = check_place(L);
    const char *path = luaL_optstring(L, 2, NULL);
    struct work w;
    begin(&w, L, 4);
    int err = store_import(&place, path, lua_toboolean(L, 3), &w.job);
    return answer(L, &w, end(&w, err));
}

void store_tools_add(lua_State *L) {
    static const luaL_Reg functions[] = {{"verify", l_verify}, {"figures", l_figures},
                                         {"backup", l_backup}, {"export", l_export},
                                         {"import", l_import}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "store");
}
