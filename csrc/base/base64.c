/* Four characters are three bytes; see base64.h. */
#include "base/base64.h"

#include "base/status.h"

#include <stdint.h>

/* The six bits of a character, or -1. */
static int value_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

/* How many characters stand before the padding, which must be right for them; or E_INVAL. */
static ssize_t without_padding(struct slice text) {
    size_t n = 0, pads = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\n') continue;
        if (text.p[i] == '=') pads++;
        else if (pads > 0) return E_INVAL;
        else n++;
    }
    return pads <= 2 && (n + pads) % 4 == 0 ? (ssize_t)n : E_INVAL;
}

ssize_t base64_read(char *out, struct slice text) {
    ssize_t left = without_padding(text);
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    if (left < 0) return left;
    for (size_t i = 0; left > 0; i++) {
        if (text.p[i] == '\n') continue;
        int value = value_of(text.p[i]);
        if (value < 0) return E_INVAL;
        left--;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        if (out) out[n] = (char)(bits >> held & 255);
        n++;
    }
    return (bits & ((1u << held) - 1)) == 0 ? (ssize_t)n : E_INVAL;
}
