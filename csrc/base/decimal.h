/* Digits without printf, which costs more than the rest of a publish. */
#ifndef SLUICE_BASE_DECIMAL_H
#define SLUICE_BASE_DECIMAL_H

#include <stdint.h>

/* Write the digits of 'n' so that they end before 'end'; returns where they begin. At
 * most 20 bytes. */
static inline char *decimal_before(char *end, uint64_t n) {
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    for (; n >= 10; n /= 100) {
        const char *pair = pairs + 2 * (n % 100);
        *--end = pair[1];
        *--end = pair[0];
        if (n < 100) return end;
    }
    *--end = (char)('0' + n);
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
