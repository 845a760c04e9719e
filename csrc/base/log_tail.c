/* The newest lines in one piece of memory, in order, under a lock; see log_tail.h. When there is no
 * room the older half goes and the rest moves down, so that a line costs a copy now and half a copy
 * later. */
#include "base/log_tail.h"

#include "base/bounds.h"

#include <pthread.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    size_t n;
    uint64_t added; /* lines, since the start */
    char lines[LOG_TAIL_BYTES];
} tail = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Drop lines until so many bytes are left at most. */
static void shrink(size_t most) {
    size_t at = 0;
    while (tail.n - at > most) {
        const char *end = memchr(tail.lines + at, '\n', tail.n - at);
        at = (size_t)(end - tail.lines) + 1;
    }
    tail.n -= at;
    memmove(tail.lines, tail.lines + at, tail.n);
}

static void add(struct slice line) {
    if (line.n == 0 || line.n > sizeof tail.lines) return;
    size_t room = sizeof tail.lines - line.n, half = sizeof tail.lines / 2;
    if (tail.n > room) shrink(room < half ? room : half);
    memcpy(tail.lines + tail.n, line.p, line.n);
    tail.n += line.n;
    tail.added++;
}

void log_tail_add(struct slice line) {
    pthread_mutex_lock(&tail.lock);
    add(line);
    pthread_mutex_unlock(&tail.lock);
}

/* Where the newest lines begin, so many at most. */
static size_t newest(uint64_t most) {
    size_t at = tail.n;
    for (uint64_t n = 0; n < most && at > 0; n++) {
        const char *before = at > 1 ? memrchr(tail.lines, '\n', at - 1) : NULL;
        at = before ? (size_t)(before - tail.lines) + 1 : 0;
    }
    return at;
}

int log_tail_read(uint64_t after, uint32_t most, struct buf *out, uint64_t *last) {
    pthread_mutex_lock(&tail.lock);
    uint64_t behind = tail.added > after ? tail.added - after : 0;
    size_t at = newest(behind < most ? behind : most);
    int err = at < tail.n ? buf_add(out, tail.lines + at, tail.n - at) : 0;
    *last = tail.added;
    pthread_mutex_unlock(&tail.lock);
    return err;
}
