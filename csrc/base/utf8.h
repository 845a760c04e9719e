/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef SLUICE_BASE_UTF8_H
#define SLUICE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_REPLACEMENT 0xfffd /* stands for what is no character */
#define UTF8_MAX 4              /* bytes of a character */

/* Length of the valid sequence at p, of which 'left' (> 0) bytes are there; 0: none. */
static inline size_t utf8_length(const unsigned char *p, size_t left) {
    if (p[0] < 0x80) return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0;
    if (p[0] == 0xed && p[1] > 0x9f) return 0;
    if (p[0] == 0xf0 && p[1] < 0x90) return 0;
    if (p[0] == 0xf4 && p[1] > 0x8f) return 0;
    return n;
}

/* How many bytes at p, where no valid sequence is, one U+FFFD stands for, as in browsers:
 * the longest start of a character (Unicode 3.9, "maximal subpart"), at least one. */
size_t utf8_broken(const unsigned char *p, size_t left);

/* The character of a valid sequence of that length. */
uint32_t utf8_code(const unsigned char *p, size_t length);

/* Write a character that is no surrogate; returns its length. */
size_t utf8_write(char out[UTF8_MAX], uint32_t code);

/* Whether a character shows nothing by itself and changes how others are shown: controls,
 * format characters (bidirectional ones too), fillers, variation selectors, line and
 * paragraph separators. */
bool utf8_is_hidden(uint32_t code);

#endif
