/* Six bits a character; see base64url.h. */
#include "base/base64url.h"

#include "base/status.h"

#include <stdint.h>

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_write(char *out, struct slice bytes) {
    const unsigned char *p = (const unsigned char *)bytes.p;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        bits = bits << 8 | p[i];
        for (held += 8; held >= 6; held -= 6) *out++ = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0) *out = alphabet[bits << (6 - held) & 63];
}

/* The six bits of a character, or -1. */
static int value_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '-') return 62;
    return c == '_' ? 63 : -1;
}

ssize_t base64url_read(char *out, struct slice text) {
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        int value = value_of(text.p[i]);
        if (value < 0) return E_INVAL;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        out[n++] = (char)(bits >> held & 255);
    }
    if (held >= 6 || (bits & ((1u << held) - 1)) != 0) return E_INVAL;
    return (ssize_t)n;
}
