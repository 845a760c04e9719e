/* A growable byte buffer. Zero-initialised it is empty and owns nothing. */
#ifndef SLUICE_BASE_BUF_H
#define SLUICE_BASE_BUF_H

#include "base/slice.h"

#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p;
    size_t n;   /* bytes used */
    size_t cap; /* bytes owned */
};

void buf_init(struct buf *b);
void buf_free(struct buf *b); /* the buffer is empty and usable afterwards */

/* Make room for n more bytes. 0 or E_NOMEM; on failure nothing changed. */
int buf_reserve(struct buf *b, size_t n);

/* Append (copies). 0 or E_NOMEM; on failure nothing changed. */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_adds(struct buf *b, const char *s);
/* ... with a NUL behind it, which does not count. */
int buf_addf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int buf_add_unsigned(struct buf *b, uint64_t number);

int buf_add_number(struct buf *b, double number); /* as in JSON */

/* Drop the first n bytes. */
void buf_shift(struct buf *b, size_t n);

static inline struct slice buf_slice(const struct buf *b) {
    return (struct slice){b->p, b->n};
}

#endif
