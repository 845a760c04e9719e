/* Programs that a command starts; see child.h.
 *
 * A child is the head of a process group of its own, so that a Ctrl-C is its parent's to hand
 * on and a kill reaches what it has started. The kernel ends it when the thread that started
 * it ends, however that happens. It has no input, writes both
 * outputs to our stderr, and inherits no other file. */
#include "bind/child.h"

#include "base/clock.h"
#include "base/status.h"
#include "bind/l_aux.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MAX 256

/* In the child, where only what is safe for signal handlers may be called. */
static _Noreturn void become(char *const *words, pid_t parent, int failed) {
    sigset_t none;
    sigemptyset(&none);
    for (int n = 1; n < 32; n++)
        (void)signal(n, SIG_DFL); /* NOLINT(concurrency-mt-unsafe) */
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127); /* it has gone meanwhile */
#ifdef SYS_close_range
    (void)syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
#endif
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) (void)dup2(nothing, STDIN_FILENO);
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    execvp(words[0], words);
    int err = errno;
    (void)!write(failed, &err, sizeof err);
    _exit(127);
}

/* The child's pid, or a negative errno: also when the program cannot be run. */
static pid_t start(char *const *words) {
    int ends[2], err = 0;
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) become(words, parent, ends[1]);
    if (pid < 0) err = errno;
    close(ends[1]);
    if (pid > 0 && read(ends[0], &err, sizeof err) > 0) (void)waitpid(pid, NULL, 0);
    close(ends[0]);
    return err ? -err : pid;
}

/* core.spawn(words) -> pid | nil, message, code: the program of this name, with arguments */
static int l_spawn(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, 1);
    luaL_argcheck(L, n > 0 && n < WORDS_MAX, 1, "a program and at most 254 arguments");
    char **words = lx_scratch(L, (n + 1) * sizeof *words);
    for (lua_Unsigned i = 0; i < n; i++) {
        luaL_argcheck(L, lua_rawgeti(L, 1, (lua_Integer)i + 1) == LUA_TSTRING, 1,
                      "strings are expected");
        words[i] = (char *)lua_tostring(L, -1); /* the table keeps it */
        lua_pop(L, 1);
    }
    pid_t pid = start(words);
    if (pid < 0) return lx_fail(L, pid);
    lua_pushinteger(L, pid);
    return 1;
}

/* core.kill(pid, "TERM" | "KILL"): to the child and what it has started */
static int l_kill(lua_State *L) {
    static const char *const names[] = {"TERM", "KILL", NULL};
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    int number = luaL_checkoption(L, 2, NULL, names) == 0 ? SIGTERM : SIGKILL;
    luaL_argcheck(L, pid > 1, 1, "a child's pid");
    if (kill(-pid, number) < 0 && kill(pid, number) < 0) return lx_fail(L, -errno);
    lua_pushboolean(L, true);
    return 1;
}

/* core.ended(pid[, seconds]) -> exit code, 128 + n after signal n | nil while it runs: also
 * after waiting so long, which blocks */
static int l_ended(lua_State *L) {
    const struct timespec pause = {.tv_nsec = 5000000};
    pid_t pid = (pid_t)luaL_checkinteger(L, 1), got;
    double until = clock_seconds() + luaL_optnumber(L, 2, 0);
    int status = 0;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0 && clock_seconds() < until)
        (void)nanosleep(&pause, NULL);
    if (got == 0) return 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    lua_pushinteger(L, got == pid ? code : 127);
    return 1;
}

/* core.pause(seconds): blocks; a signal ends it sooner */
static int l_pause(lua_State *L) {
    double seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= 3600, 1, "0 to 3600 seconds");
    struct timespec t = {.tv_sec = (time_t)seconds,
                         .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&t, NULL);
    return 0;
}

/* core.setenv(name, value): for this process and those it starts; before threads run */
static int l_setenv(lua_State *L) {
    const char *name = luaL_checkstring(L, 1), *value = luaL_checkstring(L, 2);
    (void)setenv(name, value, 1); /* NOLINT(concurrency-mt-unsafe) */
    return 0;
}

void child_add_functions(lua_State *L) {
    static const luaL_Reg functions[] = {{"spawn", l_spawn},   {"kill", l_kill},
                                         {"ended", l_ended},   {"pause", l_pause},
                                         {"setenv", l_setenv}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
