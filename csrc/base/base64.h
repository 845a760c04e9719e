/* base64 in two forms: with padding and the alphabet of mails (RFC 4648, section 4), and that of
 * URLs without padding (section 5; RFC 7515, section 2). Reading takes only what writing makes: no
 * other characters, no bits left over, so that there is one text for each sequence of bytes. In
 * the form with padding line ends may stand between the characters. */
#ifndef SLUICE_BASE_BASE64_H
#define SLUICE_BASE_BASE64_H

#include "base/slice.h"

#include <sys/types.h>

/* How many bytes at most n characters of either form stand for. */
static inline size_t base64_bytes_max(size_t n) {
    return n / 4 * 3 + 3;
}

/* How many bytes were read, or E_INVAL. 'out' has base64_bytes_max of them; NULL: only look. */
ssize_t base64_read(char *out, struct slice text);
ssize_t base64_read_url(char *out, struct slice text);

/* How many characters of the form of URLs stand for n bytes. */
static inline size_t base64_url_size(size_t n) {
    return n / 3 * 4 + (n % 3 ? n % 3 + 1 : 0);
}

/* Writes base64_url_size(n) characters, without a NUL. */
void base64_write_url(char *out, struct slice bytes);

#endif
