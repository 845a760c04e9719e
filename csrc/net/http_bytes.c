/* Byte classes of HTTP and the small comparisons built on them. */
#include "net/http_bytes.h"

#include "base/blank.h"

#include <string.h>

/* Bits of enum http_byte, sixteen bytes a row. */
/* clang-format off */
const uint8_t http_bytes[256] = {
     0,  0,  0,  0,  0,  0,  0,  0, 0,  4,  0,  0,  0,  0,  0,  0,
     0,  0,  0,  0,  0,  0,  0,  0, 0,  0,  0,  0,  0,  0,  0,  0,
     4,  7,  6,  5,  7,  7,  7,  7, 6,  6,  7,  7,  6, 15, 15,  6,
    63, 63, 63, 63, 63, 63, 63, 63, 63, 63,  6,  6,  6,  6,  6,  6,
     6, 31, 31, 31, 31, 31, 31, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  6,  6,  7, 15,
     7, 31, 31, 31, 31, 31, 31, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  7,  6, 15,  0,
     4,  4,  4,  4,  4,  4,  4,  4, 4,  4,  4,  4,  4,  4,  4,  4,
     4,  4,  4,  4,  4,  4,  4,  4, 4,  4,  4,  4,  4,  4,  4,  4,
     4,  4,  4,  4,  4,  4,  4,  4, 4,  4,  4,  4,  4,  4,  4,  4,
     4,  4,  4,  4,  4,  4,  4,  4, 4,  4,  4,  4,  4,  4,  4,  4,
     4,  4,  4,  4,  4,  4,  4,  4, 4,  4,  4,  4,  4,  4,  4,  4,
     4,  4,  4,  4,  4,  4,  4,  4, 4,  4,  4,  4,  4,  4,  4,  4,
     4,  4,  4,  4,  4,  4,  4,  4, 4,  4,  4,  4,  4,  4,  4,  4,
     4,  4,  4,  4,  4,  4,  4,  4, 4,  4,  4,  4,  4,  4,  4,  4,
};
/* clang-format on */

#define EACH_BYTE(x) (UINT64_C(0x0101010101010101) * (x))

/* Does one of eight bytes need a closer look: below SP, or DEL? (The usual carry trick:
 * exact about whether there is one, not about which.) */
static inline bool word_has_control(uint64_t w) {
    uint64_t del = w ^ EACH_BYTE(0x7f);
    uint64_t low = (w - EACH_BYTE(0x20)) & ~w;
    uint64_t zero = (del - EACH_BYTE(1)) & ~del;
    return ((low | zero) & EACH_BYTE(0x80)) != 0;
}

const char *http_span_value(const char *p, const char *end) {
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        if (word_has_control(w)) {
            const char *stop = http_span(p, p + 8, HTTP_VALUE);
            if (stop < p + 8) return stop; /* else only tabs */
        }
        p += 8;
    }
    return http_span(p, end, HTTP_VALUE);
}

bool http_all(struct slice s, enum http_byte set) {
    return s.n == 0 || http_span(s.p, s.p + s.n, set) == s.p + s.n;
}

bool http_is(struct slice s, const char *lower) {
    size_t i = 0;
    while (i < s.n && lower[i] != '\0' && http_lower(s.p[i]) == lower[i]) i++;
    return i == s.n && lower[i] == '\0';
}

bool http_same(struct slice a, struct slice b) {
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++)
        if (http_lower(a.p[i]) != http_lower(b.p[i])) return false;
    return true;
}

struct slice http_host_of(struct slice authority, bool https) {
    const char *port = https ? ":443" : ":80";
    const size_t n = strlen(port);
    bool ends = authority.n > n && memcmp(authority.p + authority.n - n, port, n) == 0;
    return ends ? slice_of(authority.p, authority.n - n) : authority;
}

struct slice http_trim(struct slice s) {
    while (s.n > 0 && blank_in_line(s.p[s.n - 1])) s.n--;
    while (s.n > 0 && blank_in_line(s.p[0])) s.p++, s.n--;
    return s;
}
