/* Which bytes of a JSON string stand as they are, for the encoder and the decoder. */
#ifndef SLUICE_BIND_JSON_TEXT_H
#define SLUICE_BIND_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* How many of the first bytes stand in a JSON string as they are: valid UTF-8 but quotes,
 * backslashes, control characters and separators. */
size_t json_plain_run(const char *p, size_t n);

/* Whether a character of so many bytes is U+0085, U+2028 or U+2029, which end a line for
 * some readers. */
bool json_is_separator(const char *p, size_t length);

#endif
