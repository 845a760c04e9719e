/* The watcher of the app's thread; see stall.h. */
#include "run/stall.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 8
/* What was used when a run began may be known from so long before. */
#define USAGE_AGE_US 20000

/* Of the thread since it began, in µs. */
struct usage {
    int64_t ran, queued; /* queued < 0: the kernel does not say */
};

/* A stretch of time and what became of it. */
struct span {
    int64_t all, ran, queued;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t begun;
    pthread_t thread;
    bool watching, asleep;
    int schedstat; /* of the watched thread */
    clockid_t cpu;
    bool has_cpu, is_last;
    int64_t budget_ms;
    int depth;
    const char *names[DEPTH_MAX];
    char place[160];
    int64_t since,
        next_us; /* the run that goes on; when it is logged next, from 'since' */
    struct usage before;
    int64_t before_at;
} stall = {.lock = PTHREAD_MUTEX_INITIALIZER, .schedstat = -1};

/* ---- What the kernel counts --------------------------------------------------------- */

static struct usage read_usage(void) {
    struct usage u = {0, -1};
    char text[96];
    ssize_t n =
        stall.schedstat < 0 ? -1 : pread(stall.schedstat, text, sizeof text - 1, 0);
    if (n > 0) {
        text[n] = '\0';
        char *end;
        u.ran = (int64_t)(strtoull(text, &end, 10) / 1000);
        u.queued = (int64_t)(strtoull(end, NULL, 10) / 1000);
        return u;
    }
    struct timespec t;
    if (stall.has_cpu && clock_gettime(stall.cpu, &t) == 0)
        u.ran = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    return u;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static struct span span_until(int64_t now) {
    struct usage u = read_usage();
    struct span s = {.all = now - stall.since, .queued = -1};
    s.ran = least(u.ran - stall.before.ran, s.all);
    if (u.queued >= 0) s.queued = least(u.queued - stall.before.queued, s.all);
    return s;
}

/* ---- Words -------------------------------------------------------------------------- */

enum kind { COMPUTED, QUEUED, WAITED, UNKNOWN };

static enum kind kind_of(const struct span *s) {
    int64_t queued = s->queued > 0 ? s->queued : 0, elsewhere = s->all - s->ran - queued;
    if (s->ran >= elsewhere && s->ran >= queued) return COMPUTED;
    if (queued >= elsewhere) return QUEUED;
    return s->queued < 0 ? UNKNOWN : WAITED;
}

/* Whether a script that computed for so long should have been stopped. */
static bool is_beyond(const struct span *s) {
    return stall.budget_ms > 0 && s->ran > (stall.budget_ms + 200) * 1000;
}

/* What it does, while it lasts and afterwards. */
static const char *const doing[][2] = {
    [COMPUTED] = {"It computes", "It computed: a long loop needs sluice.sleep()"},
    [QUEUED] = {"It waits for a processor: the machine is busy",
                "It waited for a processor: the machine is busy"},
    [WAITED] = {"It waits outside of Sluice: io.popen and sockets block",
                "It waited outside of Sluice: io.popen and sockets block"},
    [UNKNOWN] = {
        "It waits, for a processor or outside of Sluice: io.popen and sockets block",
        "It waited, for a processor or outside of Sluice: io.popen and sockets "
        "block"}};

/* The name of the run that goes on; NULL: the runtime's own. [locked] */
static const char *current(void) {
    return stall.names[least(stall.depth, DEPTH_MAX) - 1];
}

/* What will become of it. */
static const char *fate(enum kind kind, const struct span *s) {
    if (!current() || is_beyond(s))
        return "; nothing can stop it where it is (a C function, a finalizer): handlers "
               "wait until it ends by itself, or the process by SIGTERM";
    if (kind == WAITED || kind == UNKNOWN) return "; handlers wait until it is back";
    return stall.budget_ms > 0
               ? "; --handler-budget stops it, unless that is C code or a finalizer"
               : "; nothing stops it, since --handler-budget is 0";
}

/* "GET /x (app.lua:3)" is a title and a place. */
struct title {
    int n;
    const char *where; /* " (app.lua:3)", or "" */
};

static struct title split(const char *name) {
    size_t n = strlen(name);
    const char *open = n > 0 && name[n - 1] == ')' ? strrchr(name, '(') : NULL;
    bool good = open && open > name && open[-1] == ' ' && strchr(open, ':');
    return good ? (struct title){(int)(open - name) - 1, open - 1}
                : (struct title){(int)n, ""};
}

static void write_line(const char *text, const struct span *s) {
    struct log_field fields[4] = {{.name = "seconds", .number = (double)s->all / 1e6},
                                  {.name = "cpu", .number = (double)s->ran / 1e6}};
    size_t n = 2;
    if (s->queued >= 0)
        fields[n++] =
            (struct log_field){.name = "queued", .number = (double)s->queued / 1e6};
    if (stall.place[0])
        fields[n++] = (struct log_field){.name = "seen_at", .text = stall.place};
    log_write(LOG_WARN, text, fields, n);
}

/* The line about a run; cut where it is too long. */
static void word(char *text, size_t size, const struct span *s, bool over) {
    const char *name = current() ? current() : "the runtime, or a finalizer,";
    struct title title = split(name);
    enum kind kind = kind_of(s);
    double seconds = (double)s->all / 1e6;
    char took[32];
    snprintf(took, sizeof took, seconds < 10 ? "%.2g s" : "%.0f s", seconds);
    if (stall.is_last && over && kind != COMPUTED)
        snprintf(text, size, "%s took %s. %s", name, took, doing[kind][1]);
    else if (stall.is_last)
        snprintf(text, size, "%s %s %s: a finalizer (__gc) of the app runs%s", name,
                 over ? "took" : "takes", took, over ? "" : ", which is given 6 s");
    else if (over)
        snprintf(text, size, "%.*s blocked the app for %s%s; streams continued. %s",
                 title.n, name, took, title.where, doing[kind][1]);
    else
        snprintf(text, size,
                 "%.*s has blocked the app for %s by now%s; streams continue. %s%s",
                 title.n, name, took, title.where, doing[kind][0], fate(kind, s));
}

static void report(const struct span *s, bool over) {
    char text[1024];
    word(text, sizeof text, s, over);
    write_line(text, s);
}

/* ---- The watcher -------------------------------------------------------------------- */

/* The time until the next line, or until the end of a process that does not end. [locked] */
static int64_t due_us(void) {
    int64_t due = stall.since + stall.next_us;
    int64_t end = stall.since + END_STUCK_MS * 1000;
    return stall.is_last ? least(due, end) : due;
}

static void sleep_us(int64_t us) {
    struct timespec at; /* by its own clock: a test may hold ours */
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += us / 1000000;
    at.tv_nsec += us % 1000000 * 1000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&stall.begun, &stall.lock, &at);
}

static void end_without_it(void) {
    log_write(LOG_ERROR, "the app is stuck: the process ends without it", NULL, 0);
    log_flush();
    _exit(1);
}

static void *run(void *unused) {
    (void)unused;
    pthread_setname_np(pthread_self(), "sluice-guard");
    pthread_mutex_lock(&stall.lock);
    for (;;) {
        if (stall.depth == 0) {
            stall.asleep = true;
            pthread_cond_wait(&stall.begun, &stall.lock);
            stall.asleep = false;
            continue;
        }
        int64_t now = clock_us(), due = due_us();
        if (now < due) { /* another run may begin meanwhile, and is due sooner */
            sleep_us(least(due - now, STALL_FIRST_MS * 1000));
            continue;
        }
        if (stall.is_last && now - stall.since >= END_STUCK_MS * 1000) end_without_it();
        struct span s = span_until(now);
        report(&s, false); /* locked, so that the line of its end comes behind this one */
        stall.next_us = 2 * s.all;
    }
    return NULL;
}

static int start_thread(void) {
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (err != 0) return -err;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&stall.thread, &attr, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -err;
}

int stall_watch(void) {
    if (stall.watching) return 0;
    pthread_mutex_lock(&stall.lock);
    stall.schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    stall.has_cpu = pthread_getcpuclockid(pthread_self(), &stall.cpu) == 0;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&stall.begun, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_unlock(&stall.lock);
    int err = start_thread();
    stall.watching = err == 0;
    return err;
}

/* ---- The watched thread ------------------------------------------------------------- */

void stall_budget(int64_t ms) {
    pthread_mutex_lock(&stall.lock);
    stall.budget_ms = ms;
    pthread_mutex_unlock(&stall.lock);
}

/* A run begins, or goes on after one inside of it. [locked] */
static void begin(int64_t now) {
    stall.since = now;
    stall.next_us = STALL_FIRST_MS * 1000;
    stall.place[0] = '\0';
    if (now - stall.before_at < USAGE_AGE_US && now >= stall.before_at) return;
    stall.before = read_usage();
    stall.before_at = now;
}

int stall_enter(const char *name) {
    int64_t now = clock_tick_us();
    pthread_mutex_lock(&stall.lock);
    int depth = ++stall.depth;
    if (depth <= DEPTH_MAX) stall.names[depth - 1] = name;
    begin(now);
    if (stall.asleep) pthread_cond_signal(&stall.begun);
    pthread_mutex_unlock(&stall.lock);
    return depth;
}

void stall_leave(int depth) {
    int64_t now = clock_tick_us();
    pthread_mutex_lock(&stall.lock);
    bool reported = stall.next_us > STALL_FIRST_MS * 1000;
    bool long_enough = now - stall.since >= STALL_LEAST_MS * 1000;
    if (reported || (long_enough && current())) {
        struct span s = span_until(now);
        report(&s, true);
        stall.before_at = 0;
    }
    stall.depth = depth - 1;
    stall.is_last = false;
    if (stall.depth > 0) begin(now);
    pthread_mutex_unlock(&stall.lock);
}

void stall_place(const char *place) {
    pthread_mutex_lock(&stall.lock);
    snprintf(stall.place, sizeof stall.place, "%s", place);
    pthread_mutex_unlock(&stall.lock);
}

void stall_is_last(void) {
    pthread_mutex_lock(&stall.lock);
    stall.is_last = true;
    pthread_mutex_unlock(&stall.lock);
}
