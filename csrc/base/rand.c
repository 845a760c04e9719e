/* Random names from getrandom(2). */
#include "base/rand.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void rand_bytes(void *p, size_t n) {
    unsigned char *at = p;
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

static void spell(char *out, size_t n, const char *alphabet, unsigned mask) {
    unsigned char bytes[64];
    for (size_t i = 0; i < n; i++) {
        if (i % sizeof bytes == 0) rand_bytes(bytes, sizeof bytes);
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
