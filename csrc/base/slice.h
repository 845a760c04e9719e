/* A slice: bytes that another object owns. Borrowed until the call returns unless the
 * taker says otherwise. Not NUL-terminated. */
#ifndef SLUICE_BASE_SLICE_H
#define SLUICE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

static inline struct slice slice_of(const char *p, size_t n) {
    return (struct slice){p, n};
}

/* The slice of a NUL-terminated string. */
static inline struct slice slice_str(const char *s) {
    return (struct slice){s, strlen(s)};
}

static inline bool slice_eq(struct slice a, struct slice b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Compares with a string literal; the length is known at compile time. */
#define slice_eq_lit(s, lit) \
    ((s).n == sizeof(lit) - 1 && memcmp((s).p, lit, sizeof(lit) - 1) == 0)

#endif
