/* Text to address and back; the C library knows the forms. */
#include "net/address.h"

#include "base/decimal.h"
#include "net/http_bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Without the C library, whose printf costs more than the rest of a connection's parsing. */
static void format_v4(const uint8_t *address, char *out) {
    char digits[20], *end = digits + sizeof digits;
    for (int i = 0; i < 4; i++) {
        char *first = decimal_before(end, address[i]);
        memcpy(out, first, (size_t)(end - first));
        out += end - first;
        *out++ = i < 3 ? '.' : '\0';
    }
}

void address_format(const struct in6_addr *address, char out[ADDRESS_TEXT_MAX]) {
    if (IN6_IS_ADDR_V4MAPPED(address)) format_v4(&address->s6_addr[12], out);
    else inet_ntop(AF_INET6, address, out, ADDRESS_TEXT_MAX);
}

static bool is_port(struct slice s) {
    return s.n > 0 && s.n <= 5 && http_all(s, HTTP_DIGIT);
}

/* Take the port off, and the brackets that stand around an IPv6 address then. */
static bool cut_port(struct slice *text) {
    const char *end = text->p + text->n;
    if (text->n > 0 && text->p[0] == '[') {
        const char *close = memchr(text->p, ']', text->n);
        if (!close) return false;
        *text = slice_of(text->p + 1, (size_t)(close - text->p - 1));
        return close + 1 == end ||
               (close[1] == ':' &&
                is_port(slice_of(close + 2, (size_t)(end - close - 2))));
    }
    const char *colon = text->n ? memchr(text->p, ':', text->n) : NULL;
    if (!colon || !memchr(text->p, '.', (size_t)(colon - text->p))) return true;
    text->n = (size_t)(colon - text->p);
    return is_port(slice_of(colon + 1, (size_t)(end - colon - 1)));
}

/* A link of this machine's, behind an IPv6 address ("%eth0"), says nothing about who it is. */
static void cut_zone(struct slice *text) {
    const char *zone = text->n ? memchr(text->p, '%', text->n) : NULL;
    if (zone && memchr(text->p, ':', (size_t)(zone - text->p)))
        text->n = (size_t)(zone - text->p);
}

bool address_read(struct slice text, struct in6_addr *out) {
    char copy[ADDRESS_TEXT_MAX];
    if (!cut_port(&text)) return false;
    cut_zone(&text);
    if (text.n == 0 || text.n >= sizeof copy) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (memchr(text.p, ':', text.n)) return inet_pton(AF_INET6, copy, out) == 1;
    memset(out, 0, sizeof *out);
    out->s6_addr[10] = out->s6_addr[11] = 0xff;
    return inet_pton(AF_INET, copy, &out->s6_addr[12]) == 1;
}

/* Whether an option of the socket has this value. */
static bool has(int fd, int option, int value) {
    int got = -1;
    socklen_t n = sizeof got;
    return getsockopt(fd, SOL_SOCKET, option, &got, &n) == 0 && got == value;
}

/* The kernel writes no NUL behind a name that begins with one. */
static void local_path(const struct sockaddr_un *a, size_t n,
                       char out[LISTENING_TEXT_MAX]) {
    n -= offsetof(struct sockaddr_un, sun_path);
    memcpy(out, a->sun_path, n);
    out[n] = '\0';
    if (n > 0 && out[0] == '\0') out[0] = '@';
}

int address_listening(int fd, char out[LISTENING_TEXT_MAX], uint16_t *port) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } a = {{0}};
    socklen_t n = sizeof a;
    *port = 0;
    if (getsockname(fd, &a.any, &n) < 0) return -errno;
    if (!has(fd, SO_TYPE, SOCK_STREAM) || !has(fd, SO_ACCEPTCONN, 1)) return -EINVAL;
    if (a.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a.v4.sin_addr, out, LISTENING_TEXT_MAX);
        *port = ntohs(a.v4.sin_port);
    } else if (a.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a.v6.sin6_addr, out, LISTENING_TEXT_MAX);
        *port = ntohs(a.v6.sin6_port);
    } else if (a.any.sa_family == AF_UNIX) {
        local_path(&a.local, n, out);
    } else {
        return -EAFNOSUPPORT;
    }
    return 0;
}

bool address_read_network(struct slice text, struct network *out) {
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    size_t n = slash ? (size_t)(slash - text.p) : text.n;
    if (!address_read(slice_of(text.p, n), &out->address)) return false;
    out->bits = 128;
    if (!slash) return true;
    struct slice digits = slice_of(slash + 1, text.n - n - 1);
    if (digits.n == 0 || digits.n > 3 || !http_all(digits, HTTP_DIGIT)) return false;
    unsigned bits = 0, most = IN6_IS_ADDR_V4MAPPED(&out->address) ? 32 : 128;
    for (size_t i = 0; i < digits.n; i++)
        bits = bits * 10 + (unsigned)(digits.p[i] - '0');
    out->bits = 128 - most + bits;
    return bits <= most;
}

bool address_is_in(const struct in6_addr *address, const struct network *network) {
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    const uint8_t *a = address->s6_addr, *b = network->address.s6_addr;
    if (memcmp(a, b, whole) != 0) return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

void address_cut(struct in6_addr *address) {
    if (!IN6_IS_ADDR_V4MAPPED(address)) memset(&address->s6_addr[8], 0, 8);
}
