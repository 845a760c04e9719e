/* Head, chunks and preamble of one stream; see conn.h. */
#include "conn.h"

#include "crc32c.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_MAX 8192

void conn_begin(struct conn *c, uint64_t now_ns) {
    c->state = CONN_HEAD;
    c->ready = c->held = false;
    c->newlines = 0;
    c->left = c->chunk = 0;
    c->rx_ns = now_ns;
    c->head_n = 0;
    c->wanted = 0;
    if (c->track) track_reconnect(c->track);
}

/* The bytes up to and with the empty line that ends the preamble; 0 when it goes on. */
static size_t preamble_end(struct conn *c, const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        c->newlines = p[i] == '\n' ? c->newlines + 1 : 0;
        if (c->newlines == 2) return i + 1;
    }
    return 0;
}

static void become_ready(struct conn *c, struct tally *t, uint64_t now_ns) {
    c->ready = true;
    t->ready++;
    t->open++;
    if (c->track) t->parsed++;
    if (t->ref_bytes) c->late = true;
    hist_add(&t->connect, now_ns - c->began_ns);
}

static void take_body(struct conn *c, struct tally *t, const char *p, size_t n,
                      uint64_t now_ns) {
    if (c->track) track_feed(c->track, p, n, now_ns);
    if (!c->ready) {
        const size_t end = preamble_end(c, p, n);
        if (!end) return;
        become_ready(c, t, now_ns);
        p += end;
        n -= end;
    } else if (c->state == CONN_DATA && c->chunk < CONN_CONTROL_MAX) {
        return;
    }
    c->crc = crc32c(c->crc, p, n);
    c->body_bytes += n;
    t->body_bytes += n;
    if (c->track && c->track->reference) t->ref_bytes += n;
}

/* Whether the head is whole; *used says how much of p belongs to it. */
static bool head_whole(struct conn *c, const char *p, size_t n, size_t *used) {
    if (!c->head) c->head = malloc(HEAD_MAX + 1);
    if (!c->head) abort();
    size_t take = HEAD_MAX - c->head_n;
    if (take > n) take = n;
    memcpy(c->head + c->head_n, p, take);
    c->head[c->head_n + take] = 0;
    const char *end = strstr(c->head, "\r\n\r\n");
    *used = end ? (size_t)(end + 4 - c->head) - c->head_n : take;
    c->head_n += take;
    return end != NULL;
}

static bool head_good(struct conn *c) {
    if (memcmp(c->head, "HTTP/1.1 200", 12) != 0) return false;
    c->state =
        strcasestr(c->head, "\r\nTransfer-Encoding: chunked") ? CONN_SIZE : CONN_PLAIN;
    free(c->head);
    c->head = NULL;
    return true;
}

static bool take_size(struct conn *c, struct tally *t, char byte) {
    if (byte == '\r') return true;
    if (byte != '\n') {
        const char *digits = "0123456789abcdef";
        const char *at = strchr(digits, byte | 0x20);
        if (!at || !byte || c->left >> 32) return false;
        c->left = c->left * 16 + (uint64_t)(at - digits);
        return true;
    }
    c->chunk = c->left;
    if (!c->chunk) {
        c->state = CONN_OVER;
        return true;
    }
    c->state = CONN_DATA;
    if (c->chunk == 2) t->beats++;
    else if (c->chunk >= CONN_CONTROL_MAX && c->ready) t->chunks++;
    return true;
}

/* Take some bytes in the present state. Returns how many, 0 when they make no sense. */
static size_t take_some(struct conn *c, struct tally *t, const char *p, size_t n,
                        uint64_t now_ns) {
    size_t used = 1;
    switch (c->state) {
    case CONN_HEAD:
        if (!head_whole(c, p, n, &used)) return c->head_n < HEAD_MAX ? used : 0;
        return head_good(c) ? used : 0;
    case CONN_SIZE: return take_size(c, t, *p) ? 1 : 0;
    case CONN_DATA:
        used = n < c->left ? n : (size_t)c->left;
        take_body(c, t, p, used, now_ns);
        c->left -= used;
        if (!c->left) c->state = CONN_DATA_END;
        return used;
    case CONN_DATA_END:
        if (*p == '\n') c->state = CONN_SIZE;
        return *p == '\n' || *p == '\r' ? 1 : 0;
    case CONN_PLAIN: take_body(c, t, p, n, now_ns); return n;
    default: return n;
    }
}

bool conn_feed(struct conn *c, struct tally *t, const char *p, size_t n,
               uint64_t now_ns) {
    while (n) {
        const size_t used = take_some(c, t, p, n, now_ns);
        if (!used) {
            t->malformed++;
            return false;
        }
        p += used;
        n -= used;
    }
    c->rx_ns = now_ns;
    return true;
}
