/* A recorder under a lock; see log_tail.h. */
#include "base/log_tail.h"

#include "base/bounds.h"
#include "base/recorder.h"

#include <pthread.h>

static char room[LOG_TAIL_BYTES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct recorder tail = {.lines = room, .size = sizeof room};

void log_tail_add(struct slice line) {
    pthread_mutex_lock(&lock);
    recorder_add(&tail, line);
    pthread_mutex_unlock(&lock);
}

int log_tail_read(uint64_t after, uint32_t most, struct buf *out, uint64_t *last) {
    pthread_mutex_lock(&lock);
    uint64_t behind = tail.added > after ? tail.added - after : 0;
    int err = recorder_newest(&tail, behind < most ? (uint32_t)behind : most, out);
    *last = tail.added;
    pthread_mutex_unlock(&lock);
    return err;
}
