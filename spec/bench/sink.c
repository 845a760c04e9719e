/* Readers that look at nothing: N streams of one route, what they read is counted and thrown away. For
 * bodies that load.c cannot read, since they are compressed.
 *
 *   sink --port P --path /s/x --streams 1000 [--accept gzip] [--at-once 64]
 *
 * So many at once ask and wait for their first bytes; all do unless that is said.
 * Answers each line on stdin by a line of JSON: how many streams have begun, and the bytes and reads of
 * all since the line before, heads of answers included. Ends with stdin. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define READ_MAX 65536

struct sink {
    int port;
    uint32_t streams, at_once, asked, begun;
    const char *path, *accept;
    uint64_t bytes, reads;
    int poll;
    char *began; /* by descriptor */
};

static _Noreturn void die(const char *what) {
    perror(what);
    exit(1);
}

static void open_stream(struct sink *s) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) die("connect");
    char text[512];
    int n =
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s%s\r\n",
                 s->path, s->accept ? "Accept-Encoding: " : "",
                 s->accept ? s->accept : "", s->accept ? "\r\n" : "");
    if (send(fd, text, (size_t)n, 0) != n) die("send");
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(s->poll, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll_ctl");
    s->asked++;
}

static void open_more(struct sink *s) {
    while (s->asked < s->streams && s->asked - s->begun < s->at_once) open_stream(s);
}

static void take(struct sink *s, int fd) {
    static char room[READ_MAX];
    ssize_t n = recv(fd, room, sizeof room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) die("a stream has ended");
    s->bytes += (uint64_t)n;
    s->reads++;
    s->begun += !s->began[fd];
    s->began[fd] = 1;
}

static void answer(struct sink *s) {
    char c; /* a line may come in parts */
    if (read(STDIN_FILENO, &c, 1) <= 0) exit(0);
    if (c != '\n') return;
    printf("{\"begun\":%u,\"bytes\":%llu,\"reads\":%llu}\n", s->begun,
           (unsigned long long)s->bytes, (unsigned long long)s->reads);
    fflush(stdout);
    s->bytes = s->reads = 0;
}

static void read_options(struct sink *s, int argc, char **argv) {
    static const struct option known[] = {{"port", 1, 0, 'p'},    {"path", 1, 0, 'u'},
                                          {"streams", 1, 0, 'n'}, {"accept", 1, 0, 'a'},
                                          {"at-once", 1, 0, 'o'}, {0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'p') s->port = atoi(optarg);
        else if (c == 'u') s->path = optarg;
        else if (c == 'n') s->streams = (uint32_t)atoi(optarg);
        else if (c == 'a') s->accept = optarg;
        else if (c == 'o') s->at_once = (uint32_t)atoi(optarg);
        else exit(2);
    }
}

int main(int argc, char **argv) {
    struct sink s = {.streams = 1, .at_once = UINT32_MAX, .poll = epoll_create1(0)};
    read_options(&s, argc, argv);
    s.began = calloc(s.streams + 64, 1);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    if (s.poll < 0 || !s.began || !s.path || s.poll > 32) die("sink");
    epoll_ctl(s.poll, EPOLL_CTL_ADD, STDIN_FILENO, &ev);
    for (;;) {
        open_more(&s);
        struct epoll_event ready[EVENTS_MAX];
        int n = epoll_wait(s.poll, ready, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == STDIN_FILENO) answer(&s);
            else take(&s, ready[i].data.fd);
        }
    }
}
