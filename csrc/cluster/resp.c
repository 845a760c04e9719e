/* RESP on hiredis' reader; see resp.h.
 *
 * The reader calls us for each item of a tree, at its place in the list above it. All of a reply
 * lives in blocks that go together when the next one is asked for, so that an entry of some
 * twenty texts costs no allocation. What a reply has taken is known at each item; what the reader
 * holds of one that is not complete, at each feed. */
#include "cluster/resp.h"

#include "base/bounds.h"
#include "base/decimal.h"
#include "base/mem.h"
#include "base/status.h"

#ifdef HAVE_HIREDIS
#include <hiredis/hiredis.h>
#endif

#define EXACT_MAX (UINT64_C(1) << 53) /* Redis' Lua counts in doubles */

/* ---- Commands ----------------------------------------------------------------------- */

static int add_head(struct buf *out, char kind, uint64_t n) {
    char room[24], *end = room + sizeof room;
    end[-2] = '\r';
    end[-1] = '\n';
    char *head = decimal_before(end - 2, n);
    *--head = kind;
    return buf_add(out, head, (size_t)(end - head));
}

int resp_begin(struct buf *out, uint32_t n_words) {
    return add_head(out, '*', n_words);
}

int resp_word(struct buf *out, struct slice word) {
    if (add_head(out, '$', word.n) < 0 || buf_add(out, word.p, word.n) < 0)
        return E_NOMEM;
    return buf_add(out, "\r\n", 2);
}

int resp_parts(struct buf *out, const struct slice *parts, size_t n) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += parts[i].n;
    int err = add_head(out, '$', bytes);
    for (size_t i = 0; i < n && err == 0; i++) err = buf_add(out, parts[i].p, parts[i].n);
    return err < 0 ? err : buf_add(out, "\r\n", 2);
}

int resp_words(struct buf *out, const char *word) {
    return resp_word(out, slice_str(word));
}

int resp_number(struct buf *out, uint64_t n) {
    char room[20], *end = room + sizeof room;
    char *digits = decimal_before(end, n);
    return resp_word(out, slice_of(digits, (size_t)(end - digits)));
}

/* ---- Replies ------------------------------------------------------------------------ */

bool reply_is(const struct reply *r, const char *text) {
    return r->kind == RESP_TEXT && slice_eq(r->text, slice_str(text));
}

bool reply_is_error(const struct reply *r, const char *word) {
    size_t n = strlen(word);
    if (r->kind != RESP_ERROR || r->text.n < n || memcmp(r->text.p, word, n) != 0)
        return false;
    return r->text.n == n || r->text.p[n] == ' ';
}

struct slice reply_text(const struct reply *r, uint32_t item) {
    if (r->kind != RESP_LIST || item >= r->n || r->items[item].kind != RESP_TEXT)
        return slice_of("", 0);
    return r->items[item].text;
}

int text_number(struct slice text, uint64_t *out) {
    uint64_t n = 0;
    if (text.n == 0 || text.n > 16) return E_INVAL;
    for (const char *at = text.p, *end = at + text.n; at < end; at++) {
        unsigned digit = (unsigned)*at - '0';
        if (digit > 9) return E_INVAL;
        n = n * 10 + digit;
    }
    if (n >= EXACT_MAX) return E_INVAL;
    *out = n;
    return 0;
}

int reply_number(const struct reply *r, uint64_t *out) {
    if (r->kind == RESP_NUMBER && r->number >= 0) {
        *out = (uint64_t)r->number;
        return 0;
    }
    return r->kind == RESP_TEXT ? text_number(r->text, out) : E_INVAL;
}

#ifdef HAVE_HIREDIS

#if HIREDIS_MAJOR >= 1
typedef size_t items_n;
#else
typedef int items_n;
#endif

struct block {
    struct block *next;
    size_t n, size;
    char bytes[];
};

struct resp {
    redisReader *reader;
    struct block *blocks;
    size_t bytes; /* in the blocks */
    uint32_t items;
    bool given; /* the tree in the blocks was handed out */
    int error;
};

/* Memory for the tree that is being read; NULL is an error for good. */
static void *take(struct resp *r, size_t n) {
    struct block *b = r->blocks;
    n = (n + 15) & ~(size_t)15;
    r->bytes += n;
    if (r->bytes > RESP_REPLY_MAX + RESP_ITEMS_MAX * sizeof(struct reply)) {
        r->error = E_TOOBIG;
        return NULL;
    }
    if (!b || b->size - b->n < n) {
        size_t size = n > RESP_BLOCK_BYTES ? n : RESP_BLOCK_BYTES;
        b = mem_try(sizeof *b + size);
        if (!b) {
            r->error = E_NOMEM;
            return NULL;
        }
        *b = (struct block){r->blocks, 0, size};
        r->blocks = b;
    }
    void *p = b->bytes + b->n;
    b->n += n;
    return p;
}

/* The usual block stays for the next tree. */
static void clear(struct resp *r, bool all) {
    struct block *kept = NULL;
    for (struct block *b = r->blocks, *next; b; b = next) {
        next = b->next;
        if (!all && !kept && b->size == RESP_BLOCK_BYTES) {
            kept = b;
            kept->n = 0;
            kept->next = NULL;
        } else {
            mem_free(b);
        }
    }
    r->blocks = kept;
    r->bytes = 0;
    r->items = 0;
}

/* Where the item belongs. */
static struct reply *place(const redisReadTask *task, enum resp_kind kind) {
    struct reply *p;
    if (task->parent) p = &((struct reply *)task->parent->obj)->items[task->idx];
    else p = take(task->privdata, sizeof *p);
    if (p) *p = (struct reply){.kind = kind};
    return p;
}

static void *refuse(const redisReadTask *task, int error) {
    ((struct resp *)task->privdata)->error = error;
    return NULL;
}

static void *on_text(const redisReadTask *task, char *bytes, size_t n) {
    enum resp_kind kind = task->type == REDIS_REPLY_ERROR ? RESP_ERROR : RESP_TEXT;
    if (kind == RESP_TEXT && task->type != REDIS_REPLY_STRING &&
        task->type != REDIS_REPLY_STATUS)
        return refuse(task, E_INVAL);
    struct reply *p = place(task, kind);
    char *copy = p ? take(task->privdata, n + 1) : NULL;
    if (!copy) return NULL;
    memcpy(copy, bytes, n);
    copy[n] = '\0';
    p->text = slice_of(copy, n);
    return p;
}

static void *on_list(const redisReadTask *task, items_n n) {
    struct resp *r = task->privdata;
    unsigned depth = 1;
    if (task->type != REDIS_REPLY_ARRAY) return refuse(task, E_INVAL);
    for (const redisReadTask *up = task->parent; up; up = up->parent) depth++;
    if (depth > RESP_DEPTH_MAX || (uint64_t)n > RESP_ITEMS_MAX - r->items)
        return refuse(task, E_TOOBIG);
    struct reply *p = place(task, RESP_LIST);
    if (!p || n == 0) return p;
    p->items = take(r, (size_t)n * sizeof *p->items);
    if (!p->items) return NULL;
    memset(p->items, 0, (size_t)n * sizeof *p->items);
    p->n = (uint32_t)n;
    r->items += (uint32_t)n;
    return p;
}

static void *on_number(const redisReadTask *task, long long n) {
    struct reply *p = place(task, RESP_NUMBER);
    if (p) p->number = n;
    return p;
}

static void *on_nil(const redisReadTask *task) {
    return place(task, RESP_NIL);
}

#if HIREDIS_MAJOR >= 1
static void *on_double(const redisReadTask *task, double n, char *text, size_t length) {
    (void)n, (void)text, (void)length;
    return refuse(task, E_INVAL);
}

static void *on_boolean(const redisReadTask *task, int is) {
    (void)is;
    return refuse(task, E_INVAL);
}
#endif

/* The blocks are freed as a whole. */
static void on_free(void *p) {
    (void)p;
}

static redisReplyObjectFunctions FUNCTIONS = {
    .createString = on_text,
    .createArray = on_list,
    .createInteger = on_number,
    .createNil = on_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = on_double,
    .createBool = on_boolean,
#endif
    .freeObject = on_free,
};

bool resp_can_read(void) {
    return true;
}

struct resp *resp_new(void) {
    struct resp *r = mem_new(sizeof *r);
    r->reader = redisReaderCreateWithFunctions(&FUNCTIONS);
    if (r->reader) r->reader->privdata = r;
    else r->error = E_NOMEM;
    return r;
}

void resp_free(struct resp *r) {
    if (!r) return;
    if (r->reader) redisReaderFree(r->reader);
    clear(r, true);
    mem_free(r);
}

int resp_feed(struct resp *r, struct slice bytes) {
    if (r->error) return r->error;
    if (r->reader->len - r->reader->pos + bytes.n > RESP_REPLY_MAX) r->error = E_TOOBIG;
    else if (redisReaderFeed(r->reader, bytes.p, bytes.n) != REDIS_OK) r->error = E_NOMEM;
    return r->error;
}

int resp_next(struct resp *r, const struct reply **out) {
    void *tree = NULL;
    if (r->error) return r->error;
    if (r->given) clear(r, false);
    r->given = false;
    if (redisReaderGetReply(r->reader, &tree) != REDIS_OK) {
        if (!r->error) r->error = E_INVAL;
        return r->error;
    }
    r->given = tree != NULL;
    *out = tree;
    return tree != NULL;
}

#else /* without hiredis */

bool resp_can_read(void) {
    return false;
}

struct resp *resp_new(void) {
    return NULL;
}

void resp_free(struct resp *r) {
    (void)r;
}

int resp_feed(struct resp *r, struct slice bytes) {
    (void)r, (void)bytes;
    return E_INVAL;
}

int resp_next(struct resp *r, const struct reply **out) {
    (void)r, (void)out;
    return E_INVAL;
}

#endif
