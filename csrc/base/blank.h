/* Which bytes are blank: between the words of a line (RFC 9110, 5.6.3), and between the values of
 * JSON (RFC 8259, 2), where lines may end. */
#ifndef SLUICE_BASE_BLANK_H
#define SLUICE_BASE_BLANK_H

#include <stdbool.h>

static inline bool blank_in_line(char c) {
    return c == ' ' || c == '\t';
}

static inline bool blank_in_json(char c) {
    return blank_in_line(c) || c == '\n' || c == '\r';
}

#endif
