/* Six bits a character; see base64.h. */
#include "base/base64.h"

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct form {
    char c62, c63;  /* the last two of its alphabet */
    bool has_lines; /* line ends mean nothing */
};

static const struct form padded = {'+', '/', true}, of_urls = {'-', '_', false};

static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The six bits of a character, or -1. */
static int value_of(const struct form *form, char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == form->c62) return 62;
    return c == form->c63 ? 63 : -1;
}

/* The bytes that the first 'left' characters stand for. */
static ssize_t unpack(const struct form *form, char *out, struct slice text,
                      size_t left) {
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    for (size_t i = 0; left > 0; i++) {
        if (form->has_lines && text.p[i] == '\n') continue;
        int value = value_of(form, text.p[i]);
        if (value < 0) return E_INVAL;
        left--;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        if (out) out[n] = (char)(bits >> held & 255);
        n++;
    }
    bool whole = held < 6 && (bits & ((1u << held) - 1)) == 0;
    return whole ? (ssize_t)n : E_INVAL;
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
    return left < 0 ? left : unpack(&padded, out, text, (size_t)left);
}

ssize_t base64_read_url(char *out, struct slice text) {
    return unpack(&of_urls, out, text, text.n);
}

void base64_write_url(char *out, struct slice bytes) {
    const unsigned char *p = (const unsigned char *)bytes.p;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        bits = bits << 8 | p[i];
        for (held += 8; held >= 6; held -= 6)
            *out++ = url_alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0) *out = url_alphabet[bits << (6 - held) & 63];
}
