/* Ring of finished lines, one writer thread; see log.h.
 *
 * The ring is bounded in lines and in bytes. What finds no room is dropped and counted, and
 * the count is logged where the lines are missing: in front of the next one that was taken,
 * or when the ring has run empty. */
#include "base/log.h"

#include "base/bounds.h"
#include "base/log_kept.h"
#include "base/log_tail.h"
#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

struct line {
    struct buf text;
    unsigned long missing; /* lines that were dropped before this one */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct line ring[LOG_LINES_MAX];
    size_t head, tail; /* head - tail lines are waiting */
    size_t bytes;      /* of these */
    unsigned long dropped;
    int users;
    bool writing, stopping;
    pthread_t thread;
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static atomic_int min_level = LOG_INFO;
static atomic_bool as_json, for_journal;

void log_configure(enum log_level level, struct log_form form) {
    atomic_store(&min_level, level);
    atomic_store(&as_json, form.json);
    atomic_store(&for_journal, form.journal);
}

static struct log_form form_now(void) {
    return (struct log_form){atomic_load(&as_json), atomic_load(&for_journal)};
}

bool log_wants(enum log_level level) {
    return (int)level >= atomic_load_explicit(&min_level, memory_order_relaxed);
}

/* ---- Writing ------------------------------------------------------------------------ */

/* Of the one that writes: the log's thread or, without it, any. */
static struct {
    pthread_mutex_t lock;
    int looks; /* at a stderr that takes nothing, while the process ends */
    bool torn; /* the last line was written in part */
} writer = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define LOOK_MS 100

/* The reader of stderr may have stopped. The thread waits for it, since it has nothing else
 * to do; the end of the process, and a writer without a thread, not for long. */
static bool may_wait(void) {
    pthread_mutex_lock(&logger.lock);
    bool bounded = logger.stopping || logger.users == 0;
    pthread_mutex_unlock(&logger.lock);
    return !bounded || ++writer.looks < LOG_STOP_MS / LOOK_MS;
}

/* A pipe that has room takes PIPE_BUF bytes without blocking. False: given up. */
static bool write_all(struct slice s) {
    while (s.n > 0) {
        struct pollfd wanted = {.fd = STDERR_FILENO, .events = POLLOUT};
        bool given_up = writer.looks >= LOG_STOP_MS / LOOK_MS;
        int ready = poll(&wanted, 1, given_up ? 0 : LOOK_MS);
        if (ready == 0 && !may_wait()) return false;
        if (ready <= 0) continue;
        ssize_t n = write(STDERR_FILENO, s.p, s.n < PIPE_BUF ? s.n : PIPE_BUF);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (n <= 0) return false; /* stderr is closed: nowhere to report it */
        writer.looks = 0;
        s = slice_of(s.p + n, s.n - (size_t)n);
    }
    return true;
}

/* A line of which only a part could be written does not spoil the next one. */
static void write_line(struct slice s) {
    pthread_mutex_lock(&writer.lock);
    if (writer.torn) writer.torn = !write_all(slice_of("\n", 1));
    if (!writer.torn) writer.torn = !write_all(s);
    pthread_mutex_unlock(&writer.lock);
}

static void report_missing(unsigned long lines) {
    struct buf b = {0};
    struct log_field field = {.name = "lines", .number = (double)lines};
    struct slice message = slice_str("the log was too slow: lines were dropped");
    if (log_line_add(&b, form_now(),
                     &(struct log_message){LOG_WARN, message, &field, 1, 0}) == 0)
        write_line(buf_slice(&b));
    buf_free(&b);
}

/* The next line, or only the number of those that are missing. [locked] */
static struct line take(void) {
    struct line line = {.missing = logger.dropped};
    if (logger.head == logger.tail) {
        logger.dropped = 0;
        return line;
    }
    line = logger.ring[logger.tail++ % LOG_LINES_MAX];
    logger.bytes -= line.text.n;
    return line;
}

static bool is_empty(void) {
    return logger.head == logger.tail && logger.dropped == 0;
}

/* [locked; not while it writes] */
static void write_next(void) {
    struct line line = take();
    logger.writing = true;
    pthread_mutex_unlock(&logger.lock);
    if (line.missing) report_missing(line.missing);
    if (line.text.n > 0) write_line(buf_slice(&line.text));
    buf_free(&line.text);
    pthread_mutex_lock(&logger.lock);
    logger.writing = false;
}

static void *run(void *unused) {
    (void)unused;
    pthread_setname_np(pthread_self(), "sluice-log");
    pthread_mutex_lock(&logger.lock);
    while (!is_empty() || !logger.stopping) {
        if (is_empty()) pthread_cond_wait(&logger.filled, &logger.lock);
        else write_next();
    }
    pthread_mutex_unlock(&logger.lock);
    return NULL;
}

/* ---- Life --------------------------------------------------------------------------- */

static int start_thread(void) {
    sigset_t all, before; /* signals are for other threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&logger.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -err;
}

void log_start(void) {
    pthread_mutex_lock(&logger.lock);
    int err = 0;
    if (logger.users == 0) {
        logger.stopping = false;
        err = start_thread();
    }
    if (err == 0) logger.users++;
    pthread_mutex_unlock(&logger.lock);
    if (err < 0)
        log_printf(LOG_WARN, "the log has no thread (%s): a slow stderr delays streams",
                   status_text(err));
}

void log_stop(void) {
    pthread_mutex_lock(&logger.lock);
    bool last = logger.users == 1;
    if (last) {
        logger.stopping = true;
        pthread_cond_signal(&logger.filled);
    } else if (logger.users > 0) {
        logger.users--;
    }
    pthread_mutex_unlock(&logger.lock);
    if (!last) return;
    pthread_join(logger.thread, NULL);
    pthread_mutex_lock(&logger.lock);
    logger.users = 0;
    while (!is_empty()) write_next(); /* what came after its last look */
    pthread_mutex_unlock(&logger.lock);
}

void log_flush(void) {
    for (int looks = 0; looks < LOG_STOP_MS / 10; looks++) {
        pthread_mutex_lock(&logger.lock);
        bool done = logger.users == 0 || (is_empty() && !logger.writing);
        pthread_mutex_unlock(&logger.lock);
        if (done) return;
        poll(NULL, 0, 10);
    }
}

/* ---- Lines -------------------------------------------------------------------------- */

/* Takes the text of 'line', or counts it. [locked] */
static void put(struct buf *line) {
    bool full = logger.head - logger.tail == LOG_LINES_MAX;
    bool fits = logger.bytes == 0 || logger.bytes + line->n <= LOG_BYTES_MAX;
    if (full || !fits || line->n == 0) {
        logger.dropped++;
        return;
    }
    logger.ring[logger.head++ % LOG_LINES_MAX] = (struct line){*line, logger.dropped};
    logger.bytes += line->n;
    logger.dropped = 0;
    *line = (struct buf){0};
}

/* The tail has JSON. */
static void keep_tail(const struct log_message *m, struct log_form form,
                      struct slice line) {
    struct buf text = {0};
    bool is_json = form.json && !form.journal;
    if (!is_json && log_line_add(&text, (struct log_form){.json = true}, m) == 0)
        line = buf_slice(&text);
    log_tail_add(line);
    buf_free(&text);
}

void log_write_slice(enum log_level level, struct slice message,
                     const struct log_field *fields, size_t n) {
    if (log_kept_is_on() && (n == 0 || level > LOG_INFO)) log_kept_add(level, message);
    if (!log_wants(level) || level >= LOG_OFF) return;
    struct buf line = {0};
    struct log_message m = {level, message, fields, n, 0};
    struct log_form form = form_now();
    if (log_line_add(&line, form, &m) < 0)
        line.n = 0; /* out of memory: it counts as dropped */
    keep_tail(&m, form, buf_slice(&line));
    pthread_mutex_lock(&logger.lock);
    bool now = logger.users == 0;
    if (!now) {
        put(&line);
        pthread_cond_signal(&logger.filled);
    }
    pthread_mutex_unlock(&logger.lock);
    if (now) write_line(buf_slice(&line));
    buf_free(&line);
}

void log_write(enum log_level level, const char *message, const struct log_field *fields,
               size_t n) {
    log_write_slice(level, slice_str(message), fields, n);
}

void log_printf(enum log_level level, const char *format, ...) {
    if (!log_wants(level) && !log_kept_is_on()) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_write(level, text, NULL, 0);
}
