/* Ring of finished lines, one writer thread; see log.h. */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* Lines that may wait for the writer: a second of the worst case, 1 MiB or so. */
#define RING_LINES 8192

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct buf ring[RING_LINES];
    size_t head, tail; /* head - tail lines are waiting */
    unsigned long dropped;
    int users;
    bool stopping;
    pthread_t thread;
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static atomic_int min_level = LOG_INFO;
static atomic_bool as_json;

void log_configure(enum log_level level, bool json) {
    atomic_store(&min_level, level);
    atomic_store(&as_json, json);
}

bool log_wants(enum log_level level) {
    return (int)level >= atomic_load_explicit(&min_level, memory_order_relaxed);
}

int log_level_of(const char *name) {
    for (int i = 0; i < 4; i++)
        if (strcasecmp(name, level_names[i]) == 0) return i;
    return strcasecmp(name, "off") == 0 ? LOG_OFF : -1;
}

/* ---- Formatting --------------------------------------------------------------------- */

static void add_escaped(struct buf *b, const char *p, size_t n, bool quote) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == '\n' && !quote) buf_adds(b, "\n    ");
        else if (c == '\n') buf_adds(b, "\\n");
        else if (quote && (c == '"' || c == '\\')) buf_addf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7f) buf_addf(b, "\\u%04x", c);
        else buf_add(b, &p[i], 1);
    }
}

static void add_string(struct buf *b, const char *p, size_t n) {
    buf_adds(b, "\"");
    add_escaped(b, p, n, true);
    buf_adds(b, "\"");
}

static void add_value(struct buf *b, const struct log_field *f, bool json) {
    if (!f->text) {
        if (f->number == floor(f->number) && fabs(f->number) < 1e15)
            buf_addf(b, "%.0f", f->number);
        else if (isfinite(f->number)) buf_addf(b, "%.6g", f->number);
        else buf_adds(b, "null");
        return;
    }
    size_t n = f->text_n ? f->text_n : strlen(f->text);
    bool plain = !json && n > 0 && !memchr(f->text, ' ', n) && !memchr(f->text, '"', n);
    if (plain) add_escaped(b, f->text, n, true);
    else add_string(b, f->text, n);
}

static void add_time(struct buf *b) {
    double now = clock_wall();
    time_t seconds = (time_t)now;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_addf(b, "%s.%03dZ", text, (int)((now - (double)seconds) * 1000));
}

static void format_line(struct buf *b, enum log_level level, const char *message,
                        const struct log_field *fields, size_t n) {
    bool json = atomic_load(&as_json);
    if (json) buf_adds(b, "{\"time\":\"");
    add_time(b);
    if (json) {
        buf_addf(b, "\",\"level\":\"%s\",\"message\":", level_names[level]);
        add_string(b, message, strlen(message));
    } else {
        buf_addf(b, " %-5s ", level_names[level]);
        add_escaped(b, message, strlen(message), false);
    }
    for (size_t i = 0; i < n; i++) {
        buf_adds(b, json ? "," : "  ");
        if (json) add_string(b, fields[i].name, strlen(fields[i].name));
        else buf_adds(b, fields[i].name);
        buf_adds(b, json ? ":" : "=");
        add_value(b, &fields[i], json);
    }
    buf_adds(b, json ? "}\n" : "\n");
}

/* ---- Writing ------------------------------------------------------------------------ */

static void write_all(const char *p, size_t n) {
    while (n > 0) {
        ssize_t got = write(STDERR_FILENO, p, n);
        if (got <= 0) return; /* nobody listens: nothing to tell it to */
        p += got;
        n -= (size_t)got;
    }
}

static void report_dropped(unsigned long dropped) {
    struct buf b = {0};
    struct log_field field = {.name = "lines", .number = (double)dropped};
    format_line(&b, LOG_WARN, "the log was too slow: lines were dropped", &field, 1);
    write_all(b.p, b.n);
    buf_free(&b);
}

static void *run(void *unused) {
    (void)unused;
    pthread_setname_np(pthread_self(), "sluice-log");
    pthread_mutex_lock(&logger.lock);
    for (;;) {
        while (logger.head == logger.tail && !logger.stopping)
            pthread_cond_wait(&logger.filled, &logger.lock);
        if (logger.head == logger.tail) break;
        struct buf line = logger.ring[logger.tail++ % RING_LINES];
        unsigned long dropped = logger.dropped;
        logger.dropped = 0;
        pthread_mutex_unlock(&logger.lock);
        write_all(line.p, line.n);
        buf_free(&line);
        if (dropped) report_dropped(dropped);
        pthread_mutex_lock(&logger.lock);
    }
    pthread_mutex_unlock(&logger.lock);
    return NULL;
}

void log_start(void) {
    pthread_mutex_lock(&logger.lock);
    if (logger.users++ == 0) {
        logger.stopping = false;
        sigset_t all, before; /* signals are for other threads */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&logger.thread, NULL, run, NULL) != 0) logger.users--;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_mutex_unlock(&logger.lock);
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
    pthread_mutex_unlock(&logger.lock);
}

void log_write(enum log_level level, const char *message, const struct log_field *fields,
               size_t n) {
    if (!log_wants(level) || level >= LOG_OFF) return;
    struct buf line = {0};
    format_line(&line, level, message, fields, n);
    pthread_mutex_lock(&logger.lock);
    bool now = logger.users == 0;
    bool full = logger.head - logger.tail == RING_LINES;
    if (full) logger.dropped++;
    if (!now && !full) {
        logger.ring[logger.head++ % RING_LINES] = line;
        pthread_cond_signal(&logger.filled);
    }
    pthread_mutex_unlock(&logger.lock);
    if (now) write_all(line.p, line.n);
    if (now || full) buf_free(&line);
}

void log_printf(enum log_level level, const char *format, ...) {
    if (!log_wants(level)) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_write(level, text, NULL, 0);
}
