/* One mail to an SMTP server (RFC 5321) over curl: what is asked, and what the server said.
 *
 * Curl holds the conversation; we listen to it, since curl names neither the recipient that a
 * server refuses nor its words. A connection serves one mail. Curl says QUIT when it closes one
 * and would then block until the answer: we take its reading side away first.
 *
 * Bounds: MAIL_TO_MAX recipients, MAIL_REPLY_MAX bytes of each reply. [owner of the loop] */
#ifndef SLUICE_EDGE_MAIL_H
#define SLUICE_EDGE_MAIL_H

#include "edge/http_ask.h"

struct mail_ask {
    struct slice from, user, password; /* no user: no AUTH */
    const struct slice *to;
    size_t n_to;
    bool starttls; /* required; with smtps:// there is TLS from the first byte */
};

struct mail;

/* 0; E_INVAL: not a URL of smtp or smtps; E_BADFIELD: an address; E_TOOBIG: the URL, the
 * number of recipients; E_NOMEM. */
int mail_check(const struct http_ask *ask);

/* Copies. 0 or E_NOMEM; the owner frees it after the handle. */
int mail_new(struct mail **out, const struct http_ask *ask);
void mail_free(struct mail *m); /* takes; NULL is fine */

/* Put it into a handle, which borrows it. 0 or E_NOMEM. */
int mail_apply(struct mail *m, const struct http_ask *ask, CURL *easy);

/* The socket that the conversation goes over now. */
void mail_set_socket(struct mail *m, int fd);

/* The code of the last reply, or 0; its text. What was said to recipient 'i' (from 0): empty
 * when it was not asked for. Borrowed from the mail. */
int mail_status(const struct mail *m);
struct slice mail_reply(const struct mail *m);
struct slice mail_reply_to(const struct mail *m, size_t i);
size_t mail_recipients(const struct mail *m);

#endif
