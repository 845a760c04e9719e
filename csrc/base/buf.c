/* Growable byte buffer: doubles from 64 bytes. */
#include "base/buf.h"

#include "base/decimal.h"
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

int buf_add_unsigned(struct buf *b, uint64_t number) {
    char text[20], *end = text + sizeof text, *first = decimal_before(end, number);
    return buf_add(b, first, (size_t)(end - first));
}

/* ---- Formats -------------------------------------------------------------------------- */

/* Behind a conversion's text; NULL: it is another one. */
static const char *behind(const char *at, const char *conversion) {
    size_t n = strlen(conversion);
    return strncmp(at, conversion, n) == 0 ? at + n : NULL;
}

/* The one behind a '%'. E_INVAL: none of the usual ones. */
static int add_value(struct buf *b, const char **at, va_list *args) {
    const char *next;
    if ((next = behind(*at, "s"))) {
        *at = next;
        return buf_adds(b, va_arg(*args, const char *));
    }
    if ((next = behind(*at, ".*s"))) {
        int most = va_arg(*args, int);
        const char *text = va_arg(*args, const char *); /* of nothing it may be NULL */
        *at = next;
        if (most <= 0) return most < 0 ? E_INVAL : 0;
        return buf_add(b, text, strnlen(text, (size_t)most));
    }
    if ((next = behind(*at, "u"))) {
        *at = next;
        return buf_add_unsigned(b, va_arg(*args, unsigned));
    }
    if ((next = behind(*at, "llu"))) {
        *at = next;
        return buf_add_unsigned(b, va_arg(*args, unsigned long long));
    }
    return E_INVAL;
}

/* What has the usual conversions only; E_INVAL: it has others. */
static int add_usual(struct buf *b, const char *format, va_list *args) {
    int err = 0;
    for (;;) {
        const char *mark = strchrnul(format, '%');
        if (buf_add(b, format, (size_t)(mark - format)) < 0) return E_NOMEM;
        if (*mark == '\0') return buf_reserve(b, 1);
        format = mark + 1;
        err = add_value(b, &format, args);
        if (err < 0) return err;
    }
}

/* Once into what room there is, and once more when that is too little. */
static int add_any(struct buf *b, const char *format, va_list args) {
    size_t room = b->cap - b->n;
    char *at = room ? b->p + b->n : NULL;
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(at, room, format, args);
    assert(n >= 0);
    int err = (size_t)n >= room ? buf_reserve(b, (size_t)n + 1) : 0;
    if (err == 0 && (size_t)n >= room)
        vsnprintf(b->p + b->n, (size_t)n + 1, format, again);
    va_end(again);
    if (err == 0) b->n += (size_t)n;
    return err;
}

/* printf takes thousands of instructions for a line, which is written for every stream that
 * opens: what needs little of it goes without. */
int buf_addf(struct buf *b, const char *format, ...) {
    va_list args;
    size_t before = b->n;
    va_start(args, format);
    int err = add_usual(b, format, &args);
    va_end(args);
    if (err < 0) b->n = before;
    else b->p[b->n] = '\0';
    if (err != E_INVAL) return err;
    va_start(args, format);
    err = add_any(b, format, args);
    va_end(args);
    return err;
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
