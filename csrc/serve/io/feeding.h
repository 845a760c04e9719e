/* Answers to readers of a feed (fan/feed.h): what a request asks for, and the pages.
 *
 * A page is gathered by a stream of the fan, which the connection's outlet holds while the
 * request waits for its answer: what would go to a socket is collected here. It is answered when
 * all that was there is in it, when it is large enough, or, of a long-poll that found nothing,
 * with the next that comes. Live over SSE a feed is a stream like any other. No Lua here.
 * [the worker's thread] */
#ifndef SLUICE_SERVE_IO_FEEDING_H
#define SLUICE_SERVE_IO_FEEDING_H

#include "fan/feed.h"
#include "serve/io/conn.h"

#define FEEDING_FIELDS_MAX 14

/* An answer in the making. */
struct feeding;

/* What the query asks for; HEAD asks for the end. NULL, or what is wrong with it. */
const char *feeding_read_ask(const struct request *r, struct feed_ask *ask);

/* Answer a request with a plan of the app, or the route's own. True when its answer is queued;
 * false when it waits, or became a stream. 'client' may be NULL. */
bool feeding_begin(struct conn *c, struct request *r, struct plan *plan,
                   struct client *client);

/* The fields that the head of a live feed has beside those of a stream; how many. */
size_t feeding_stream_fields(const struct request *r, const struct plan *plan,
                             struct http_field *out);

/* Of the fan: a block for a page (takes). */
enum fan_sent feeding_send(struct conn *c, struct block *b);

/* Answer all that can be answered now. */
void feeding_answer_all(struct worker *w);

int64_t feeding_due_ms(const struct conn *c);
void feeding_on_timer(struct conn *c);
void feeding_drain(struct conn *c); /* answer with what there is */
void feeding_close(struct conn *c); /* the connection goes */

/* Whether nothing but the next event is waited for. */
bool feeding_waits(const struct conn *c);

#endif
