/* A recorder: the newest lines that were put into it, as many as fit.
 *
 * The lines lie in one piece of memory, in order, each with its line feed:
 *
 *     | line | line | line |          room          |
 *
 * When there is no room the older half goes and the rest moves down, so that a line costs a copy
 * now and half a copy later, and whoever looks for something reads one text. [one thread at a
 * time] */
#ifndef SLUICE_BASE_RECORDER_H
#define SLUICE_BASE_RECORDER_H

#include "base/buf.h"

#include <stdint.h>

struct recorder {
    char *lines;
    size_t n, size;
    uint64_t added; /* lines, since the start */
    uint64_t gone;  /* ... of which so many are no longer here */
};

/* 'size': bytes of all lines; a longer line is not kept. The memory is touched as it is used. */
void recorder_init(struct recorder *r, size_t size);
void recorder_deinit(struct recorder *r);

/* Add a line that ends with its line feed (copies). */
void recorder_add(struct recorder *r, struct slice line);

/* Append lines with a text in them (empty: all lines): the newest 'most' of them, in order. 0 or
 * E_NOMEM. */
int recorder_find(const struct recorder *r, struct slice text, uint32_t most,
                  struct buf *out);

/* Append the newest lines, so many at most. 0 or E_NOMEM. */
int recorder_newest(const struct recorder *r, uint32_t most, struct buf *out);

#endif
