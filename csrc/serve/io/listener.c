/* Sockets that accept; see listener.h. The reasons of each option: perf notes in
 * doc/operating.md. */
#include "serve/io/listener.h"

#include "base/fault.h"
#include "base/status.h"
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
/* A stalled reader holds this much in the kernel instead of 4 MB. */
#define NOTSENT_LOWAT 16384
/* Also ends peers that acknowledge and never read: not before we would. */
#define USER_TIMEOUT_MS 30000

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static int parse(const char *host, uint16_t port, union address *out, socklen_t *n) {
    memset(out, 0, sizeof *out);
    if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        *n = sizeof out->v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        *n = sizeof out->v6;
        return 0;
    }
    return E_ADDRESS;
}

static void set(int fd, int level, int option, int value) {
    /* A kernel without an option serves all the same, only less well. */
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

static void set_options(int fd, int64_t stall_ms) {
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT);
    set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
        stall_ms > USER_TIMEOUT_MS ? (int)stall_ms : USER_TIMEOUT_MS);
}

int listener_check(const char *host, uint16_t port) {
    union address address;
    socklen_t n;
    int err = parse(host, port, &address, &n);
    if (err < 0 || port == 0) return err;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(fd, &address.any, n) < 0) err = -errno;
    close(fd);
    return err;
}

int listener_open(const char *host, uint16_t *port, int64_t stall_ms) {
    union address address;
    socklen_t n;
    int err = parse(host, *port, &address, &n);
    if (err < 0) return err;
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = fault_here() ? -1 : socket(address.any.sa_family, type, 0);
    if (fd < 0) return -errno;
    set_options(fd, stall_ms);
    if (bind(fd, &address.any, n) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, &address.any, &n) < 0) {
        err = -errno;
        close(fd);
        return err;
    }
    bool v6 = address.any.sa_family == AF_INET6;
    *port = ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port);
    return fd;
}

int listener_adopt(int fd, uint16_t *port, int64_t stall_ms) {
    char place[LISTENING_TEXT_MAX];
    uint16_t own;
    int err = address_listening(fd, place, &own);
    if (err < 0) return err;
    int copy = fault_here() ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return -errno;
    set_options(copy, stall_ms);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) | O_NONBLOCK);
    if (own != 0) *port = own;
    return copy;
}

void listener_await_request(int fd) {
    set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
}

int listener_accept(int fd, struct in6_addr *peer) {
    union address address;
    socklen_t n = sizeof address;
    memset(&address, 0, sizeof address);
    int got = accept4(fd, &address.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (got < 0) return -errno;
    if (address.any.sa_family == AF_UNIX) {
        *peer = in6addr_loopback;
    } else if (address.any.sa_family == AF_INET6) {
        *peer = address.v6.sin6_addr;
    } else {
        memset(peer, 0, 10);
        memset(&peer->s6_addr[10], 0xff, 2);
        memcpy(&peer->s6_addr[12], &address.v4.sin_addr, 4);
    }
    return got;
}
