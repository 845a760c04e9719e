/* Kernel memory of the established sockets of one local port:  sockmem PORT
 * Prints {"sockets","queued","allocated","rmem","forward"}, sums in bytes.
 *
 * 'queued' is sk_wmem_queued: what waits to be sent or acknowledged, with the kernel's own
 * structures; 'allocated' is sk_wmem_alloc, what is in the device's hands; 'rmem' what is
 * received and not read; 'forward' what is reserved. Asks the kernel with sock_diag, as
 * ss -m does. */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TCP_ESTABLISHED_STATE 1
#define TCP_CLOSE_WAIT_STATE 8

struct sums {
    uint16_t port;
    uint64_t sockets, queued, allocated, rmem, forward;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void ask(int fd) {
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 request;
    } m = {
        .head = {.nlmsg_len = sizeof m,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .request = {.sdiag_family = AF_INET,
                    .sdiag_protocol = IPPROTO_TCP,
                    .idiag_ext = 1 << (INET_DIAG_SKMEMINFO - 1),
                    .idiag_states =
                        1 << TCP_ESTABLISHED_STATE | 1 << TCP_CLOSE_WAIT_STATE},
    };
    if (send(fd, &m, sizeof m, 0) < 0) fail("sockmem: send");
}

static void take_memory(struct sums *s, const uint32_t *info) {
    s->queued += info[SK_MEMINFO_WMEM_QUEUED];
    s->allocated += info[SK_MEMINFO_WMEM_ALLOC];
    s->rmem += info[SK_MEMINFO_RMEM_ALLOC];
    s->forward += info[SK_MEMINFO_FWD_ALLOC];
}

/* One socket: its addresses, then attributes of (length, type, value). */
static void take_socket(struct sums *s, const char *p, size_t n) {
    struct inet_diag_msg d;
    if (n < sizeof d) return;
    memcpy(&d, p, sizeof d);
    if (ntohs(d.id.idiag_sport) != s->port) return;
    s->sockets++;
    for (size_t at = sizeof d; at + sizeof(struct rtattr) <= n;) {
        struct rtattr a;
        uint32_t info[SK_MEMINFO_VARS];
        memcpy(&a, p + at, sizeof a);
        if (a.rta_len < sizeof a || at + a.rta_len > n) return;
        if (a.rta_type == INET_DIAG_SKMEMINFO && a.rta_len >= sizeof a + sizeof info) {
            memcpy(info, p + at + sizeof a, sizeof info);
            take_memory(s, info);
        }
        at += (a.rta_len + 3u) & ~3u;
    }
}

/* The messages of one datagram. Returns whether more datagrams follow. */
static bool take_messages(struct sums *s, const char *p, size_t n) {
    for (size_t at = 0; at + sizeof(struct nlmsghdr) <= n;) {
        struct nlmsghdr h;
        memcpy(&h, p + at, sizeof h);
        if (h.nlmsg_type == NLMSG_DONE) return false;
        if (h.nlmsg_type == NLMSG_ERROR || h.nlmsg_len < sizeof h ||
            at + h.nlmsg_len > n) {
            fputs("sockmem: this kernel has no sock_diag\n", stderr);
            exit(1);
        }
        take_socket(s, p + at + sizeof h, h.nlmsg_len - sizeof h);
        at += (h.nlmsg_len + 3u) & ~3u;
    }
    return true;
}

static void take_all(int fd, struct sums *s) {
    static char buffer[65536];
    ssize_t n;
    do {
        n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0) fail("sockmem: recv");
    } while (take_messages(s, buffer, (size_t)n));
}

int main(int argc, char **argv) {
    struct sums s = {.port = argc == 2 ? (uint16_t)strtoul(argv[1], NULL, 10) : 0};
    if (!s.port) {
        fputs("usage: sockmem PORT\n", stderr);
        return 2;
    }
    const int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) fail("sockmem: socket");
    ask(fd);
    take_all(fd, &s);
    printf("{\"sockets\":%llu,\"queued\":%llu,\"allocated\":%llu,\"rmem\":%llu,"
           "\"forward\":%llu}\n",
           (unsigned long long)s.sockets, (unsigned long long)s.queued,
           (unsigned long long)s.allocated, (unsigned long long)s.rmem,
           (unsigned long long)s.forward);
    return 0;
}
