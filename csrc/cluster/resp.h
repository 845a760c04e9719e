/* The protocol of Redis (RESP 2) as bytes: commands out, replies in.
 *
 * A command is a list of texts: resp_begin says how many follow. A reply is a tree, read by
 * hiredis as the bytes come; what a server may make us keep is bounded (RESP_REPLY_MAX bytes,
 * RESP_DEPTH_MAX lists in each other, RESP_ITEMS_MAX items), and one that says more, or what is
 * no RESP, is refused for good. Built without hiredis nothing can be read: resp_can_read. [one
 * thread] */
#ifndef SLUICE_CLUSTER_RESP_H
#define SLUICE_CLUSTER_RESP_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- Commands ----------------------------------------------------------------------- */

/* Append to 'out'. Each: 0, or E_NOMEM (then the command is broken: give it up). */
int resp_begin(struct buf *out, uint32_t n_words);
int resp_word(struct buf *out, struct slice word);
int resp_words(struct buf *out, const char *word); /* NUL-terminated */
int resp_number(struct buf *out, uint64_t n);
int resp_parts(struct buf *out, const struct slice *parts, size_t n); /* one text */

/* ---- Replies ------------------------------------------------------------------------ */

enum resp_kind { RESP_NIL, RESP_NUMBER, RESP_TEXT, RESP_ERROR, RESP_LIST };

struct reply {
    enum resp_kind kind;
    int64_t number;    /* RESP_NUMBER */
    struct slice text; /* RESP_TEXT, whether short or bulk, and RESP_ERROR */
    struct reply *items;
    uint32_t n; /* RESP_LIST */
};

/* Whether a reply is that text, or an error that begins with that word. */
bool reply_is(const struct reply *r, const char *text);
bool reply_is_error(const struct reply *r, const char *word);

/* The text of an item (of a list that may be shorter): empty when it is none. */
struct slice reply_text(const struct reply *r, uint32_t item);

/* A text that is a whole number below 2^53, or a number: 0, or E_INVAL. */
int reply_number(const struct reply *r, uint64_t *out);
int text_number(struct slice text, uint64_t *out);

bool resp_can_read(void);

struct resp;

struct resp *resp_new(void); /* owned; NULL without hiredis */
void resp_free(struct resp *r);

/* Take bytes in (copies), then ask for the replies that are complete: 1 and 'out' (borrowed
 * until the next call), 0 when there is none, E_TOOBIG, E_INVAL or E_NOMEM: it stays so. */
int resp_feed(struct resp *r, struct slice bytes);
int resp_next(struct resp *r, const struct reply **out);

#endif
