/* The processor's instruction where it has one, else eight tables, eight bytes a turn; see
 * crc32c.h. */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u

static uint32_t table[8][256];
static bool is_quick;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? (c >> 1) ^ POLYNOMIAL : c >> 1;
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 255];
}

static uint32_t eight(uint32_t c, const unsigned char *p) {
    c ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
         (uint32_t)p[3] << 24;
    return table[7][c & 255] ^ table[6][c >> 8 & 255] ^ table[5][c >> 16 & 255] ^
           table[4][c >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
           table[0][p[7]];
}

static uint32_t by_table(uint32_t c, const unsigned char *byte, size_t n) {
    for (; n >= 8; byte += 8, n -= 8) c = eight(c, byte);
    for (; n > 0; byte++, n--) c = (c >> 8) ^ table[0][(c ^ *byte) & 255];
    return c;
}

/* The processor's own instruction. */
#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t
by_processor(uint32_t crc, const unsigned char *byte, size_t n) {
    uint64_t c = crc, word;
    for (; n >= 8; byte += 8, n -= 8) {
        memcpy(&word, byte, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    for (; n > 0; byte++, n--) c = __builtin_ia32_crc32qi((uint32_t)c, *byte);
    return (uint32_t)c;
}

static bool has_instruction(void) {
    return __builtin_cpu_supports("sse4.2") != 0;
}
#else
#define by_processor by_table
static bool has_instruction(void) {
    return false;
}
#endif

static void choose(void) {
    fill();
    is_quick = has_instruction();
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n) {
    pthread_once(&once, choose);
    return ~(is_quick ? by_processor(~crc, p, n) : by_table(~crc, p, n));
}
