/* Runs of plain text; see json_text.h. */
#include "bind/json_text.h"

#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#define EACH(byte) (0x0101010101010101u * (byte))

/* Which bytes of a word are below 'limit' (at most 0x80), in their highest bits; those from
 * 0x80 on may be among them. */
static inline uint64_t below(uint64_t word, uint64_t limit) {
    return (word - EACH(limit)) & ~word & EACH(0x80);
}

/* How many of the first bytes are printable ASCII but " and \. */
static size_t ascii_run(const char *p, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, 8);
        uint64_t odd = (word & EACH(0x80)) | below(word, 0x20) |
                       below(word ^ EACH('"'), 1) | below(word ^ EACH('\\'), 1) |
                       below(word ^ EACH(0x7f), 1);
        if (odd) break;
    }
    for (; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') break;
    }
    return i;
}

bool json_is_separator(const char *p, size_t length) {
    if (length == 2) return memcmp(p, "\xc2\x85", 2) == 0;
    return length == 3 && memcmp(p, "\xe2\x80", 2) == 0 && (p[2] & 0xfe) == 0xa8;
}

size_t json_plain_run(const char *p, size_t n) {
    size_t i = 0;
    for (;;) {
        i += ascii_run(p + i, n - i);
        if (i == n || (p[i] & 0x80) == 0) return i;
        while (i < n && (p[i] & 0x80)) {
            size_t length = utf8_length((const unsigned char *)p + i, n - i);
            if (length == 0 || json_is_separator(p + i, length)) return i;
            i += length;
        }
    }
}
