/* Reading and making; see trace.h. */
#include "serve/trace.h"

#include "base/rand.h"

#include <string.h>

#define PARENT_AT 36
#define FLAGS_AT 53
#define LENGTH 55

/* n digits in lower case; 'zero': whether all may be 0. */
static bool is_hex(const char *p, size_t n, bool zero) {
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        bool digit = (p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f');
        if (!digit) return false;
        any = any || p[i] != '0';
    }
    return any || zero;
}

/* A later version may have more behind a dash. */
bool trace_is_good(struct slice text) {
    const char *p = text.p;
    if (text.n < LENGTH || p[2] != '-' || p[PARENT_AT - 1] != '-' ||
        p[FLAGS_AT - 1] != '-')
        return false;
    bool first = memcmp(p, "00", 2) == 0;
    if (text.n > LENGTH && (first || p[LENGTH] != '-')) return false;
    return is_hex(p, 2, true) && memcmp(p, "ff", 2) != 0 &&
           is_hex(p + TRACE_ID_AT, TRACE_ID_LENGTH, false) &&
           is_hex(p + PARENT_AT, 16, false) && is_hex(p + FLAGS_AT, 2, true);
}

static bool is_odd(char digit) {
    return strchr("13579bdf", digit) != NULL;
}

static char *put(char *to, const char *from, size_t n) {
    memcpy(to, from, n);
    return to + n;
}

/* Sixteen digits. */
static char *put_hex(char *to, uint64_t value) {
    for (int shift = 60; shift >= 0; shift -= 4)
        *to++ = "0123456789abcdef"[value >> shift & 15];
    return to;
}

void trace_make(char out[TRACE_MAX], struct http_fields fields, uint64_t *random) {
    struct slice given = http_field_value(fields, "traceparent");
    struct http_list lines = http_list_of(fields, "traceparent");
    struct slice line;
    int n = 0;
    while (n < 2 && http_list_next(&lines, &line)) n++;
    bool good = given.p && n == 1 && trace_is_good(given);
    uint64_t high = rand_next(random), low = rand_next(random);
    uint64_t parent = rand_next(random) | 1;
    char *at = put(out, "00-", TRACE_ID_AT);
    if (good) at = put(at, given.p + TRACE_ID_AT, TRACE_ID_LENGTH);
    else at = put_hex(put_hex(at, high), low | 1);
    at = put_hex(put(at, "-", 1), parent);
    put(at, good && !is_odd(given.p[FLAGS_AT + 1]) ? "-00" : "-01", sizeof "-01");
}
