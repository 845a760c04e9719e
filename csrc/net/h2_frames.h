/* Which frames come, and how many of them are of no use: read beside nghttp2, which does not report
 * what it ignores. A walk over frame headers (RFC 9113, 4.1), and nothing else. [one thread] */
#ifndef SLUICE_NET_H2_FRAMES_H
#define SLUICE_NET_H2_FRAMES_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct h2_frames {
    uint32_t left;    /* bytes until the next header: at first the preface */
    uint8_t head[9];  /* of the frame */
    uint8_t n;        /* bytes of it that are there */
    bool begun;       /* the preface is there */
    bool padded;      /* the next byte says how much of the frame is padding */
    bool heads;       /* a block of header fields goes on */
    uint32_t pieces;  /* ... in so many CONTINUATION frames */
    int64_t since_ms; /* what follows is counted from then on */
    uint32_t resets, useless;
    uint32_t dropped; /* bytes of bodies */
    uint32_t sent;    /* frames of data: each may be answered by updates */
};

void h2_frames_init(struct h2_frames *f);

/* These come. False: more of no use than may be. */
bool h2_frames_take(struct h2_frames *f, struct slice bytes, int64_t now_ms);

/* Whether so many were of no use already. */
bool h2_frames_too_many(const struct h2_frames *f);

/* Whether the other side is in the middle of something that it has to end soon. */
bool h2_frames_amid(const struct h2_frames *f);

#endif
