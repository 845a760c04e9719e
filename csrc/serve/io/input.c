/* Heads and bodies; see input.h. */
#include "serve/io/input.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "net/http_parse.h"
#include "net/url.h"
#include "serve/io/dispatch.h"
#include "serve/io/exchange.h"
#include "serve/io/mux.h"
#include "serve/io/upload.h"
#include "serve/io/worker.h"

/* ---- Bodies ------------------------------------------------------------------------- */

static void run_request(struct conn *c) {
    if (c->half_closed && request_streams(c->talk->request)) {
        conn_finish(c); /* nothing would read it */
        return;
    }
    c->phase = CONN_WAIT;
    c->talk->since_ms = conn_worker(c)->now_ms;
    if (dispatch(c, c->talk->request)) conn_next(c);
}

/* The status that dispatch_check found, now that nothing of the request is left. */
static void answer_refused(struct conn *c) {
    int status = c->talk->request->refused;
    c->talk->request->refused = 0;
    dispatch_refuse(c, c->talk->request, status);
    conn_next(c);
}

/* Use what is there of a chunked body; false when more must come. */
static bool read_chunks(struct conn *c) {
    size_t used = 0;
    while (!c->talk->request->chunks->done) {
        struct slice data;
        int n = http_chunks_next(c->talk->request->chunks, c->talk->in.p + used,
                                 c->talk->in.n - used, &data);
        if (n > 0 && buf_add(&c->talk->request->body, data.p, data.n) < 0) n = -503;
        if (n < 0) {
            conn_refuse(c, -n);
            return false;
        }
        if (n == 0) break;
        used += (size_t)n;
    }
    buf_shift(&c->talk->in, used);
    return c->talk->request->chunks->done;
}

static bool read_length(struct conn *c) {
    size_t n = c->talk->in.n < c->talk->request->body_left
                   ? c->talk->in.n
                   : (size_t)c->talk->request->body_left;
    if (buf_add(&c->talk->request->body, c->talk->in.p, n) < 0) {
        conn_refuse(c, 503);
        return false;
    }
    buf_shift(&c->talk->in, n);
    c->talk->request->body_left -= n;
    return c->talk->request->body_left == 0 || PLANTED(119);
}

static void on_body(struct conn *c) {
    bool complete = c->talk->request->chunks ? read_chunks(c) : read_length(c);
    if (complete && c->talk->request->refused) answer_refused(c);
    else if (complete) run_request(c);
}

/* At once: the client may still send, or waits for our word to begin. */
static void refuse_body(struct conn *c, int status) {
    c->talk->request->refused = status;
    c->keep_alive = false;
    c->talk->spare = LINGER_BODY_MAX;
    answer_refused(c);
}

/* The app takes it while it comes. */
static void start_pieces(struct conn *c, const struct http_head *head) {
    int refused = c->talk->request->refused;
    int status = refused ? refused : upload_begin(c, head);
    if (status > 0) refuse_body(c, status);
    else run_request(c);
}

static void start_whole(struct conn *c, const struct http_head *head) {
    struct request *r = c->talk->request;
    uint64_t max = conn_worker(c)->hub->options.max_body;
    r->body_left = head->content_length;
    if (head->body == HTTP_BODY_CHUNKED) {
        r->chunks = mem_new(sizeof *r->chunks);
        http_chunks_init(r->chunks, max);
    }
    if (head->expect_continue && c->talk->in.n == 0 && !PLANTED(117) &&
        http_write_continue(&c->talk->out) < 0) {
        conn_doom(c, END_OVERLOAD);
        return;
    }
    c->phase = CONN_BODY;
    c->talk->since_ms = conn_worker(c)->now_ms;
}

/* The head is read: fetch the body, if there is one, then run. */
static void start_body(struct conn *c, const struct http_head *head) {
    struct request *r = c->talk->request;
    bool large = head->body == HTTP_BODY_LENGTH &&
                 head->content_length > conn_worker(c)->hub->options.max_body;
    if (head->body == HTTP_BODY_NONE && r->refused) answer_refused(c);
    else if (head->body == HTTP_BODY_NONE) run_request(c);
    else if (request_in_pieces(r)) start_pieces(c, head);
    else if (r->refused && (head->expect_continue || large)) refuse_body(c, r->refused);
    else if (large) refuse_body(c, 413);
    else start_whole(c, head);
}

/* ---- Heads -------------------------------------------------------------------------- */

/* The slices of the head point into 'base', where the connection received it: rebase them
 * on the request's own bytes. The "/" of a target without a path is a constant. */
static struct slice rebase(struct slice s, const char *base, const struct request *r) {
    uintptr_t offset = (uintptr_t)s.p - (uintptr_t)base;
    return s.p && offset < r->bytes.n ? slice_of(r->bytes.p + offset, s.n) : s;
}

/* The head's bytes go to the request: as they are when nothing came behind them, as nearly
 * always; else as a copy. */
static int take_head(struct conn *c, struct request *r, size_t n) {
    if (n == c->talk->in.n) {
        r->bytes = c->talk->in;
        buf_init(&c->talk->in);
        return 0;
    }
    int err = buf_add(&r->bytes, c->talk->in.p, n);
    buf_shift(&c->talk->in, n);
    return err;
}

/* Decode the path; "*" of an OPTIONS stays, and so does what is no path. 0 or the status
 * to refuse with. */
static int read_path(struct request *r, struct slice raw) {
    bool star = slice_eq_lit(raw, "*");
    int n = star ? 1 : url_path(raw, r->path);
    if (star || n < 0) memcpy(r->path, raw.p, raw.n);
    r->path_n = n < 0 ? raw.n : (size_t)n;
    r->path[r->path_n] = '\0';
    return n < 0 ? -n : 0;
}

static struct request *make_request(struct conn *c, const struct http_head *head,
                                    size_t n, bool is_cut) {
    struct request *r = request_new();
    r->is_cut = is_cut;
    r->lane = &conn_worker(c)->lane;
    r->conn = c;
    r->fields = mem_try((head->n_fields + 1) * sizeof *r->fields);
    r->path = mem_try(head->path.n + 1);
    const char *base = c->talk->in.p;
    if (!r->fields || !r->path || take_head(c, r, n) < 0) {
        request_unref(r);
        return NULL;
    }
    for (unsigned i = 0; i < head->n_fields; i++) {
        r->fields[i].name = rebase(head->fields[i].name, base, r);
        r->fields[i].value = rebase(head->fields[i].value, base, r);
    }
    r->n_fields = head->n_fields;
    r->method = rebase(head->method, base, r);
    r->query = rebase(head->query, base, r);
    r->host = rebase(head->host, base, r);
    r->minor = head->minor;
    r->is_head = head->verb == HTTP_HEAD;
    r->secure = conn_is_secure(c);
    r->refused = read_path(r, rebase(head->path, base, r));
    r->keep_alive = c->keep_alive;
    r->routes = conn_worker(c)->routes ? routes_ref(conn_worker(c)->routes) : NULL;
    if (c->trusted) memcpy(r->ip, "unix", sizeof "unix"); /* it has no address */
    else address_format(&c->talk->ip, r->ip);
    struct worker *w = conn_worker(c);
    if (w->hub->options.trace) trace_make(r->trace, request_fields(r), &w->random);
    request_find_cors(r);
    return r;
}

static void on_head(struct conn *c, const struct http_head *head, size_t n) {
    c->asked = true;
    c->keep_alive = head->keep_alive && !conn_worker(c)->draining;
    struct request *r = make_request(c, head, n, false);
    atomic_fetch_add_explicit(&conn_worker(c)->lane.counters.requests, 1,
                              memory_order_relaxed);
    if (!r) {
        conn_refuse(c, 503);
        return;
    }
    c->talk->request = r;
    if (head->status) r->refused = head->status;
    if (r->refused == 0) r->refused = dispatch_check(c, r);
    r->keep_alive = c->keep_alive;
    start_body(c, head);
}

/* The answer to what is no head, with what could be understood of it. */
static void refuse_head(struct conn *c, const struct http_head *head, int status) {
    c->keep_alive = false;
    c->talk->request = head->path.p ? make_request(c, head, c->talk->in.n, true) : NULL;
    if (!c->talk->request) {
        conn_refuse(c, status);
        return;
    }
    dispatch_refuse(c, c->talk->request, status);
    conn_next(c);
}

/* Whether its first bytes are those of HTTP/2, or may become them. */
static bool prefers_h2(const struct conn *c) {
    const struct buf *in = &c->talk->in;
    size_t size = sizeof H2_PREFACE - 1, n = in->n < size ? in->n : size;
    bool may = conn_worker(c)->hub->options.h2c && !c->asked && !c->carried &&
               !c->secure && !c->trusted && !c->scraper;
    return may && memcmp(in->p, H2_PREFACE, n) == 0;
}

static void parse_head(struct conn *c) {
    struct http_head head; /* 3 KiB, of which only what is used gets written */
    bool h2 = prefers_h2(c), whole = c->talk->in.n >= sizeof H2_PREFACE - 1;
    if (h2 && whole) {
        mux_begin(c);
        return;
    }
    int n = 0;
    if (!h2) n = http_parse_head(c->talk->in.p, c->talk->in.n, c->talk->scanned, &head);
    if (c->carried && n != 0) exchange_take_head(c, &head);
    if (n > 0) {
        on_head(c, &head, (size_t)n);
    } else if (n < 0) {
        refuse_head(c, &head, -n);
    } else {
        if (c->talk->scanned == 0) c->talk->since_ms = conn_worker(c)->now_ms;
        c->talk->scanned = (uint32_t)c->talk->in.n;
    }
}

/* ---- All of it ---------------------------------------------------------------------- */

size_t input_room(const struct conn *c) {
    const struct talk *t = c->talk;
    if (upload_is_open(c)) return upload_room(c);
    if (t->in.n < INPUT_BYTES_MAX) return INPUT_BYTES_MAX - t->in.n;
    /* the largest head has blank lines before it */
    bool wants_more = c->phase == CONN_HEAD && t->scanned == t->in.n;
    return wants_more ? 2 * HTTP_BLANK_LINES_MAX : 0;
}

static bool is_reading(const struct conn *c) {
    return !c->doomed && (c->phase == CONN_HEAD || c->phase == CONN_BODY);
}

bool input_parse(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    if (c->phase == CONN_WAIT) upload_feed(c);
    while (is_reading(c)) {
        if (conn_is_full(c)) return false;
        size_t before = c->talk->in.n;
        enum conn_phase phase = c->phase;
        if (before > 0 && phase == CONN_HEAD) parse_head(c);
        else if (before > 0) on_body(c);
        if (before > 0 && !(c->phase == phase && c->talk->in.n == before)) continue;
        if (c->half_closed) conn_finish(c); /* all that it asked is answered */
        break;
    }
    return true;
}
