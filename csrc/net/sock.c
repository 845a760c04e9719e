/* Reading and writing; see sock.h. */
#include "net/sock.h"

#include "base/bounds.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/ring.h"

#include <assert.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

/* send(), without the look for a cancelled thread that the C library puts around it: that
 * is a hundredth of a delivery. */
static ssize_t send_one(int fd, struct slice bytes) {
    return syscall(SYS_sendto, fd, bytes.p, bytes.n, FLAGS, NULL, 0);
}

static ssize_t send_both(int fd, struct slice head, struct slice body) {
    struct iovec parts[2] = {{(char *)head.p, head.n}, {(char *)body.p, body.n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = body.n > 0 ? 2 : 1};
    return sendmsg(fd, &message, FLAGS);
}

ssize_t sock_send(int fd, struct slice head, struct slice body) {
    if (head.n == 0 && body.n == 0) return 0;
    ssize_t n = head.n > 0 ? send_both(fd, head, body) : send_one(fd, body);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
}

/* ---- Queued writes ------------------------------------------------------------------ */

/* Those that have not been in the kernel. A ring that fails is not tried again. */
static void submit(struct socks *s) {
    struct sock_write *writes = s->queued + s->n - s->waiting;
    uint32_t n = s->waiting;
    s->waiting = 0;
    s->bytes = 0;
    for (uint32_t i = 0; i < n; i++) writes[i].result = SOCK_QUEUED;
    if (s->ring && n > 1) { /* one alone costs a tenth more than with send() */
        if (ring_send(s->ring, writes, n)) return;
        socks_end(s);
        log_printf(LOG_WARN, "io_uring failed; this thread goes on with send()");
    }
    for (uint32_t i = 0; i < n; i++)
        if (writes[i].result == SOCK_QUEUED)
            writes[i].result = sock_send(writes[i].fd, writes[i].head, writes[i].body);
}

ssize_t sock_queue(struct socks *s, const struct sock_write *w) {
    if (s->n == s->room) {
        s->room = s->room > 0 ? 2 * s->room : RING_BATCH;
        struct sock_write *more = mem_new(s->room * sizeof *more);
        if (s->n > 0) memcpy(more, s->queued, s->n * sizeof *more);
        mem_free(s->queued);
        s->queued = more;
    }
    s->queued[s->n++] = *w;
    s->waiting++;
    s->bytes += w->head.n + w->body.n;
    if (s->waiting == RING_BATCH || s->bytes >= RING_BATCH_BYTES) submit(s);
    return SOCK_QUEUED;
}

void sock_flush(struct socks *s, sock_fn *on_result) {
    if (s->n == 0) return;
    if (s->waiting > 0) submit(s);
    struct socks now = *s;
    *s = (struct socks){.delayed = now.delayed, .ring = now.ring};
    for (uint32_t i = 0; i < now.n; i++)
        on_result(now.queued[i].owner, now.queued[i].result);
    if (s->queued || now.room > SOCKS_KEPT_MAX) {
        mem_free(now.queued);
    } else {
        s->queued = now.queued;
        s->room = now.room;
    }
}

int socks_begin(struct socks *s) {
    int err = s->ring ? ring_begin(s->ring) : 0;
    if (err < 0) socks_end(s);
    return err;
}

void socks_end(struct socks *s) {
    ring_free(s->ring);
    s->ring = NULL;
}

void socks_deinit(struct socks *s) {
    assert(s->n == 0);
    socks_end(s);
    mem_free(s->queued);
    *s = (struct socks){0};
}

ssize_t sock_read(int fd, char *bytes, size_t n) {
    ssize_t got = recv(fd, bytes, n, MSG_DONTWAIT);
    if (got >= 0) return got;
    return errno == EINTR ? -EAGAIN : -errno;
}

int sock_listen_local(uint16_t *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) return -errno;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(*port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 128) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    *port = ntohs(at.sin_port);
    return fd;
}

uint32_t sock_held(int fd) {
    int n = 0;
    return ioctl(fd, SIOCOUTQ, &n) == 0 && n > 0 ? (uint32_t)n : 0;
}

uint32_t sock_silent_ms(int fd) {
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0) return 0;
    return info.tcpi_unacked > 0 ? info.tcpi_last_ack_recv : 0;
}
