/* Random numbers: names that must not be guessed come from the kernel, jitter from a
 * small generator that a test can seed. */
#ifndef SLUICE_BASE_RAND_H
#define SLUICE_BASE_RAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fill with bytes of the kernel's generator. Aborts when there is none. */
void rand_bytes(void *p, size_t n);

/* From now on rand_bytes repeats itself for equal seeds: for tests, never for a server
 * that others can reach. 0: the kernel's generator again. For the whole process. */
void rand_seed(uint64_t seed);
bool rand_is_seeded(void);

/* Write n characters of a-z2-7 (5 random bits each) and a NUL. */
void rand_base32(char *out, size_t n);

/* Write n characters of A-Za-z0-9-_ (6 random bits each) and a NUL. */
void rand_base64url(char *out, size_t n);

/* splitmix64: jitter. 'state' belongs to one thread. */
static inline uint64_t rand_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A number from low to high, both included. */
static inline uint32_t rand_between(uint64_t *state, uint32_t low, uint32_t high) {
    return low + (uint32_t)(rand_next(state) % (uint64_t)(high - low + 1));
}

#endif
