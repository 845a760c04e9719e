/* What each byte may be in HTTP: one table of bit sets, shared by parser and writer.
 * RFC 9110 section 5.6.2 (token) and 5.5 (field values), RFC 3986 (host, target).
 * [any thread] */
#ifndef SLUICE_NET_HTTP_BYTES_H
#define SLUICE_NET_HTTP_BYTES_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_byte {
    HTTP_TOKEN = 1,  /* methods and field names */
    HTTP_TARGET = 2, /* request target: visible ASCII without # */
    HTTP_VALUE = 4,  /* field value: HTAB, SP, visible ASCII, 0x80 to 0xFF */
    HTTP_HOST = 8,   /* letters, digits, - . _ ~ */
    HTTP_HEX = 16,
    HTTP_DIGIT = 32
};

extern const uint8_t http_bytes[256];

static inline bool http_byte_is(char c, enum http_byte set) {
    return (http_bytes[(unsigned char)c] & set) != 0;
}

/* ASCII lower case of one byte. */
static inline char http_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Value of a hexadecimal digit (the byte must be one). */
static inline unsigned http_hex(char c) {
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* First byte in [p, end) that is not of 'set', or end. */
static inline const char *http_span(const char *p, const char *end, enum http_byte set) {
    while (p < end && http_byte_is(*p, set)) p++;
    return p;
}

/* First byte in [p, end) that may not stand in a field value, or end. */
const char *http_span_value(const char *p, const char *end);

/* Is the whole slice of 'set'? True for the empty slice. */
bool http_all(struct slice s, enum http_byte set);

/* Compares ignoring ASCII case; 'lower' is a lower-case string. */
bool http_is(struct slice s, const char *lower);
bool http_same(struct slice a, struct slice b);

/* A host without the port that its scheme has anyway. */
struct slice http_host_of(struct slice authority, bool https);

/* Without SP and HTAB on both sides (nothing else is blank in HTTP). */
struct slice http_trim(struct slice s);

#endif
