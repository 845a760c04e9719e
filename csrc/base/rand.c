/* Random names from getrandom(2). */
#include "base/rand.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static _Atomic uint64_t seeded; /* 0: the kernel's generator */

void rand_seed(uint64_t seed) {
    atomic_store(&seeded, seed);
}

bool rand_is_seeded(void) {
    return atomic_load_explicit(&seeded, memory_order_relaxed) != 0;
}

static void repeat_bytes(unsigned char *at, size_t n) {
    uint64_t state = atomic_load(&seeded);
    for (size_t i = 0; i < n; i++) at[i] = (unsigned char)(rand_next(&state) >> 32);
    atomic_store(&seeded, state ? state : 1);
}

static void kernel_bytes(unsigned char *at, size_t n) {
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0) {
            perror("sluice: getrandom");
            abort();
        }
        at += got;
        n -= (size_t)got;
    }
}

/* A name for every stream would be a system call each: fetch more at once. */
static _Thread_local struct {
    unsigned char bytes[512];
    size_t left;
} pool;

static void pool_bytes(unsigned char *at, size_t n) {
    if (pool.left < n) kernel_bytes(pool.bytes, pool.left = sizeof pool.bytes);
    pool.left -= n;
    memcpy(at, pool.bytes + pool.left, n);
    memset(pool.bytes + pool.left, 0, n); /* no name is handed out twice, or found here */
}

void rand_bytes(void *p, size_t n) {
    if (rand_is_seeded()) repeat_bytes(p, n);
    else if (n <= sizeof pool.bytes / 4) pool_bytes(p, n);
    else kernel_bytes(p, n);
}

static void spell(char *out, size_t n, const char *alphabet, unsigned mask) {
    unsigned char bytes[64];
    for (size_t i = 0; i < n; i++) {
        if (i % sizeof bytes == 0)
            rand_bytes(bytes, n - i < sizeof bytes ? n - i : sizeof bytes);
        out[i] = alphabet[bytes[i % sizeof bytes] & mask];
    }
    out[n] = '\0';
}

void rand_base32(char *out, size_t n) {
    spell(out, n, "abcdefghijklmnopqrstuvwxyz234567", 31);
}

void rand_base64url(char *out, size_t n) {
    spell(out, n, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 63);
}
