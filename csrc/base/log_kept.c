/* A bounded list under a lock; see log_kept.h. */
#include "base/log_kept.h"

#include "base/bounds.h"
#include "base/list.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct line {
    struct list node;
    enum log_level level;
    char text[];
};

static struct {
    pthread_mutex_t lock;
    struct list lines;
    unsigned n;
    atomic_bool on;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER, .lines = {&kept.lines, &kept.lines}};

bool log_kept_is_on(void) {
    return atomic_load_explicit(&kept.on, memory_order_relaxed);
}

void log_kept_add(enum log_level level, struct slice message) {
    pthread_mutex_lock(&kept.lock);
    if (kept.n < LOG_KEPT_MAX) {
        struct line *l = mem_new(sizeof *l + message.n + 1);
        l->level = level;
        memcpy(l->text, message.p, message.n);
        list_add(&kept.lines, &l->node);
        kept.n++;
    }
    pthread_mutex_unlock(&kept.lock);
}

bool log_kept_take(enum log_level *level, char *text, size_t size) {
    pthread_mutex_lock(&kept.lock);
    bool found = !list_empty(&kept.lines);
    if (found) {
        struct line *l = container_of(kept.lines.next, struct line, node);
        *level = l->level;
        snprintf(text, size, "%s", l->text);
        list_remove(&l->node);
        mem_free(l);
        kept.n--;
    }
    pthread_mutex_unlock(&kept.lock);
    return found;
}

void log_kept_set(bool on) {
    enum log_level level;
    char text[1];
    atomic_store(&kept.on, on);
    while (log_kept_take(&level, text, sizeof text)) continue;
}
