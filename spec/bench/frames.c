/* Frames in and out; see frames.h. Fields are written without Huffman's code, and of an answer only the first is
 * looked at: ":status: 200" is number 8 of the static table (RFC 7541, appendix A). */
#include "frames.h"

#include <stdio.h>
#include <string.h>

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

#define STATUS_200 0x88
#define HUGE_WINDOW 0x7fffffffu

static size_t put32(char *p, uint32_t n) {
    for (int i = 0; i < 4; i++) p[i] = (char)(n >> (24 - 8 * i));
    return 4;
}

static size_t put_head(char *p, size_t length, int type, int flags, uint32_t stream) {
    p[0] = (char)(length >> 16);
    p[1] = (char)(length >> 8);
    p[2] = (char)length;
    p[3] = (char)type;
    p[4] = (char)flags;
    return 5 + put32(p + 5, stream);
}

/* A field whose name is a number of the static table. */
static size_t put_field(char *p, int name, const char *value) {
    const size_t n = strlen(value);
    p[0] = (char)name;
    p[1] = (char)n;
    memcpy(p + 2, value, n);
    return 2 + n;
}

size_t frames_open(char into[FRAMES_OPEN_MAX], const char *path) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t n = sizeof preface - 1, at;
    memcpy(into, preface, n);
    n += put_head(into + n, 6, SETTINGS, 0, 0);
    memcpy(into + n, "\0\4", 2); /* INITIAL_WINDOW_SIZE */
    n += 2 + put32(into + n + 2, HUGE_WINDOW);
    n += put_head(into + n, 4, 8, 0, 0); /* WINDOW_UPDATE */
    n += put32(into + n, HUGE_WINDOW - 65535);
    at = n;
    n += 9;
    into[n++] = (char)0x82; /* :method GET */
    into[n++] = (char)0x87; /* :scheme https */
    n += put_field(into + n, 0x04, path);
    n += put_field(into + n, 0x01, "localhost"); /* :authority */
    put_head(into + at, n - at - 9, HEADERS, END_STREAM | END_HEADERS, 1);
    return n;
}

void frames_begin(struct frames *f) {
    *f = (struct frames){.left = 0};
}

static bool text(const struct frames_out *out, const char *p) {
    return out->text(out->owner, p, strlen(p));
}

static bool acknowledge(const struct frames_out *out, int type, const unsigned char *p,
                        size_t n) {
    char answer[17];
    const size_t head = put_head(answer, n, type, ACK, 0);
    memcpy(answer + head, p, n);
    return out->answer(out->owner, answer, head + n);
}

/* The head of a frame is whole. */
static bool on_head(struct frames *f, const struct frames_out *out) {
    const int type = f->head[3], flags = f->head[4];
    char size[16];
    f->left = (uint32_t)f->head[0] << 16 | (uint32_t)f->head[1] << 8 | f->head[2];
    f->ping_n = 0;
    if (type == RST_STREAM || type == GOAWAY) return false;
    if (type == SETTINGS && !(flags & ACK)) return acknowledge(out, SETTINGS, f->head, 0);
    if (type != DATA || f->left == 0) return true;
    snprintf(size, sizeof size, "%x\r\n", (unsigned)f->left);
    return text(out, size);
}

static bool on_payload(struct frames *f, const struct frames_out *out, const char *p,
                       size_t n) {
    const int type = f->head[3];
    if (type == DATA) return out->text(out->owner, p, n);
    if (type == HEADERS && f->ping_n++ == 0)
        return (unsigned char)p[0] == STATUS_200 &&
               text(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; type == PING && i < n && f->ping_n < sizeof f->ping; i++)
        f->ping[f->ping_n++] = (unsigned char)p[i];
    return true;
}

static bool on_end(const struct frames *f, const struct frames_out *out) {
    const int type = f->head[3], flags = f->head[4];
    const bool some = f->head[0] || f->head[1] || f->head[2];
    if (type == PING && !(flags & ACK))
        return acknowledge(out, PING, f->ping, sizeof f->ping);
    if (type != DATA) return true;
    return (!some || text(out, "\r\n")) &&
           (!(flags & END_STREAM) || text(out, "0\r\n\r\n"));
}

bool frames_feed(struct frames *f, const struct frames_out *out, const char *p,
                 size_t n) {
    while (n > 0) {
        size_t used = 1;
        if (f->head_n < sizeof f->head) {
            f->head[f->head_n++] = (unsigned char)*p;
            if (f->head_n == sizeof f->head && !on_head(f, out)) return false;
        } else {
            used = n < f->left ? n : f->left;
            if (!on_payload(f, out, p, used)) return false;
            f->left -= (uint32_t)used;
        }
        p += used;
        n -= used;
        if (f->head_n < sizeof f->head || f->left > 0) continue;
        if (!on_end(f, out)) return false;
        f->head_n = 0;
    }
    return true;
}
