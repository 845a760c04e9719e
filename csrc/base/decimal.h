/* Digits without printf, which costs more than the rest of a publish. */
#ifndef SLUICE_BASE_DECIMAL_H
#define SLUICE_BASE_DECIMAL_H

#include <stdint.h>

/* Write the digits of 'n' so that they end before 'end'; returns where they begin. At
 * most 20 bytes. */
static inline char *decimal_before(char *end, uint64_t n) {
    do {
        *--end = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return end;
}

/* The same in hexadecimal, in lower case; at most 16 bytes. */
static inline char *hex_before(char *end, uint64_t n) {
    do {
        *--end = "0123456789abcdef"[n & 15];
        n >>= 4;
    } while (n > 0);
    return end;
}

#endif
