/* Reading, making and checking; see poll_token.h. */
#include "serve/poll_token.h"

#include "crypto/digest.h"
#include "net/url.h"

#include <stdio.h>

#define MAC_BYTES 16 /* of the digest: 32 digits */

/* A decimal number and the point behind it. */
static bool read_number(struct slice *text, unsigned most, unsigned *out) {
    size_t n = 0;
    uint64_t value = 0;
    while (n < text->n && n < 10 && text->p[n] >= '0' && text->p[n] <= '9')
        value = value * 10 + (uint64_t)(text->p[n++] - '0');
    if (n == 0 || n == text->n || text->p[n] != '.' || value > most) return false;
    *out = (unsigned)value;
    *text = slice_of(text->p + n + 1, text->n - n - 1);
    return true;
}

bool poll_token_read(const struct request *r, struct poll_token *out) {
    int n = url_query_get(r->query, "poll", out->text, sizeof out->text);
    if (n <= 0) return false;
    struct slice text = slice_of(out->text, (size_t)n);
    if (!read_number(&text, r->lane->hub->n_lanes - 1, &out->lane)) return false;
    if (!read_number(&text, UINT32_MAX, &out->answers)) return false;
    if (text.n != CLIENT_ID_LENGTH + 1 + 2 * MAC_BYTES) return false;
    out->client = slice_of(text.p, CLIENT_ID_LENGTH);
    out->mac = slice_of(text.p + CLIENT_ID_LENGTH + 1, 2 * MAC_BYTES);
    return text.p[CLIENT_ID_LENGTH] == '.';
}

/* Every part has a length of its own or stands last, so that no two holders have one text. */
static bool make_mac(const struct hub *hub, const struct poll_token *t,
                     const struct poll_holder *holder, char out[2 * MAC_BYTES + 1]) {
    struct buf text = {0};
    unsigned char mac[DIGEST_BYTES];
    const char *user = holder->user ? holder->user : "";
    int err = buf_addf(&text, "%.*s %u %u %llx %d %zu ", (int)t->client.n, t->client.p,
                       t->lane, t->answers, (unsigned long long)holder->mark,
                       holder->user != NULL, strlen(user));
    if (err == 0) err = buf_adds(&text, user);
    if (err == 0) err = buf_adds(&text, holder->path);
    struct slice key = slice_of((const char *)hub->poll_key, sizeof hub->poll_key);
    if (err == 0) err = digest_hmac(key, buf_slice(&text), mac);
    buf_free(&text);
    for (size_t i = 0; i < MAC_BYTES && err == 0; i++)
        snprintf(out + 2 * i, 3, "%02x", mac[i]);
    return err == 0;
}

bool poll_token_is_of(const struct poll_token *t, const struct hub *hub,
                      const struct poll_holder *holder) {
    char mac[2 * MAC_BYTES + 1];
    return make_mac(hub, t, holder, mac) && digest_equal(t->mac, slice_str(mac));
}

void poll_token_write(char out[POLL_TOKEN_MAX], const struct client *c, uint64_t mark,
                      unsigned answers) {
    char mac[2 * MAC_BYTES + 1];
    struct poll_token t = {.lane = c->lane->index,
                           .answers = answers,
                           .client = slice_of(c->id, CLIENT_ID_LENGTH)};
    struct poll_holder holder = {client_user(c), client_path(c), mark};
    out[0] = '\0'; /* without memory: a newcomer next time */
    if (make_mac(c->lane->hub, &t, &holder, mac))
        snprintf(out, POLL_TOKEN_MAX, "%u.%u.%s.%s", t.lane, t.answers, c->id, mac);
}
