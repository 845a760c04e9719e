/* Mails under way, on threads of their own: curl waits for some replies of a mail server, and
 * nobody else must.
 *
 *      app thread   mails_send ─▶ queue ─▶ (up to MAIL_THREADS_MAX threads: mail_perform)
 *                   on_done    ◀────────── mailbox of the loop ◀──┘
 *
 * A thread takes what is in the queue and ends when nothing is. Who leaves a mail cuts it.
 *
 * Bounds: MAIL_THREADS_MAX threads; the queue is the caller's (HTTP_OUT_MAX).
 * [owner of the loop] */
#ifndef SLUICE_EDGE_MAILS_H
#define SLUICE_EDGE_MAILS_H

#include "edge/mail.h"
#include "run/loop.h"

struct mails;
struct mails_job;

/* Once for each mail that was not left. */
typedef void mails_on_done(void *tag);

struct mails *mails_new(struct loop *loop, mails_on_done *on_done);

/* Takes; all mails have been left. Waits MAIL_END_MS for threads at most. The mailbox is
 * drained after it. NULL: fine. */
void mails_free(struct mails *p);

/* Takes the mail, also on failure. 0, E_NOMEM or a negative errno: there is no thread. */
int mails_send(struct mails *p, struct mail *mail, void *tag, struct mails_job **out);

void mails_cut(struct mails_job *job);   /* it is reported soon */
void mails_leave(struct mails_job *job); /* takes; nothing more is reported */
const struct mail *mails_mail(const struct mails_job *job); /* once it was reported */

#endif
