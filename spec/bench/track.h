/* Reads the events of one stream line by line and keeps count of what is missing, comes
 * twice or comes late. Written apart from the server's encoder. */
#ifndef BENCH_TRACK_H
#define BENCH_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tally.h"

#define TRACK_ID_MAX 128
#define TRACK_HEAD 64 /* bytes of data that are kept: the number and the stamp */

struct track {
    struct tally *tally;
    bool rounds;       /* tell the tally of rounds, too */
    bool reference;    /* count ref_events */
    uint64_t events;   /* in all */
    bool begun;        /* 'last' is set */
    uint64_t last;     /* highest number */
    uint64_t seen;     /* bit i: number last - i came */
    uint64_t last_seq; /* of the newest event's id */
    char last_id[TRACK_ID_MAX + 1];
    /* the event that is being read */
    char event[16], data[TRACK_HEAD + 1], id[TRACK_ID_MAX + 1];
    bool has_data, has_id;
    char *carry; /* a line that is not whole yet, or NULL */
    size_t carried;
};

void track_init(struct track *t, struct tally *tally, bool rounds);
void track_deinit(struct track *t);
/* A new connection goes on after last_id: forget the half-read event only. */
void track_reconnect(struct track *t);
/* Take the next bytes of the body, which arrived at 'now' (borrows). */
void track_feed(struct track *t, const char *p, size_t n, uint64_t now_ns);

#endif
