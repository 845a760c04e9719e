/* base64url without padding (RFC 4648, section 5; RFC 7515, section 2). Reading takes only
 * what writing makes: no other characters, no padding, no bits left over, so that there is
 * one text for each sequence of bytes. */
#ifndef SLUICE_BASE_BASE64URL_H
#define SLUICE_BASE_BASE64URL_H

#include "base/slice.h"

#include <sys/types.h>

/* How many characters stand for n bytes; and how many bytes at most for n characters. */
static inline size_t base64url_text_size(size_t n) {
    return n / 3 * 4 + (n % 3 ? n % 3 + 1 : 0);
}

static inline size_t base64url_bytes_max(size_t n) {
    return n / 4 * 3 + 2;
}

/* Writes base64url_text_size(n) characters, without a NUL. */
void base64url_write(char *out, struct slice bytes);

/* How many bytes were read, or E_INVAL. 'out' has base64url_bytes_max of them. */
ssize_t base64url_read(char *out, struct slice text);

#endif
