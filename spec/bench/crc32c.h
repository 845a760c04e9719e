/* CRC32C of a byte stream, fed in pieces. */
#ifndef BENCH_CRC32C_H
#define BENCH_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue 'crc' (0 at the start) with n bytes. The pieces do not matter. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
