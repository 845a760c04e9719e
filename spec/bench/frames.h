/* HTTP/2 as a reader needs it (RFC 9113): one stream on one connection, with windows that are never used up. What
 * comes is handed on as HTTP/1.1 in chunks, a DATA frame each, so that conn.c reads both. Knows no sockets. */
#ifndef BENCH_FRAMES_H
#define BENCH_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frames {
    unsigned char head[9], ping[8];
    uint32_t head_n, ping_n; /* of these, so many are here */
    uint32_t left;           /* of the frame's payload */
};

/* What is read goes there; 'answer' is to be sent back. False ends it. */
struct frames_out {
    void *owner;
    bool (*text)(void *owner, const char *p, size_t n);
    bool (*answer)(void *owner, const char *p, size_t n);
};

/* Write what opens a connection and asks for a path of at most 126 bytes. Returns its length. */
#define FRAMES_OPEN_MAX 256
size_t frames_open(char into[FRAMES_OPEN_MAX], const char *path);
void frames_begin(struct frames *f);

/* Take bytes. False: the peer has ended it, or it is no HTTP/2 of ours. */
bool frames_feed(struct frames *f, const struct frames_out *out, const char *p, size_t n);

#endif
