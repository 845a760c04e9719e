/* scrypt (RFC 7914): a hash of passwords that is slow, and wants memory, on purpose.
 *
 * At the cost that sluice.crypto asks for it computes for 0.1 to 0.2 s, so a server gives it
 * a thread of its own, of a low priority: the app goes on, and looks whether it is done. At
 * most SCRYPTS_MAX compute at a time; who is refused asks again. */
#ifndef SLUICE_CRYPTO_SCRYPT_H
#define SLUICE_CRYPTO_SCRYPT_H

#include "base/slice.h"

#include <stdint.h>

#define SCRYPT_BYTES 32

struct scrypt_cost {
    uint32_t log2n, r, p; /* 128 * r * 2^log2n bytes, at most SCRYPT_MEMORY_MAX */
};

/* Whether these can be computed here. */
bool scrypt_is_sane(struct scrypt_cost cost);

/* On this thread. 0, or E_NOMEM. [any thread] */
int scrypt_hash(struct slice password, struct slice salt, struct scrypt_cost cost,
                unsigned char out[SCRYPT_BYTES]);

/* On a thread of its own (copies). Owned. 0, E_BUSY: so many compute already, E_NOMEM or a
 * negative errno. [one thread, as the following] */
struct scrypt_job;
int scrypt_start(struct scrypt_job **out, struct slice password, struct slice salt,
                 struct scrypt_cost cost);

/* Whether it is done: then *err is 0 or E_NOMEM, and 'out' has the result. */
bool scrypt_done(const struct scrypt_job *job, int *err, unsigned char out[SCRYPT_BYTES]);

/* Takes; the thread goes on, and what it finds is dropped. NULL is fine. */
void scrypt_leave(struct scrypt_job *job);

#endif
