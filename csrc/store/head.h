/* How far a store has got: the row 'head' of the file, and the mark in its folder. */
#ifndef SLUICE_STORE_HEAD_H
#define SLUICE_STORE_HEAD_H

#include <stdint.h>

#define STORE_EPOCH_LENGTH 13

struct head {
    char epoch[STORE_EPOCH_LENGTH + 1];
    uint64_t last;    /* the last number that was given */
    uint64_t commits; /* transactions so far */
};

#endif
