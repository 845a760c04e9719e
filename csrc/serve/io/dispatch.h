/* Where a request goes: answered here on the I/O thread (files, health, streams with a
 * constant plan, everything that is refused) or handed to the app.
 * [the worker's thread] */
#ifndef SLUICE_SERVE_IO_DISPATCH_H
#define SLUICE_SERVE_IO_DISPATCH_H

#include "serve/io/conn.h"

/* Before the body is read: find the route. 0, or the status to refuse with. */
int dispatch_check(struct conn *c, struct request *r);
void dispatch_refuse(struct conn *c, struct request *r, int status);

/* The request is complete. True when its answer is queued; false when it waits for the
 * app or became a stream. */
bool dispatch(struct conn *c, struct request *r);

/* The same of one whose route has a plan, when what that follows is here. */
bool dispatch_plan(struct conn *c, struct request *r);

/* The file that the route was found with. */
void dispatch_file(struct conn *c, struct request *r);

/* The stream begins: with the plan of the app, or with the route's own. */
void dispatch_stream(struct conn *c, struct request *r, struct plan *plan,
                     struct client *client);

/* HEAD of a stream that would open, or be refused by its bye: the head of that stream, and
 * nothing is registered. */
void dispatch_head(struct conn *c, struct request *r);

/* The app did not take the request in time, or must not be asked: 503, or for a stream
 * 200, bye and a random retry (a browser would never come back after a 503). */
void dispatch_overload(struct conn *c, struct request *r);

/* The line of a request: the status that was sent. */
void dispatch_log(struct conn *c, const struct request *r, int status);

/* Refuse a stream, or a poll, with a bye: 200, and a line with its reason. */
void dispatch_bye(struct conn *c, struct request *r, const struct bye *bye);

#endif
