/* Keeping and finding lines; see recorder.h. */
#include "base/recorder.h"

#include "base/mem.h"

#include <string.h>

void recorder_init(struct recorder *r, size_t size) {
    *r = (struct recorder){.lines = mem_new(size), .size = size};
}

void recorder_deinit(struct recorder *r) {
    mem_free(r->lines);
    r->lines = NULL;
}

static size_t line_end(const struct recorder *r, size_t at) {
    const char *end = memchr(r->lines + at, '\n', r->n - at);
    return (size_t)(end - r->lines) + 1;
}

/* Drop lines until so many bytes are left at most. */
static void shrink(struct recorder *r, size_t most) {
    size_t at = 0;
    while (r->n - at > most) {
        at = line_end(r, at);
        r->gone++;
    }
    r->n -= at;
    memmove(r->lines, r->lines + at, r->n);
}

void recorder_add(struct recorder *r, struct slice line) {
    if (line.n == 0 || line.n > r->size) return;
    size_t room = r->size - line.n;
    if (r->n > room) shrink(r, room < r->size / 2 ? room : r->size / 2);
    memcpy(r->lines + r->n, line.p, line.n);
    r->n += line.n;
    r->added++;
}

/* The last line that ends at 'end' or before and has the text. False: there is none. */
static bool find_before(const struct recorder *r, struct slice text, size_t end,
                        struct slice *line) {
    while (end > 0) {
        const char *before = end > 1 ? memrchr(r->lines, '\n', end - 1) : NULL;
        size_t start = before ? (size_t)(before - r->lines) + 1 : 0;
        *line = slice_of(r->lines + start, end - start);
        if (text.n == 0 || memmem(line->p, line->n, text.p, text.n)) return true;
        end = start;
    }
    return false;
}

int recorder_find(const struct recorder *r, struct slice text, uint32_t most,
                  struct buf *out) {
    size_t end = r->n;
    struct slice line;
    uint32_t n = 0;
    for (; n < most && find_before(r, text, end, &line); n++)
        end = (size_t)(line.p - r->lines);
    /* from the oldest of these on */
    size_t at = end;
    int err = 0;
    for (; n > 0 && err == 0; at += line.n) {
        line = slice_of(r->lines + at, line_end(r, at) - at);
        if (text.n > 0 && !memmem(line.p, line.n, text.p, text.n)) continue;
        err = buf_add(out, line.p, line.n);
        n--;
    }
    return err;
}

int recorder_newest(const struct recorder *r, uint32_t most, struct buf *out) {
    size_t at = r->n;
    struct slice line;
    for (uint32_t n = 0; n < most && find_before(r, slice_of("", 0), at, &line); n++)
        at = (size_t)(line.p - r->lines);
    return at < r->n ? buf_add(out, r->lines + at, r->n - at) : 0;
}
