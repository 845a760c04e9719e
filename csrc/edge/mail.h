/* One mail to an SMTP server (RFC 5321) over curl: what is asked, and what the server said.
 *
 * Curl holds the conversation; we listen to it, since curl names neither the recipient that a
 * server refuses nor its words. A connection serves one mail. Curl waits in places, for the
 * reply to the text as for the one to QUIT: a mail is performed on a thread that may (mails.h),
 * and cut by shutting its sockets.
 *
 * Bounds: MAIL_TO_MAX recipients, MAIL_REPLY_MAX bytes of each reply. [the owner; while it is
 * performed, that thread, and anybody may cut it] */
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

/* Copies. 0 or E_NOMEM. */
int mail_new(struct mail **out, const struct http_ask *ask);
void mail_free(struct mail *m); /* takes; NULL is fine */

void mail_perform(struct mail *m); /* once; takes as long as it takes */
void mail_cut(struct mail *m); /* it ends soon, or at once when performed [any thread] */

/* Curl's word for how it ended, and its text, which may be empty. */
CURLcode mail_code(const struct mail *m);
const char *mail_text(const struct mail *m);

/* It was to be signed in, and the server has no way that we have. */
bool mail_lacks_auth(const struct mail *m);

/* Whether the last reply was about a recipient. */
bool mail_is_of_recipient(const struct mail *m);

/* The code of the last reply, or 0; its text. What was said to recipient 'i' (from 0): empty
 * when it was not asked for. Borrowed from the mail. */
int mail_status(const struct mail *m);
struct slice mail_reply(const struct mail *m);
struct slice mail_reply_to(const struct mail *m, size_t i);
size_t mail_recipients(const struct mail *m);

#endif
