/* The answers of a connection on their way out: heads and bodies that wait in its talk, or
 * the file behind them, and how long its peer has taken nothing. Streams send through their
 * outlet. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_OUTPUT_H
#define SLUICE_SERVE_IO_OUTPUT_H

#include "serve/io/conn.h"

/* Send what waits. True when nothing is left. */
bool output_flush(struct conn *c);

/* The socket, or the carrier, took so many bytes of it. */
void output_took(struct conn *c, size_t n);

/* An answer of ours is queued. 0, or it is doomed. */
int output_answer(struct conn *c, int status, const char *code, const char *message);

/* The app's answer is queued: its bytes are the connection's from here on. 0 or E_NOMEM. */
int output_take(struct conn *c, struct request *r);

/* This file is the body of the answer whose head was queued last (shares). */
void output_share(struct conn *c, struct static_file *file);

/* ---- What the peer takes ------------------------------------------------------------ */

/* The socket took something, or is full from now on; and how long ago that was. */
void output_note_taken(struct conn *c);
int64_t output_quiet_ms(const struct conn *c);

/* Whether the peer took some of what the kernel holds since this was asked last: it may do
 * so long before the socket wants more. */
bool output_has_taken(struct conn *c);

/* Whether the socket has taken nothing for the stall timeout. */
bool output_is_stalled(struct conn *c);

#endif
