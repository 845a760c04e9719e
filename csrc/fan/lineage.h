/* Where the numbers of earlier epochs end: what a place in one of them is worth in this one.
 *
 * An epoch ends when nobody can say that nothing of it was lost. Its base is the highest number
 * that is known to have survived: what a client has up to there it has for good, and goes on
 * from there; what it has above may be gone, and its number may come again for another event.
 * The oldest are forgotten: who comes with one of them is told "epoch". [one thread] */
#ifndef SLUICE_FAN_LINEAGE_H
#define SLUICE_FAN_LINEAGE_H

#include "base/bounds.h"
#include "fan/frame.h"

struct lineage_row {
    char epoch[EPOCH_LENGTH + 1];
    uint64_t base;
};

struct lineage {
    struct lineage_row rows[LINEAGE_MAX]; /* the newest first */
    unsigned n;
};

/* Read "epoch:base,epoch:base", the newest first. What is not of that form ends it. */
void lineage_read(struct lineage *l, struct slice text);

/* An epoch has ended. */
void lineage_add(struct lineage *l, const char *epoch, uint64_t base);

/* Whether it is an earlier epoch of ours, and its base. */
bool lineage_find(const struct lineage *l, const char *epoch, uint64_t *base);

#endif
