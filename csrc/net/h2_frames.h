/* What comes before nghttp2 has it: a walk over frame headers (RFC 9113, 4.1).
 *
 * It counts frames of no use, since nghttp2 does not report what it ignores. And it takes out what says
 * how much may be sent (5.2, 6.9), since data is written beside nghttp2 (h2.h): WINDOW_UPDATE, and of
 * SETTINGS the windows of new streams. What makes no sense is left in, so that nghttp2 answers it.
 * [one thread] */
#ifndef SLUICE_NET_H2_FRAMES_H
#define SLUICE_NET_H2_FRAMES_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum h2_news { H2_NO_NEWS, H2_UPDATE, H2_INITIAL };

struct h2_frames {
    uint32_t left; /* bytes until the next header: at first the preface */
    uint8_t
        head[15];    /* of the frame; behind it the update, or an entry of the settings */
    uint8_t n;       /* bytes of the header that are there */
    uint8_t more;    /* bytes behind it */
    bool begun;      /* the preface is there */
    bool settled;    /* ... and the settings behind it */
    bool holds;      /* the frame is an update, and not given before it is whole */
    bool lists;      /* it is of settings */
    bool padded;     /* the next byte says how much of the frame is padding */
    bool heads;      /* a block of header fields goes on */
    uint32_t pieces; /* ... in so many CONTINUATION frames */
    int64_t since_ms; /* what follows is counted from then on */
    uint32_t resets, useless;
    uint32_t dropped; /* bytes of bodies */
    uint32_t sent;    /* frames of data: each may be answered by updates */
    uint32_t answers; /* that have begun: each may be left, as by a page that is loaded */
    /* What was taken out last: 'amount' more for a stream, or for all when 'id' is 0; or the window that
     * streams begin with. */
    enum h2_news news;
    uint32_t id, amount;
};

void h2_frames_init(struct h2_frames *f);

/* Something comes: what is counted is counted for a while. */
void h2_frames_begin(struct h2_frames *f, int64_t now_ms);

/* The next piece: of how many bytes it is, more than none. *give: what nghttp2 is to have of it, valid until
 * the next call; 'news' says what was taken out. */
size_t h2_frames_next(struct h2_frames *f, struct slice bytes, struct slice *give);

/* The whole frame of an update that was taken out. */
struct slice h2_frames_update(const struct h2_frames *f);

/* Whether more were of no use than may be. */
bool h2_frames_too_many(const struct h2_frames *f);

/* Whether the other side is in the middle of something that it has to end soon. */
bool h2_frames_amid(const struct h2_frames *f);

#endif
