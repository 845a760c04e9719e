/* A disk in memory, for rehearsals and specs: an SQLite VFS that knows what a real disk
 * would have kept.
 *
 * Each file has two images: what a program reads (the system's cache) and what is on the
 * platter. A write reaches the first at once and waits for a sync to reach the second:
 *
 *      cache    |####|####|#new|#new|          disk_kill: this is what the next start finds
 *      platter  |####|####|    |    |          disk_cut:  this, and of each write that waits
 *                                              all, nothing, or some of its sectors
 *
 * A sync that fails is as treacherous as Linux's: the writes stay readable and count as
 * clean, so that a later sync does not write them again; each may have reached the platter
 * or not. Creating and deleting a file is durable at once.
 *
 * Several connections of one process share a disk, with locks and shared memory as files
 * have them. [any thread; it has one lock] */
#ifndef SLUICE_STORE_DISK_H
#define SLUICE_STORE_DISK_H

#include "base/slice.h"

#include <stdint.h>

struct disk;

/* An empty disk (returns owned). Equal seeds draw the same fates of writes. */
struct disk *disk_new(uint64_t seed);
void disk_free(struct disk *d); /* or when its writer leaves it: disk_unlock */

/* The name that sqlite3_open_v2 knows it by. Borrowed. */
const char *disk_vfs(const struct disk *d);

/* The process dies, or the power fails: open connections get nothing but errors from here
 * on, the next find what is left. */
void disk_kill(struct disk *d);
void disk_cut(struct disk *d);

/* Let that happen at the n-th write, truncation or sync from now (1: at the next, of which a
 * part may be done); 0: take it back. disk_is_dead says whether it has. */
void disk_die_in(struct disk *d, long n, bool cut);
bool disk_is_dead(const struct disk *d);

/* Faults. 'n' from now fails with an I/O error; with 'ever' all later ones as well; 0: none.*/
void disk_fail_write(struct disk *d, long n, bool ever);
void disk_fail_sync(struct disk *d, long n, bool ever);
/* A full disk: files may have so many bytes in all, and with more nothing is taken, not even
 * in the place of older bytes; 0: no limit. */
void disk_limit(struct disk *d, uint64_t bytes);
/* Syncs do not return until this is taken back (a store with threads). */
void disk_hang(struct disk *d, bool on);

/* The single writer's lock, as a data folder has it: 0 or E_LOCKED. It keeps the disk. */
int disk_lock(struct disk *d);
void disk_unlock(struct disk *d);

/* Whether it holds a file of that name. */
bool disk_has(struct disk *d, struct slice name);

/* What a program would read of a file, for specs that damage it: bytes, and a change of
 * them that is on the platter at once. Borrowed until the disk is used again; empty when
 * there is none. */
struct slice disk_bytes(struct disk *d, struct slice name);
void disk_put(struct disk *d, const char *name, struct slice bytes);
void disk_flip(struct disk *d, struct slice name, uint64_t bit);
void disk_truncate(struct disk *d, struct slice name, uint64_t bytes);

/* Writes, truncations and syncs until now. */
long disk_steps(const struct disk *d);

#endif
