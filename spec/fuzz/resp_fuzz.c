/* Fuzz target for csrc/cluster/resp.c, scripts.c and entry.c: whatever a server says is read the same in
 * whatever pieces it comes, stays within the bounds, and is judged without harm by all that read answers.
 *
 * Input: a byte that says how long the pieces are, then what the server says. */
#include "base/bounds.h"
#include "base/buf.h"
#include "cluster/entry.h"
#include "cluster/judge.h"
#include "cluster/scripts.h"

#include <stdio.h>
#include <stdlib.h>

/* Holds with assertions off as well. */
#define MUST(fact)                                                             \
    do {                                                                       \
        if (!(fact)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* ---- A reply as text: two that differ are not the same ---------------------------------- */

static void write_down(const struct reply *r, struct buf *out, unsigned depth) {
    MUST(depth <= RESP_DEPTH_MAX);
    MUST(r->kind == RESP_LIST || r->n == 0);
    switch (r->kind) {
    case RESP_NIL: MUST(buf_adds(out, "nil ") == 0); return;
    case RESP_NUMBER: MUST(buf_addf(out, "%lld ", (long long)r->number) == 0); return;
    case RESP_TEXT:
    case RESP_ERROR:
        MUST(buf_addf(out, "%d:%zu:", r->kind, r->text.n) == 0);
        MUST(buf_add(out, r->text.p, r->text.n) == 0);
        return;
    case RESP_LIST: MUST(buf_addf(out, "[%u ", r->n) == 0);
    }
    for (uint32_t i = 0; i < r->n; i++) write_down(&r->items[i], out, depth + 1);
}

/* ---- Answers ------------------------------------------------------------------------------ */

static void touch(const struct entry *e) {
    MUST(e->channel.n <= CHANNEL_NAME_MAX && e->event.n <= EVENT_NAME_MAX);
    MUST(e->key.n <= EVENT_KEY_MAX && e->data.n <= EVENT_BYTES_MAX);
}

static void read_load(const struct reply *r) {
    struct script_loaded all[SCRIPT_BATCH_MAX];
    struct script_now now;
    struct entry e;
    uint32_t n = SCRIPT_BATCH_MAX;
    if (script_loaded(r, &now, all, &n) != SCRIPT_OK) return;
    MUST(n > 0 && n <= SCRIPT_BATCH_MAX);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < all[i].history->n; j++)
            if (entry_of_history(&all[i].history->items[j], &e) == 0) touch(&e);
        for (uint32_t j = 0; j < all[i].values->n; j += 2)
            if (entry_of_value(&all[i].values->items[j], &all[i].values->items[j + 1],
                               &e) == 0)
                touch(&e);
    }
}

static void read_feed(const struct reply *r) {
    const struct reply *entries;
    struct entry e;
    uint32_t n;
    if (script_followed(r, &entries, &n) != SCRIPT_OK) return;
    for (uint32_t i = 0; i < n; i++)
        if (entry_of_feed(&entries[i], &e) == 0) touch(&e);
}

static void read_as_all(const struct reply *r) {
    struct script_joined joined;
    struct script_place places[SCRIPT_BATCH_MAX];
    struct script_now now;
    struct judge judge;
    char why[64];
    if (script_joined(r, &joined) == SCRIPT_OK) MUST(strlen(joined.epoch) > 0);
    for (uint32_t n = 1; n <= 3; n++)
        if (script_published(r, places, n) == SCRIPT_OK) MUST(r->n == n + 1);
    (void)script_now(r, &now);
    read_load(r);
    read_feed(r);
    judge_init(&judge);
    judge_config(&judge, r);
    if (r->kind == RESP_TEXT && judge_info(&judge, r->text))
        (void)judge_server(&judge, why, sizeof why);
    (void)judge_denied(r, NULL, why, sizeof why);
    if (r->kind == RESP_ERROR) (void)judge_error(r->text, "u", true, why, sizeof why);
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* How it ended; what was read is appended. */
static int read_all(struct slice bytes, size_t piece, struct buf *out) {
    struct resp *resp = resp_new();
    const struct reply *r;
    int err = 0;
    MUST(resp != NULL);
    while (err >= 0 && bytes.n > 0) {
        size_t n = bytes.n < piece ? bytes.n : piece;
        err = resp_feed(resp, slice_of(bytes.p, n));
        bytes = slice_of(bytes.p + n, bytes.n - n);
        while (err >= 0 && (err = resp_next(resp, &r)) > 0) {
            write_down(r, out, 0);
            read_as_all(r);
        }
    }
    if (err < 0) MUST(resp_next(resp, &r) == err); /* for good */
    resp_free(resp);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf whole = {0}, parts = {0};
    if (size < 2) return 0;
    struct slice bytes = slice_of((const char *)data + 1, size - 1);
    int a = read_all(bytes, bytes.n, &whole),
        b = read_all(bytes, 1u + data[0] % 40u, &parts);
    MUST(a == b);
    MUST(slice_eq(buf_slice(&whole), buf_slice(&parts)));
    buf_free(&whole);
    buf_free(&parts);
    return 0;
}
