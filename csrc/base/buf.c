/* Growable byte buffer: doubles from 64 bytes. */
#include "base/buf.h"

#include "base/mem.h"
#include "base/number.h"
#include "base/status.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_init(struct buf *b) {
    *b = (struct buf){0};
}

void buf_free(struct buf *b) {
    mem_free(b->p);
    *b = (struct buf){0};
}

int buf_reserve(struct buf *b, size_t n) {
    if (b->cap - b->n >= n) return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap - b->n < n) cap *= 2;
    char *p = mem_resize(b->p, cap);
    if (!p) return E_NOMEM;
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *p, size_t n) {
    if (n == 0) return 0;
    if (buf_reserve(b, n) < 0) return E_NOMEM;
    memcpy(b->p + b->n, p, n);
    b->n += n;
    return 0;
}

int buf_adds(struct buf *b, const char *s) {
    return buf_add(b, s, strlen(s));
}

/* Once into what room there is, and once more when that is too little. */
int buf_addf(struct buf *b, const char *format, ...) {
    va_list args;
    size_t room = b->cap - b->n;
    char *at = room ? b->p + b->n : NULL;
    va_start(args, format);
    int n = vsnprintf(at, room, format, args);
    va_end(args);
    assert(n >= 0);
    if ((size_t)n >= room) {
        if (buf_reserve(b, (size_t)n + 1) < 0) return E_NOMEM;
        va_start(args, format);
        vsnprintf(b->p + b->n, (size_t)n + 1, format, args);
        va_end(args);
    }
    b->n += (size_t)n;
    return 0;
}

int buf_add_number(struct buf *b, double number) {
    char text[NUMBER_TEXT_MAX];
    return buf_add(b, text, number_text(text, number));
}

void buf_shift(struct buf *b, size_t n) {
    assert(n <= b->n);
    if (n > 0 && n < b->n) memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}
