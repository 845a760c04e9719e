/* How the scripts are asked and what they answer; see scripts.h.
 *
 * An answer that is no refusal begins with OK, and has the shape that the text in script_texts.c gives
 * it. What it holds is still another process's: each number and length is looked at. */
#include "cluster/scripts.h"

#include "base/bounds.h"
#include "base/status.h"

#include <stdio.h>

#define EVENT_WORDS 2
#define VALUE_WORDS 3 /* more, of what has newest values */
#define LOAD_WORDS 4
#define MARK_WORDS 4

/* ---- Calls ---------------------------------------------------------------------------- */

/* A command that is written; the first failure stays. */
struct call {
    struct buf *out;
    const struct scripts *scripts;
    int err;
    const char *slot; /* pub: whose events they are */
};

static void put(struct call *c, struct slice word) {
    if (c->err == 0) c->err = resp_word(c->out, word);
}

static void put_text(struct call *c, const char *word) {
    put(c, slice_str(word));
}

static void put_number(struct call *c, uint64_t n) {
    if (c->err == 0) c->err = resp_number(c->out, n);
}

static void put_key(struct call *c, const char *kind, struct slice channel,
                    struct slice rest) {
    char key[sizeof "sluice:{}:i:" + CLUSTER_NAME_MAX + CHANNEL_NAME_MAX + 1 +
             EVENT_KEY_MAX];
    int n = snprintf(key, sizeof key, "sluice:{%s}:%s", c->scripts->name, kind);
    if (channel.n + rest.n + (size_t)n + 1 > sizeof key) {
        if (c->err == 0) c->err = E_TOOBIG;
        return;
    }
    memcpy(key + n, channel.p, channel.n);
    n += (int)channel.n;
    if (rest.n > 0) {
        key[n++] = '\0';
        memcpy(key + n, rest.p, rest.n);
        n += (int)rest.n;
    }
    put(c, slice_of(key, (size_t)n));
}

static void put_plain_key(struct call *c, const char *kind) {
    put_key(c, kind, slice_of("", 0), slice_of("", 0));
}

/* EVALSHA, with the first of the keys m, f, t, n: as many as the script has. */
static struct call begin(struct buf *out, const struct scripts *s, enum script which,
                         uint32_t n_more, uint32_t n_words) {
    static const char *const PLAIN[] = {"m", "f", "t", "n"};
    static const uint8_t N_PLAIN[SCRIPTS] = {
        [SCRIPT_JOIN] = 4, [SCRIPT_PUB] = 3,  [SCRIPT_BEAT] = 4,
        [SCRIPT_LOAD] = 3, [SCRIPT_PAGE] = 1, [SCRIPT_MARK] = 3,
        [SCRIPT_HEAD] = 1, [SCRIPT_KEEP] = 1, [SCRIPT_PROBE] = 4};
    uint32_t n_plain = N_PLAIN[which], n_keys = n_plain + n_more;
    struct call c = {out, s, resp_begin(out, 3 + n_keys + n_words), NULL};
    put_text(&c, "EVALSHA");
    put_text(&c, s->sha[which]);
    put_number(&c, n_keys);
    for (uint32_t i = 0; i < n_plain; i++) put_plain_key(&c, PLAIN[i]);
    return c;
}

static void put_proof(struct call *c, const struct script_proof *p) {
    put_text(c, p->epoch);
    put_text(c, p->slot);
    put_text(c, p->fence);
    put_number(c, p->known);
    put_text(c, p->replid);
}

static const char *safe_text(enum script_safe safe) {
    static const char *const TEXTS[] = {
        [SAFE_NO] = "0", [SAFE_YES] = "1", [SAFE_UNKNOWN] = ""};
    return TEXTS[safe];
}

int script_join(struct buf *out, const struct scripts *s, const struct script_join *ask) {
    struct call c = begin(out, s, SCRIPT_JOIN, 0, 7);
    put_text(&c, ask->slot);
    put_text(&c, ask->epoch);
    put_number(&c, ask->known);
    put_text(&c, ask->new_epoch);
    put_text(&c, safe_text(ask->safe));
    put_text(&c, ask->label);
    put_text(&c, ask->rules ? ask->rules : "");
    return c.err;
}

/* What it has: a history, newest values, an idempotency key. A notice has none. */
static bool is_listed(const struct script_event *e) {
    return e->kind == 'l' || e->kind == 'k';
}

static bool is_hashed(const struct script_event *e) {
    return e->kind == 's' || e->kind == 'k';
}

static bool is_once(const struct script_event *e) {
    return e->idempotency.n > 0;
}

static void put_keys(struct call *c, const struct script_event *e) {
    struct slice none = slice_of("", 0);
    if (is_listed(e)) put_key(c, "l:", e->channel, none);
    if (is_hashed(e)) put_key(c, "s:", e->channel, none);
    if (is_once(e)) put_key(c, "i:", e->channel, e->idempotency);
}

/* What its line has from x on; 'at' is where its data begins. */
static void put_rest(struct call *c, const struct script_event *e, const char *x,
                     const char *flags, uint32_t *at) {
    static const struct slice NUL = {"", 1};
    char head[SCRIPT_WORD_MAX + 64];
    int n = snprintf(head, sizeof head, "%s %s %s.%.*s ", x, flags, c->slot,
                     (int)e->token.n, e->token.p);
    const struct slice parts[] = {
        {head, (size_t)n}, e->channel, NUL, e->event, NUL, e->key, NUL, e->data};
    if (c->err == 0) c->err = resp_parts(c->out, parts, sizeof parts / sizeof *parts);
    *at = (uint32_t)((size_t)n + e->channel.n + e->event.n + e->key.n + 3);
}

static void put_field(struct call *c, const struct script_event *e) {
    const struct slice parts[] = {e->event, {"", 1}, e->key};
    if (c->err == 0) c->err = resp_parts(c->out, parts, sizeof parts / sizeof *parts);
}

static void put_expected(struct call *c, const struct script_event *e) {
    const struct slice parts[] = {{"=", e->expected.p ? 1 : 0}, e->expected};
    if (c->err == 0) c->err = resp_parts(c->out, parts, sizeof parts / sizeof *parts);
}

static void put_event(struct call *c, const struct script_event *e) {
    char rule[72], lease[24] = "", x[24], flags[5], *flag = flags;
    uint32_t at;
    if (e->remove) *flag++ = 'r';
    if (is_once(e)) *flag++ = 'i';
    if (e->is_judged) *flag++ = 'c';
    if (e->is_owned) *flag++ = 'o';
    *flag = '\0';
    if (e->lease > 0)
        snprintf(lease, sizeof lease, " %llu", (unsigned long long)e->lease);
    snprintf(rule, sizeof rule, "%c %u %u %u %s%s", e->kind, e->history, e->ttl_s,
             e->keys_max, flags, lease);
    snprintf(x, sizeof x, "%lld", e->expires_ms > 0 ? (long long)e->expires_ms : 0);
    put_text(c, rule);
    put_rest(c, e, x, flags, &at);
    if (is_hashed(e)) {
        put_field(c, e);
        put_text(c, x);
        put_number(c, at);
        if (e->is_judged) put_expected(c, e);
    }
    if (is_once(e)) put_number(c, e->crc);
}

int script_pub(struct buf *out, const struct scripts *s, const struct script_proof *p,
               const struct script_event *events, uint32_t n) {
    uint32_t keys = 0, words = 5;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t listed = is_listed(&events[i]), hashed = is_hashed(&events[i]);
        uint32_t once = is_once(&events[i]);
        keys += listed + hashed + once;
        words += EVENT_WORDS + hashed * VALUE_WORDS + once + events[i].is_judged;
    }
    struct call c = begin(out, s, SCRIPT_PUB, keys, words);
    c.slot = p->slot;
    for (uint32_t i = 0; i < n; i++) put_keys(&c, &events[i]);
    put_proof(&c, p);
    for (uint32_t i = 0; i < n; i++) put_event(&c, &events[i]);
    return c.err;
}

int script_beat(struct buf *out, const struct scripts *s, const struct script_proof *p,
                const struct script_beat *ask) {
    struct call c = begin(out, s, SCRIPT_BEAT, 0, 11);
    put_proof(&c, p);
    put_text(&c, ask->label);
    put_text(&c, safe_text(ask->safe));
    if (ask->feed_events > 0) put_number(&c, ask->feed_events);
    else put_text(&c, "");
    put_text(&c, ask->rules ? ask->rules : "");
    put_text(&c, ask->would_lead ? "1" : "0");
    put_text(&c, ask->reaps ? "1" : "0");
    return c.err;
}

int script_head(struct buf *out, const struct scripts *s, const struct script_proof *p) {
    struct call c = begin(out, s, SCRIPT_HEAD, 0, 5);
    put_proof(&c, p);
    return c.err;
}

int script_keep(struct buf *out, const struct scripts *s, const struct script_proof *p) {
    struct call c = begin(out, s, SCRIPT_KEEP, 0, 5);
    put_proof(&c, p);
    return c.err;
}

int script_load(struct buf *out, const struct scripts *s, const struct script_proof *p,
                const struct script_load *channels, uint32_t n) {
    struct slice none = slice_of("", 0);
    struct call c = begin(out, s, SCRIPT_LOAD, 2 * n, 5 + LOAD_WORDS * n);
    for (uint32_t i = 0; i < n; i++) {
        put_key(&c, "l:", channels[i].channel, none);
        put_key(&c, "s:", channels[i].channel, none);
    }
    put_proof(&c, p);
    for (uint32_t i = 0; i < n; i++) {
        put(&c, slice_of(&channels[i].kind, 1));
        put_number(&c, channels[i].ttl_s);
        put_number(&c, channels[i].before);
        put(&c, channels[i].cursor);
    }
    return c.err;
}

int script_page(struct buf *out, const struct scripts *s, const struct script_proof *p,
                const struct script_page *ask) {
    struct call c = begin(out, s, SCRIPT_PAGE, 1, 11);
    put_key(&c, "l:", ask->channel, slice_of("", 0));
    put_proof(&c, p);
    put_number(&c, ask->above);
    put_number(&c, ask->upto);
    put_number(&c, ask->joined);
    put_number(&c, ask->newest);
    put_number(&c, ask->events);
    put_number(&c, ask->bytes);
    return c.err;
}

int script_mark(struct buf *out, const struct scripts *s, const struct script_proof *p,
                const struct script_mark *channels, uint32_t n) {
    struct slice none = slice_of("", 0);
    struct call c = begin(out, s, SCRIPT_MARK, n, 5 + MARK_WORDS * n);
    for (uint32_t i = 0; i < n; i++) put_key(&c, "l:", channels[i].channel, none);
    put_proof(&c, p);
    for (uint32_t i = 0; i < n; i++) {
        put(&c, channels[i].channel);
        put_number(&c, channels[i].ttl_s);
        put_number(&c, channels[i].history);
        put_number(&c, channels[i].since_ms);
    }
    return c.err;
}

int script_probe(struct buf *out, const struct scripts *s) {
    struct slice channel = slice_of("x", 1), none = slice_of("", 0);
    struct call c = begin(out, s, SCRIPT_PROBE, 3, 0);
    put_key(&c, "l:", channel, none);
    put_key(&c, "s:", channel, none);
    put_key(&c, "i:", channel, none);
    return c.err;
}

int script_wait(struct buf *out, uint32_t replicas, uint32_t wait_ms) {
    struct call c = {out, NULL, resp_begin(out, replicas > 0 ? 3 : 4), NULL};
    put_text(&c, replicas > 0 ? "WAIT" : "WAITAOF");
    if (replicas == 0) put_number(&c, 1);
    put_number(&c, replicas);
    put_number(&c, wait_ms);
    return c.err;
}

uint64_t script_waited(const struct reply *r) {
    uint64_t n = 0;
    if (r->kind == RESP_LIST && r->n > 0) r = &r->items[0];
    return reply_number(r, &n) == 0 ? n : 0;
}

int script_follow(struct buf *out, const struct scripts *s, uint64_t after,
                  uint32_t count, uint32_t block_ms) {
    char id[24];
    struct call c = {out, s, resp_begin(out, 8), NULL};
    put_text(&c, "XREAD");
    put_text(&c, "COUNT");
    put_number(&c, count);
    put_text(&c, "BLOCK");
    put_number(&c, block_ms);
    put_text(&c, "STREAMS");
    put_plain_key(&c, "f");
    snprintf(id, sizeof id, "0-%llu", (unsigned long long)after);
    put_text(&c, id);
    return c.err;
}

/* ---- Refusals -------------------------------------------------------------------------- */

static const struct {
    const char *word;
    enum script_answer is;
} OURS[] =
    {
        {"OK", SCRIPT_OK},       {"REPLICA", SCRIPT_REPLICA}, {"REPLID", SCRIPT_REPLID},
        {"EPOCH", SCRIPT_EPOCH}, {"FENCE", SCRIPT_FENCE},     {"BACK", SCRIPT_BACK},
        {"NEWER", SCRIPT_NEWER}, {"OLDER", SCRIPT_OLDER},     {"EVICTED", SCRIPT_EVICTED},
},
  ERRORS[] = {
      {"OOM", SCRIPT_OOM},
      {"NOREPLICAS", SCRIPT_NOREPLICAS},
      {"MISCONF", SCRIPT_MISCONF},
      {"NOSCRIPT", SCRIPT_NOSCRIPT},
      {"WRONGTYPE", SCRIPT_WRONGTYPE},
      {"NOPERM", SCRIPT_DENIED},
      {"NOAUTH", SCRIPT_DENIED},
      {"READONLY", SCRIPT_REPLICA},
      {"LOADING", SCRIPT_REPLICA},
      {"MASTERDOWN", SCRIPT_REPLICA},
};

static const char *const WORDS[] = {
    [SCRIPT_OK] = "OK",
    [SCRIPT_REPLICA] = "REPLICA",
    [SCRIPT_REPLID] = "REPLID",
    [SCRIPT_EPOCH] = "EPOCH",
    [SCRIPT_FENCE] = "FENCE",
    [SCRIPT_BACK] = "BACK",
    [SCRIPT_EVICTED] = "EVICTED",
    [SCRIPT_NEWER] = "NEWER",
    [SCRIPT_OLDER] = "OLDER",
    [SCRIPT_OOM] = "OOM",
    [SCRIPT_NOREPLICAS] = "NOREPLICAS",
    [SCRIPT_MISCONF] = "MISCONF",
    [SCRIPT_NOSCRIPT] = "NOSCRIPT",
    [SCRIPT_WRONGTYPE] = "WRONGTYPE",
    [SCRIPT_DENIED] = "DENIED",
    [SCRIPT_FAILED] = "FAILED",
    [SCRIPT_SENSELESS] = "SENSELESS",
};

const char *script_answer_word(enum script_answer a) {
    return WORDS[a];
}

/* What Redis says of an error inside of a script is its text, with more before and behind. */
static enum script_answer of_error(const struct reply *r) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (reply_is_error(r, ERRORS[i].word)) return ERRORS[i].is;
    return SCRIPT_FAILED;
}

enum script_answer script_answer(const struct reply *r) {
    if (r->kind == RESP_ERROR) return of_error(r);
    struct slice word = reply_text(r, 0);
    for (size_t i = 0; i < sizeof OURS / sizeof *OURS; i++)
        if (slice_eq(word, slice_str(OURS[i].word))) return OURS[i].is;
    return SCRIPT_SENSELESS;
}

/* ---- Answers --------------------------------------------------------------------------- */

/* Items of an answer, one after the other; the first that makes no sense stays. */
struct items {
    const struct reply *list;
    uint32_t at;
    bool wrong;
};

static const struct reply *next(struct items *i) {
    static const struct reply NONE = {.kind = RESP_NIL};
    if (i->at >= i->list->n) {
        i->wrong = true;
        return &NONE;
    }
    return &i->list->items[i->at++];
}

static uint64_t next_number(struct items *i) {
    uint64_t n = 0;
    if (reply_number(next(i), &n) < 0) i->wrong = true;
    return n;
}

static struct slice next_text(struct items *i) {
    const struct reply *r = next(i);
    if (r->kind == RESP_TEXT) return r->text;
    i->wrong = true;
    return slice_of("", 0);
}

/* A word without spaces and signs that separate. */
static bool copy_word(struct slice from, char *to, size_t size) {
    if (from.n == 0 || from.n >= size) return false;
    for (size_t i = 0; i < from.n; i++) {
        char c = from.p[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                    (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
        if (!fine) return false;
    }
    memcpy(to, from.p, from.n);
    to[from.n] = '\0';
    return true;
}

static void next_word(struct items *i, char *to, size_t size) {
    if (!copy_word(next_text(i), to, size)) i->wrong = true;
}

enum script_answer script_joined(const struct reply *r, struct script_joined *out) {
    enum script_answer a = script_answer(r);
    if (a != SCRIPT_OK) return a;
    struct items i = {r, 1, false};
    *out = (struct script_joined){0};
    next_word(&i, out->epoch, sizeof out->epoch);
    next_word(&i, out->fence, sizeof out->fence);
    out->seq = next_number(&i);
    out->lineage = next_text(&i);
    out->took = next_number(&i) == 1;
    next_word(&i, out->run, sizeof out->run);
    next_word(&i, out->replid, sizeof out->replid);
    out->mark = next_number(&i);
    out->now_ms = (int64_t)next_number(&i);
    out->age_ms = next_number(&i);
    out->reaped = r->n > i.at && next_number(&i) == 1;
    if (r->n > i.at) out->by = next_text(&i);
    return i.wrong ? SCRIPT_SENSELESS : SCRIPT_OK;
}

/* "=epoch-number crc": an idempotency key's. */
static bool read_repeat(struct slice text, struct script_place *out) {
    const char *space = memrchr(text.p, ' ', text.n);
    const char *dash = space ? memrchr(text.p, '-', (size_t)(space - text.p)) : NULL;
    if (!dash) return false;
    const char *end = text.p + text.n;
    struct reply number = {.kind = RESP_TEXT,
                           .text = {dash + 1, (size_t)(space - dash - 1)}};
    struct reply crc = {.kind = RESP_TEXT,
                        .text = {space + 1, (size_t)(end - space - 1)}};
    uint64_t sum;
    out->is_repeat = true;
    if (reply_number(&number, &out->seq) < 0 || reply_number(&crc, &sum) < 0 ||
        sum > UINT32_MAX)
        return false;
    out->crc = (uint32_t)sum;
    return copy_word(slice_of(text.p + 1, (size_t)(dash - text.p - 1)), out->epoch,
                     sizeof out->epoch);
}

enum script_answer script_published(const struct reply *r, struct script_place *out,
                                    uint32_t n) {
    enum script_answer a = script_answer(r);
    if (a != SCRIPT_OK) return a;
    if (r->n != n + 1) return SCRIPT_SENSELESS;
    for (uint32_t i = 0; i < n; i++) {
        struct slice text = reply_text(r, i + 1);
        out[i] = (struct script_place){0};
        out[i].is_deposed = slice_eq(text, slice_str("!"));
        out[i].is_unmet = slice_eq(text, slice_str("?"));
        if (out[i].is_deposed || out[i].is_unmet) continue;
        bool fine = text.n > 0 && text.p[0] == '='
                        ? read_repeat(text, &out[i])
                        : reply_number(&r->items[i + 1], &out[i].seq) == 0;
        if (!fine) return SCRIPT_SENSELESS;
    }
    return SCRIPT_OK;
}

static void read_now(struct items *i, struct script_now *out) {
    *out = (struct script_now){0};
    out->seq = next_number(i);
    out->now_ms = (int64_t)next_number(i);
    out->mark = next_number(i);
}

static void read_lead(struct items *i, struct script_now *out) {
    struct slice leader = next_text(i);
    if (leader.n > 0 && !copy_word(leader, out->leader, sizeof out->leader))
        i->wrong = true;
    out->lease = next_number(i);
    out->lease_ms = (int64_t)next_number(i);
}

enum script_answer script_now(const struct reply *r, struct script_now *out) {
    enum script_answer a = script_answer(r);
    if (a != SCRIPT_OK) return a;
    struct items i = {r, 1, false};
    read_now(&i, out);
    out->nodes = (uint32_t)next_number(&i);
    if (i.at < r->n) {
        out->slots = next_text(&i);
        out->reaped = (uint32_t)next_number(&i);
        out->unlike = next_text(&i);
        read_lead(&i, out);
    }
    return i.wrong ? SCRIPT_SENSELESS : SCRIPT_OK;
}

static bool read_loaded(const struct reply *r, struct script_loaded *out) {
    if (r->kind != RESP_LIST) return false;
    struct items i = {r, 0, false};
    out->floor = next_number(&i);
    out->last = next_number(&i);
    out->before = next_number(&i);
    out->cursor = next_text(&i);
    out->history = next(&i);
    out->values = next(&i);
    return !i.wrong && out->history->kind == RESP_LIST &&
           out->values->kind == RESP_LIST && out->values->n % 2 == 0;
}

enum script_answer script_loaded(const struct reply *r, struct script_now *now,
                                 struct script_loaded *out, uint32_t *n) {
    enum script_answer a = script_answer(r);
    if (a != SCRIPT_OK) return a;
    struct items i = {r, 1, false};
    read_now(&i, now);
    uint32_t came = r->n - i.at;
    if (i.wrong || came == 0 || came > *n) return SCRIPT_SENSELESS;
    for (uint32_t j = 0; j < came; j++)
        if (!read_loaded(&r->items[i.at + j], &out[j])) return SCRIPT_SENSELESS;
    *n = came;
    return SCRIPT_OK;
}

enum script_answer script_paged(const struct reply *r, struct script_paged *out) {
    enum script_answer a = script_answer(r);
    if (a != SCRIPT_OK) return a;
    struct items i = {r, 1, false};
    struct script_now now;
    read_now(&i, &now);
    out->floor = next_number(&i);
    out->above = next_number(&i);
    out->given = next_number(&i);
    out->history = next(&i);
    return i.wrong || out->history->kind != RESP_LIST ? SCRIPT_SENSELESS : SCRIPT_OK;
}

enum script_answer script_followed(const struct reply *r, const struct reply **entries,
                                   uint32_t *n) {
    *entries = NULL;
    *n = 0;
    if (r->kind == RESP_NIL) return SCRIPT_OK;
    if (r->kind == RESP_ERROR) return of_error(r);
    if (r->kind != RESP_LIST || r->n != 1 || r->items[0].kind != RESP_LIST ||
        r->items[0].n != 2 || r->items[0].items[1].kind != RESP_LIST)
        return SCRIPT_SENSELESS;
    *entries = r->items[0].items[1].items;
    *n = r->items[0].items[1].n;
    return SCRIPT_OK;
}
