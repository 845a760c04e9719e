/* A publisher over HTTP: POSTs numbered events at a given pace on one connection, for
 * servers that have no publisher inside (nchan).
 *
 *   publish --port P --path /pub --events E [--batch K] [--every US] [--first N] [--pad B]
 *
 * The K requests of a turn leave in one send(). Prints {"published","refused","seconds"}. */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define BATCH_MAX 64
#define REQUEST_MAX 1024
#define PAD_MAX 512

struct publisher {
    const char *path;
    unsigned long port, events, batch, every_us, first, pad;
    int fd;
    unsigned long published, refused;
    char answers[65536];
    size_t held;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void open_connection(struct publisher *p) {
    const int on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)p->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0) fail("publish: socket");
    if (connect(p->fd, (struct sockaddr *)&to, sizeof to) < 0) fail("publish: connect");
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static size_t write_request(const struct publisher *p, char *into, unsigned long n) {
    char pad[PAD_MAX + 1], body[PAD_MAX + 64];
    memset(pad, 'x', p->pad);
    pad[p->pad] = 0;
    const int size = snprintf(body, sizeof body, "{\"n\":%lu,\"t\":%llu,\"pad\":\"%s\"}",
                              n, (unsigned long long)(clock_ns() / 1000), pad);
    return (size_t)snprintf(
        into, REQUEST_MAX,
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
        p->path, size, body);
}

/* Take one whole answer from the front of what was received; false when there is none. */
static bool take_answer(struct publisher *p) {
    p->answers[p->held] = 0;
    const char *end = strstr(p->answers, "\r\n\r\n");
    if (!end) return false;
    const char *length = strcasestr(p->answers, "\r\nContent-Length:");
    size_t size = (size_t)(end + 4 - p->answers);
    if (length && length < end) size += strtoul(length + 17, NULL, 10);
    if (size > p->held) return false;
    if (p->answers[9] == '2') p->published++;
    else p->refused++;
    p->held -= size;
    memmove(p->answers, p->answers + size, p->held);
    return true;
}

static void read_answers(struct publisher *p, unsigned long count) {
    while (count) {
        if (take_answer(p)) {
            count--;
            continue;
        }
        const ssize_t n =
            recv(p->fd, p->answers + p->held, sizeof p->answers - 1 - p->held, 0);
        if (n <= 0) fail("publish: recv");
        p->held += (size_t)n;
    }
}

static void turn(struct publisher *p, unsigned long first, unsigned long count) {
    static char out[BATCH_MAX * REQUEST_MAX];
    size_t n = 0;
    for (unsigned long i = 0; i < count; i++) n += write_request(p, out + n, first + i);
    if (send(p->fd, out, n, MSG_NOSIGNAL) != (ssize_t)n) fail("publish: send");
    read_answers(p, count);
}

static void run(struct publisher *p) {
    uint64_t due = clock_ns();
    for (unsigned long done = 0; done < p->events;) {
        const unsigned long left = p->events - done;
        const unsigned long count = left < p->batch ? left : p->batch;
        turn(p, p->first + done, count);
        done += count;
        due += p->every_us * 1000;
        if (p->every_us && done < p->events) clock_wait(due);
    }
}

static const struct option OPTIONS[] = {{"port", 1, 0, 'p'},   {"path", 1, 0, 'u'},
                                        {"events", 1, 0, 'n'}, {"batch", 1, 0, 'k'},
                                        {"every", 1, 0, 'e'},  {"first", 1, 0, 'f'},
                                        {"pad", 1, 0, 'b'},    {0, 0, 0, 0}};

static void read_option(struct publisher *p, int which, const char *text) {
    const unsigned long number = strtoul(text, NULL, 10);
    switch (which) {
    case 'p': p->port = number; break;
    case 'u': p->path = text; break;
    case 'n': p->events = number; break;
    case 'k': p->batch = number; break;
    case 'e': p->every_us = number; break;
    case 'f': p->first = number; break;
    case 'b': p->pad = number; break;
    default: fputs("publish: unknown option\n", stderr); exit(2);
    }
}

int main(int argc, char **argv) {
    static struct publisher p = {
        .path = "/", .events = 1, .batch = 1, .first = 1, .pad = 126};
    int which;
    while ((which = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1)
        read_option(&p, which, optarg ? optarg : "");
    if (!p.port || p.batch < 1 || p.batch > BATCH_MAX || p.pad > PAD_MAX) {
        fputs("publish: --port, --batch 1..64 and --pad 0..512\n", stderr);
        return 2;
    }
    const uint64_t began = clock_ns();
    open_connection(&p);
    run(&p);
    printf("{\"published\":%lu,\"refused\":%lu,\"seconds\":%.6f}\n", p.published,
           p.refused, (double)(clock_ns() - began) / 1e9);
    return 0;
}
