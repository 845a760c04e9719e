/* base64 with padding (RFC 4648, section 4). Reading takes only what writing makes, but for line
 * ends between the characters. */
#ifndef SLUICE_BASE_BASE64_H
#define SLUICE_BASE_BASE64_H

#include "base/slice.h"

#include <sys/types.h>

/* How many bytes at most n characters stand for. */
static inline size_t base64_bytes_max(size_t n) {
    return n / 4 * 3 + 3;
}

/* How many bytes were read, or E_INVAL. 'out' has base64_bytes_max of them; NULL: only look. */
ssize_t base64_read(char *out, struct slice text);

#endif
