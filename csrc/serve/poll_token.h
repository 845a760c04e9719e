/* The token of a poll: which client asks, on which thread that lives, and which answer it got
 * last. The next poll brings it back.
 *
 *     0.17.k3f9zqh2mmd4x7aw.5f0c…9e        lane . answers . client . MAC
 *
 * Nothing is stored for it. The MAC, with a key of this process, also covers the user, the path
 * and what the plan follows: brought by another user, to another route or for another plan it is
 * no token, and so is one of an earlier process. [any thread] */
#ifndef SLUICE_SERVE_POLL_TOKEN_H
#define SLUICE_SERVE_POLL_TOKEN_H

#include "serve/client.h"
#include "serve/hub.h"
#include "serve/request.h"

#define POLL_TOKEN_MAX 80 /* characters, with the NUL */

struct poll_token {
    unsigned lane, answers;
    struct slice client, mac; /* of 'text' */
    char text[POLL_TOKEN_MAX];
};

/* The one that a request brings, as far as it can be one; false: none. */
bool poll_token_read(const struct request *r, struct poll_token *out);

/* Who it has to be of. */
struct poll_holder {
    const char *user; /* NULL: none */
    const char *path;
    uint64_t mark; /* of the plan */
};

bool poll_token_is_of(const struct poll_token *t, const struct hub *hub,
                      const struct poll_holder *holder);

void poll_token_write(char out[POLL_TOKEN_MAX], const struct client *c, uint64_t mark,
                      unsigned answers);

#endif
