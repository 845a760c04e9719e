/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef SLUICE_BASE_UTF8_H
#define SLUICE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the valid sequence at p, of which 'left' (> 0) bytes are there; 0: none. */
size_t utf8_length(const unsigned char *p, size_t left);

/* The character of a valid sequence of that length. */
uint32_t utf8_code(const unsigned char *p, size_t length);

/* Whether a character shows nothing by itself and changes how others are shown: controls,
 * format characters (bidirectional ones too), line and paragraph separators. */
bool utf8_is_hidden(uint32_t code);

#endif
