/* Text to address and back; the C library knows the forms. */
#include "net/address.h"

#include "net/http_bytes.h"

#include <arpa/inet.h>

void address_format(const struct in6_addr *address, char out[ADDRESS_TEXT_MAX]) {
    const bool mapped = IN6_IS_ADDR_V4MAPPED(address);
    inet_ntop(mapped ? AF_INET : AF_INET6,
              mapped ? (const void *)&address->s6_addr[12] : address, out,
              ADDRESS_TEXT_MAX);
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

bool address_read(struct slice text, struct in6_addr *out) {
    char copy[ADDRESS_TEXT_MAX];
    if (!cut_port(&text) || text.n == 0 || text.n >= sizeof copy) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (inet_pton(AF_INET6, copy, out) == 1) return true;
    memset(out, 0, sizeof *out);
    out->s6_addr[10] = out->s6_addr[11] = 0xff;
    return inet_pton(AF_INET, copy, &out->s6_addr[12]) == 1;
}
