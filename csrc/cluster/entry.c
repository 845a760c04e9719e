/* Entries, read field by field; see entry.h, and script_texts.c for what they look like. */
#include "cluster/entry.h"

#include "base/bounds.h"
#include "base/status.h"
#include "cluster/notice.h"

/* ---- Pieces of a text ------------------------------------------------------------------ */

/* The bytes up to 'mark', which is passed; false: there is no such byte. */
static bool take_until(struct slice *rest, char mark, struct slice *out) {
    const char *at = rest->n > 0 ? memchr(rest->p, mark, rest->n) : NULL;
    if (!at) return false;
    *out = slice_of(rest->p, (size_t)(at - rest->p));
    *rest = slice_of(at + 1, rest->n - out->n - 1);
    return true;
}

static bool read_number(struct slice text, uint64_t *out) {
    return text_number(text, out) == 0;
}

static bool read_time(struct slice text, int64_t *out) {
    uint64_t n;
    if (!read_number(text, &n)) return false;
    *out = (int64_t)n;
    return true;
}

static bool take_number(struct slice *rest, uint64_t *out) {
    struct slice text;
    return take_until(rest, ' ', &text) && read_number(text, out);
}

/* "12", or "~12". */
static bool read_prior(struct slice text, struct entry *out) {
    out->is_bound = text.n > 0 && text.p[0] == '~';
    if (out->is_bound) text = slice_of(text.p + 1, text.n - 1);
    return read_number(text, &out->prior);
}

static bool has_sizes(const struct entry *e) {
    return e->channel.n <= CHANNEL_NAME_MAX && e->event.n <= EVENT_NAME_MAX &&
           e->key.n <= EVENT_KEY_MAX && e->data.n <= EVENT_BYTES_MAX;
}

/* ---- The feed -------------------------------------------------------------------------- */

/* "seq prior t x flags slot.token channel\0event\0key\0data" */
static bool read_line(struct slice rest, struct entry *out) {
    struct slice prior, flags;
    uint64_t time, expires;
    if (!take_number(&rest, &out->seq) || !take_until(&rest, ' ', &prior) ||
        !read_prior(prior, out) || !take_number(&rest, &time) ||
        !take_number(&rest, &expires) || !take_until(&rest, ' ', &flags) ||
        !take_until(&rest, '.', &out->slot) || !take_until(&rest, ' ', &out->token) ||
        !take_until(&rest, '\0', &out->channel) ||
        !take_until(&rest, '\0', &out->event) || !take_until(&rest, '\0', &out->key))
        return false;
    out->remove = memchr(flags.p, 'r', flags.n) != NULL;
    out->is_idempotent = memchr(flags.p, 'i', flags.n) != NULL;
    if (memchr(flags.p, 'v', flags.n)) out->kind = FEED_MARK;
    out->time_ms = (int64_t)time;
    out->expires_ms = (int64_t)expires;
    out->data = rest;
    return true;
}

/* What one field of an entry says; what is rare has several. */
static bool read_field(struct slice name, struct slice value, struct entry *out,
                       char *kind) {
    static const struct {
        const char *name;
        enum entry_kind kind;
    } EVENTS[] = {{"log", FEED_LOG}, {"keyed", FEED_KEYED}, {"state", FEED_STATE}};
    for (size_t i = 0; name.n > 1 && i < sizeof EVENTS / sizeof *EVENTS; i++) {
        if (!slice_eq(name, slice_str(EVENTS[i].name))) continue;
        *kind = (char)EVENTS[i].kind;
        uint64_t seq = out->seq;
        return read_line(value, out) && out->seq == seq;
    }
    if (slice_eq_lit(name, "gone")) out->evicted = value;
    if (slice_eq_lit(name, "notice")) {
        uint64_t seq = out->seq;
        return read_line(value, out) && out->seq == seq;
    }
    if (name.n != 1) return true;
    switch (name.p[0]) {
    case 'k': *kind = value.n == 1 ? value.p[0] : FEED_OTHER; return true;
    case 'c': out->channel = value; return true;
    case 'e': out->event = value; return true;
    case 'y': out->key = value; return true;
    case 'p': return value.n == 0 || read_prior(value, out);
    case 'n': out->token = value; return take_until(&out->token, '.', &out->slot);
    case 't': return read_time(value, &out->time_ms);
    case 'd': out->data = value; return true;
    default: return true; /* of a later version */
    }
}

static int judge(struct entry *e, char kind) {
    switch (kind) {
    case FEED_LOG:
    case FEED_KEYED:
    case FEED_STATE: return e->channel.n > 0 && e->slot.n > 0 ? kind : 0;
    case FEED_MARK: return kind;
    case FEED_EPOCH: return e->event.n > 0 ? kind : 0;
    default: break;
    }
    if (!notice_is_known(kind)) return FEED_OTHER;
    e->letter = kind;
    return e->channel.n == 0 && e->event.n > 0 && e->slot.n > 0 ? FEED_NOTICE : 0;
}

int entry_of_feed(const struct reply *r, struct entry *out) {
    struct slice id = reply_text(r, 0);
    *out = (struct entry){.kind = FEED_OTHER};
    if (id.n < 3 || memcmp(id.p, "0-", 2) != 0 ||
        !read_number(slice_of(id.p + 2, id.n - 2), &out->seq))
        return E_INVAL;
    if (r->n != 2 || r->items[1].kind != RESP_LIST || r->items[1].n % 2 != 0)
        return E_INVAL;
    const struct reply *fields = &r->items[1];
    char kind = FEED_OTHER;
    for (uint32_t i = 0; i < fields->n; i += 2) {
        if (fields->items[i + 1].kind != RESP_TEXT ||
            !read_field(reply_text(fields, i), fields->items[i + 1].text, out, &kind))
            return E_INVAL;
    }
    int is = judge(out, kind);
    if (is == 0 || !has_sizes(out)) return E_INVAL;
    out->kind = (enum entry_kind)is;
    return 0;
}

uint64_t entry_token(const struct entry *e) {
    uint64_t number = 0;
    for (size_t i = 0; i < e->token.n && i < 19; i++) {
        if (e->token.p[i] < '0' || e->token.p[i] > '9') return 0;
        number = number * 10 + (uint64_t)(e->token.p[i] - '0');
    }
    return number;
}

/* ---- Histories and values --------------------------------------------------------------- */

int entry_of_history(const struct reply *r, struct entry *out) {
    *out = (struct entry){.kind = FEED_LOG};
    if (r->kind != RESP_TEXT || !read_line(r->text, out)) return E_INVAL;
    return out->seq > 0 && has_sizes(out) ? 0 : E_INVAL;
}

int entry_of_value(const struct reply *field, const struct reply *value,
                   struct entry *out) {
    struct slice name = field->text, rest = value->text, expires;
    uint64_t time;
    *out = (struct entry){.kind = FEED_STATE};
    if (field->kind != RESP_TEXT || value->kind != RESP_TEXT ||
        !take_until(&name, '\0', &out->event) || !take_number(&rest, &out->seq) ||
        !take_number(&rest, &time) || !take_until(&rest, '\0', &expires) ||
        !read_time(expires, &out->expires_ms))
        return E_INVAL;
    out->key = name;
    out->time_ms = (int64_t)time;
    out->data = rest;
    return out->seq > 0 && has_sizes(out) ? 0 : E_INVAL;
}
