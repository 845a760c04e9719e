/* One reader of a crowd: its connection, the head of the answer, its body; see crowd.h. And the
 * crowd, as far as readers see it. [owner of the loop] */
#ifndef SLUICE_CROWD_MEMBER_H
#define SLUICE_CROWD_MEMBER_H

#include "base/bounds.h"
#include "crowd/crowd.h"
#include "crowd/event.h"
#include "crowd/order.h"
#include "net/http_chunks.h"
#include "net/tls_client.h"

enum member_state {
    MEMBER_IDLE, /* not opened yet, or over */
    MEMBER_CONNECTING,
    MEMBER_HANDSHAKE,
    MEMBER_HEAD, /* waits for the answer */
    MEMBER_OPEN
};

struct member {
    struct crowd *crowd;
    enum member_state state;
    int fd;
    struct tls *tls; /* NULL: none. Owned */
    struct ev_io io;
    int64_t began_us;
    struct buf head; /* of the answer, while it comes */
    bool is_chunked;
    struct http_chunks chunks;
    struct event_state event;
    struct place ids; /* in the order of ids */
    struct place own; /* among our own events */
};

struct crowd {
    struct loop *loop;
    struct crowd_options options;
    struct event_words words;
    char *texts; /* what the slices of these two are in */
    struct ev_timer opener;
    int64_t began_us;
    uint32_t opened, under_way;
    struct crowd_counts counts;
    struct order order;
    char bytes[CROWD_READ_BYTES]; /* of the reader whose turn it is */
    struct member readers[];
};

/* Begin to connect. */
void member_open(struct member *r);

/* End the connection, whatever it is doing. Idle afterwards. */
void member_close(struct member *r);

/* Its state has changed so that others may connect. */
void crowd_go_on(struct crowd *crowd);

#endif
