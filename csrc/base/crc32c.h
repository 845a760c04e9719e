/* CRC-32C (Castagnoli, RFC 3720 B.4): what is stored carries one, so that a flipped bit is
 * found. Any burst of up to 32 bits is. [any thread] */
#ifndef SLUICE_BASE_CRC32C_H
#define SLUICE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Go on from 'crc' (0 at first) over n bytes. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
