/* The flight recorder of an I/O thread: what happened to its streams, for whoever asks later why.
 *
 * A note each, which becomes a line as the log has them when somebody asks: a stream that opened, was refused, lost something, or
 * ended, with the cause. Who comes and leaves is kept apart from what is done to streams, so that
 * a thousand visits do not push out the one reset that somebody asks about; so are requests that
 * were refused. Nothing is noted for a delivery. Bounded by FLIGHT_BYTES, FLIGHT_REQUESTS_BYTES. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_FLIGHT_H
#define SLUICE_SERVE_IO_FLIGHT_H

#include "base/notes.h"
#include "fan/loss.h"
#include "net/address.h"

struct worker;
struct request;
struct plan;
struct client;
struct outlet;
struct bye;

struct flight {
    struct notes visits;   /* opened, and left by themselves */
    struct notes deeds;    /* refused, reset, ended by the server or the app */
    struct notes requests; /* answered by the server itself with 4xx or 5xx: no streams */
    int64_t closed_ms;     /* when a connection was last noted that found no room */
};

void flight_init(struct flight *f);
void flight_deinit(struct flight *f);

void flight_opened(struct worker *w, const struct request *r, const struct plan *plan,
                   const struct client *c);
void flight_refused(struct worker *w, const struct request *r, const struct bye *bye);

/* A request that a thread answered with an error by itself; 'why' may be NULL. A storm of them
 * pushes out none but its own kind. */
void flight_answered(struct worker *w, const struct request *r, int status,
                     const char *why);

/* A connection above --max-connections was closed: one of them in FLIGHT_CLOSED_MS is noted, since
 * a storm of them would push out all else. */
void flight_closed(struct worker *w, const struct in6_addr *address);
void flight_lost(const struct outlet *o, const struct loss *loss);

/* 'fields': what is known of its life. */
void flight_ended(struct worker *w, const struct log_field *fields, size_t n,
                  enum end_cause cause);

#endif
