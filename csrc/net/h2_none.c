/* A build without nghttp2: there are no sessions; see h2.h. */
#include "net/h2.h"

#include "base/status.h"

#ifndef HAVE_NGHTTP2

bool h2_is_built(void) {
    return false;
}

const char *h2_version(void) {
    return NULL;
}

struct h2 *h2_new(const struct h2_ops *ops, void *owner) {
    (void)ops, (void)owner;
    return NULL;
}

/* Without a session none of these is called. */
void h2_free(struct h2 *h) {
    (void)h;
}
void h2_move(struct h2 *h, void *owner) {
    (void)h, (void)owner;
}
void h2_stream_init(struct h2_stream *s) {
    (void)s;
}
void h2_stream_drop(struct h2_stream *s) {
    (void)s;
}
void h2_adopt(struct h2 *h, struct h2_stream *s) {
    (void)h, (void)s;
}
bool h2_receive(struct h2 *h, struct slice bytes, int64_t now_ms) {
    (void)h, (void)bytes, (void)now_ms;
    return false;
}
size_t h2_write(struct h2 *h, char *room) {
    (void)h, (void)room;
    return 0;
}
size_t h2_write_now(struct h2 *h, struct h2_stream *s, struct slice bytes, char *room) {
    (void)h, (void)s, (void)bytes, (void)room;
    return 0;
}
bool h2_has_more(const struct h2 *h) {
    return !h;
}
bool h2_is_over(const struct h2 *h) {
    return !h;
}
bool h2_is_amid(const struct h2 *h) {
    return !h;
}
bool h2_is_full(const struct h2 *h) {
    return !h;
}
uint64_t h2_sent(const struct h2 *h) {
    return h ? 1 : 0;
}
int h2_answer(struct h2 *h, struct h2_stream *s, struct slice head, bool bare) {
    (void)h, (void)s, (void)head, (void)bare;
    return E_INVAL;
}
void h2_wake(struct h2 *h, struct h2_stream *s) {
    (void)h, (void)s;
}
void h2_credit(struct h2 *h, const struct h2_stream *s, size_t n) {
    (void)h, (void)s, (void)n;
}
void h2_leave(struct h2 *h, struct h2_stream *s, bool cut) {
    (void)h, (void)s, (void)cut;
}
void h2_ping(struct h2 *h) {
    (void)h;
}
void h2_announce(struct h2 *h) {
    (void)h;
}
void h2_goaway(struct h2 *h) {
    (void)h;
}
void h2_end(struct h2 *h, bool calm) {
    (void)h, (void)calm;
}

#endif
