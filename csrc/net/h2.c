/* Sessions; see h2.h. */
#include "net/h2.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"

#ifdef HAVE_NGHTTP2
#include "net/h2_frames.h"
#include "net/h2_text.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>

#define FRAME_HEAD 9
#define WINDOW_MAX INT32_MAX

struct h2 {
    nghttp2_session *session;
    const struct h2_ops *ops;
    void *owner;
    struct h2_frames frames; /* that came */
    struct h2_text text;     /* the request that is being told: one at a time */
    struct list streams;
    struct list ready; /* those that have something to send */
    int64_t window;    /* bytes that the client takes, of all streams */
    int64_t initial;   /* ... of a new one */
    uint64_t sent;     /* bytes of data */
    char *room;        /* of h2_write, while it runs */
    size_t n;          /* bytes in it */
    bool full;         /* not all that could be written had room */
    bool says;         /* nghttp2 may have something to write */
    bool said;         /* the settings are out */
    bool over;         /* nothing will be read or written any more */
    bool broken;       /* ... nor can be */
};

bool h2_is_built(void) {
    return true;
}

const char *h2_version(void) {
    return nghttp2_version(0)->version_str;
}

/* ---- Memory ------------------------------------------------------------------------- */

static void *give(size_t n, void *unused) {
    (void)unused;
    return mem_try(n > 0 ? n : 1);
}

static void *give_zeroed(size_t items, size_t size, void *unused) {
    if (size > 0 && items > SIZE_MAX / size) return NULL;
    void *p = give(items * size, unused);
    return p ? memset(p, 0, items * size) : NULL;
}

static void *resize(void *p, size_t n, void *unused) {
    if (!p) return give(n, unused);
    return mem_resize(p, n > 0 ? n : 1);
}

static void take(void *p, void *unused) {
    (void)unused;
    mem_free(p);
}

/* ---- Requests ----------------------------------------------------------------------- */

static bool is_request(const nghttp2_frame *frame) {
    return frame->hd.type == NGHTTP2_HEADERS &&
           frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

static struct h2_stream *stream_of(struct h2 *h, int32_t id) {
    return nghttp2_session_get_stream_user_data(h->session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
                            void *context) {
    (void)session;
    struct h2 *h = context;
    if (is_request(frame)) h2_text_deinit(&h->text);
    return 0;
}

/* What comes behind a body is read and dropped, as over HTTP/1.1.
 * NOLINTNEXTLINE(readability-function-size): nghttp2 calls it so */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
                     const uint8_t *name, size_t name_n, const uint8_t *value,
                     size_t value_n, uint8_t flags, void *context) {
    (void)session, (void)flags;
    struct h2 *h = context;
    if (!is_request(frame)) return 0;
    int err = h2_text_add(&h->text, slice_of((const char *)name, name_n),
                          slice_of((const char *)value, value_n));
    return err < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* Left alone it would be passed over.
 * NOLINTNEXTLINE(readability-function-size) */
static int on_bad_header(nghttp2_session *session, const nghttp2_frame *frame,
                         const uint8_t *name, size_t name_n, const uint8_t *value,
                         size_t value_n, uint8_t flags, void *context) {
    (void)session, (void)frame, (void)name, (void)name_n, (void)value, (void)value_n;
    (void)flags, (void)context;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void reset(struct h2 *h, int32_t id, uint32_t code) {
    nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, id, code);
    h->says = true;
}

void h2_stream_init(struct h2_stream *s) {
    *s = (struct h2_stream){0};
    list_init(&s->node);
    list_init(&s->ready);
}

void h2_stream_drop(struct h2_stream *s) {
    list_remove(&s->node);
    list_remove(&s->ready);
}

void h2_adopt(struct h2 *h, struct h2_stream *s) {
    list_init(&s->node);
    list_init(&s->ready);
    list_add(&h->streams, &s->node);
    nghttp2_session_set_stream_user_data(h->session, s->id, s);
}

static void on_request(struct h2 *h, const nghttp2_frame *frame) {
    int32_t id = frame->hd.stream_id;
    struct buf head;
    int err = h2_text_finish(&h->text, &head);
    if (err < 0) {
        reset(h, id, err == E_NOMEM ? NGHTTP2_REFUSED_STREAM : NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    bool body = !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    struct h2_stream *s = h->ops->begin(h->owner, &head, body);
    if (!s) { /* the client may ask again (8.7) */
        reset(h, id, NGHTTP2_REFUSED_STREAM);
        return;
    }
    s->id = id;
    s->window = h->initial;
    h2_adopt(h, s);
    h->ops->go_on(s);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context) {
    (void)session;
    struct h2 *h = context;
    if (is_request(frame)) {
        on_request(h, frame);
        return 0;
    }
    bool ends = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!ends || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
    struct h2_stream *s = stream_of(h, frame->hd.stream_id);
    if (s) h->ops->end(s);
    return 0;
}

/* Of a body behind whose answer nobody is. Some clients lose that answer when they are told to leave the
 * rest (8.1), so it is read for a while. */
static void drop(struct h2 *h, int32_t id, size_t n) {
    nghttp2_session_consume_stream(h->session, id, n);
    h->frames.dropped += (uint32_t)n;
    if (h->frames.dropped > LINGER_BODY_MAX) reset(h, id, NGHTTP2_NO_ERROR);
}

/* The window of the connection is for all: one body that waits must not hold up others.
 * NOLINTNEXTLINE(readability-function-size): nghttp2 calls it so */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id,
                   const uint8_t *bytes, size_t n, void *context) {
    (void)flags;
    struct h2 *h = context;
    struct h2_stream *s = stream_of(h, id);
    nghttp2_session_consume_connection(session, n);
    if (!s) drop(h, id, n);
    else if (!h->ops->data(s, slice_of((const char *)bytes, n)))
        reset(h, id, NGHTTP2_INTERNAL_ERROR);
    return 0;
}

static int on_closed(nghttp2_session *session, int32_t id, uint32_t code, void *context) {
    (void)code;
    struct h2 *h = context;
    struct h2_stream *s = stream_of(h, id);
    nghttp2_session_set_stream_user_data(session, id, NULL);
    if (!s) return 0;
    h2_stream_drop(s);
    h->ops->closed(s);
    return 0;
}

/* ---- Writing ------------------------------------------------------------------------ */

/* nghttp2 ends the connection at the first stream above what it has said, where one alone is to be
 * refused: so it is told of more than what is said. The first entry of the first frame. */
static void say_fewer(struct h2 *h, char *frame) {
    frame[FRAME_HEAD + 2] = frame[FRAME_HEAD + 3] = frame[FRAME_HEAD + 4] = 0;
    frame[FRAME_HEAD + 5] = (char)H2_STREAMS_MAX;
    h->said = true;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *bytes, size_t n,
                       int flags, void *context) {
    (void)session, (void)flags;
    struct h2 *h = context;
    size_t left = H2_WRITE_BYTES - h->n;
    h->full = n > left;
    if (left == 0) return NGHTTP2_ERR_WOULDBLOCK;
    if (n > left) n = left;
    memcpy(h->room + h->n, bytes, n);
    if (!h->said && h->room[h->n + 3] == NGHTTP2_SETTINGS) say_fewer(h, h->room + h->n);
    h->n += n;
    return (ssize_t)n;
}

/* Heads, ends, and what is said about streams. */
static void write_control(struct h2 *h) {
    h->broken = nghttp2_session_send(h->session) != 0;
    h->says = h->full;
    h->over =
        !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}

/* The end of a body is a frame without data.
 * NOLINTNEXTLINE(readability-function-size): nghttp2 calls it so */
static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *unused, size_t most,
                       uint32_t *flags, nghttp2_data_source *source, void *context) {
    (void)session, (void)id, (void)unused, (void)most, (void)source, (void)context;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return 0;
}

static void say_end(struct h2 *h, struct h2_stream *s) {
    const nghttp2_data_provider nothing = {.read_callback = on_read};
    if (s->over) return;
    s->over = true;
    h->says = true;
    if (nghttp2_submit_data(h->session, NGHTTP2_FLAG_END_STREAM, s->id, &nothing) != 0)
        h->broken = true; /* no memory */
}

/* The head of a frame of data behind what is there: where its n bytes belong. */
static char *put_frame(struct h2 *h, struct h2_stream *s, size_t n) {
    uint32_t id = (uint32_t)s->id;
    const char head[FRAME_HEAD] = {
        0,       (char)(n >> 8),   (char)n,          NGHTTP2_DATA,
        0,       (char)(id >> 24), (char)(id >> 16), (char)(id >> 8),
        (char)id};
    char *at = memcpy(h->room + h->n, head, FRAME_HEAD);
    h->n += FRAME_HEAD + n;
    s->window -= PLANTED(704) ? 0 : (int64_t)n;
    h->window -= (int64_t)n;
    h->sent += n;
    h->frames.sent++;
    return at + FRAME_HEAD;
}

/* How much of its body the next frame has: what both windows take, and a whole write holds. */
static size_t size_of_frame(const struct h2 *h, const struct h2_stream *s, size_t all) {
    int64_t most = s->window < h->window ? s->window : h->window;
    if (most > H2_WRITE_BYTES - FRAME_HEAD) most = H2_WRITE_BYTES - FRAME_HEAD;
    if (most < 0) most = 0;
    return all < (size_t)most ? all : (size_t)most;
}

/* The turn of a stream: one frame. With its window used up it is not ready before there is an update. What
 * got nothing stays before those that had their turn. */
static void write_frame(struct h2 *h, struct h2_stream *s, struct list *served) {
    bool last = true;
    size_t all = h->ops->size(s, &last), n = size_of_frame(h, s, all);
    if (all == 0) {
        if (last) h->ops->pull(s, NULL, 0, true);
        if (last) say_end(h, s);
        return;
    }
    bool fits = h->n + FRAME_HEAD + n <= H2_WRITE_BYTES;
    if (n > 0 && fits) {
        h->ops->pull(s, put_frame(h, s, n), n, last && n == all);
        if (last && n == all) say_end(h, s);
    }
    bool more = s->window > 0 && !(fits && n == all);
    h->full = h->full || (more && h->window > 0);
    struct list *to = n > 0 && fits ? served : &h->ready;
    if (more && !(PLANTED(703) && !fits)) list_add(to, &s->ready);
}

static void write_data(struct h2 *h) {
    struct list now, served;
    list_init(&now);
    list_init(&served);
    list_take_all(&now, &h->ready);
    while (!list_empty(&now)) {
        struct h2_stream *s = container_of(now.next, struct h2_stream, ready);
        list_remove(&s->ready);
        write_frame(h, s, &served);
    }
    list_take_all(&h->ready, &served);
}

size_t h2_write(struct h2 *h, char *room) {
    if (h->broken) return 0;
    h->room = room;
    h->n = 0;
    h->full = false;
    if (h->says) write_control(h);
    if (!h->full && !h->broken) write_data(h);
    if (h->says && !h->full && !h->broken) write_control(h); /* ends */
    h->full = h->full || h->says;
    return h->n;
}

size_t h2_write_now(struct h2 *h, struct h2_stream *s, struct slice bytes, char *room) {
    bool first = !h->says && !h->full && !h->broken && list_empty(&h->ready);
    if (!first || !s->open || s->over) return 0;
    if (!PLANTED(706) && size_of_frame(h, s, bytes.n) < bytes.n) return 0;
    h->room = room;
    h->n = 0;
    memcpy(put_frame(h, s, bytes.n), bytes.p, bytes.n);
    return h->n;
}

bool h2_has_more(const struct h2 *h) {
    return h->full;
}

/* Its data may follow. */
static void on_head_out(struct h2 *h, int32_t id) {
    struct h2_stream *s = stream_of(h, id);
    if (!s) return;
    s->heads--;
    s->open = s->answered && s->heads == 0;
    h2_wake(h, s);
}

/* What a client provokes counts as if it had done it itself. To refuse has cost no more than any frame
 * does, and a client that was not told of the limit yet may ask for much. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *context) {
    (void)session;
    struct h2 *h = context;
    h->frames.sent += frame->hd.type == NGHTTP2_DATA;
    if (frame->hd.type == NGHTTP2_HEADERS) on_head_out(h, frame->hd.stream_id);
    h->frames.answers +=
        frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_RESPONSE;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        uint32_t code = frame->rst_stream.error_code;
        bool ours = code == NGHTTP2_NO_ERROR || code == NGHTTP2_CANCEL;
        if (code == NGHTTP2_REFUSED_STREAM) h->frames.useless++;
        else h->frames.resets += !ours;
    }
    return 0;
}

/* ---- Life --------------------------------------------------------------------------- */

static nghttp2_session_callbacks *callbacks; /* for the process */
static nghttp2_option *option;

static void make_callbacks(void) {
    if (nghttp2_session_callbacks_new(&callbacks) != 0) return;
    nghttp2_session_callbacks *c = callbacks;
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(c, on_bad_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_closed);
    nghttp2_session_callbacks_set_send_callback(c, on_send);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
    if (nghttp2_option_new(&option) != 0) return;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, H2_TABLE_BYTES);
    nghttp2_option_set_max_outbound_ack(option, H2_USELESS_MAX);
}

/* What holds a body up is the window of its stream; that of the connection is for all. */
static int say_settings(struct h2 *h) {
    const nghttp2_settings_entry ours[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2 * H2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_MAX},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}};
    int err = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, ours,
                                      sizeof ours / sizeof *ours);
    if (err != 0) return err;
    return nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                 WINDOW_MAX);
}

struct h2 *h2_new(const struct h2_ops *ops, void *owner) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_callbacks);
    struct h2 *h = callbacks && option ? mem_try(sizeof *h) : NULL;
    if (!h) return NULL;
    *h = (struct h2){.ops = ops,
                     .owner = owner,
                     .window = NGHTTP2_INITIAL_CONNECTION_WINDOW_SIZE,
                     .initial = NGHTTP2_INITIAL_WINDOW_SIZE,
                     .says = true};
    list_init(&h->streams);
    list_init(&h->ready);
    h2_frames_init(&h->frames);
    nghttp2_mem mem = {NULL, give, take, give_zeroed, resize};
    int err = nghttp2_session_server_new3(&h->session, callbacks, h, option, &mem);
    if (err == 0 && say_settings(h) == 0) return h;
    if (err != 0) h->session = NULL;
    h2_free(h);
    return NULL;
}

void h2_free(struct h2 *h) {
    if (!h) return;
    while (!list_empty(&h->streams))
        h2_stream_drop(container_of(h->streams.next, struct h2_stream, node));
    nghttp2_session_del(h->session);
    h2_text_deinit(&h->text);
    mem_free(h);
}

void h2_move(struct h2 *h, void *owner) {
    h->owner = owner;
}

/* ---- Reading ------------------------------------------------------------------------ */

/* All streams may send that much more, or less (6.9.2). */
static void set_initial(struct h2 *h, uint32_t window) {
    int64_t more = (int64_t)window - h->initial;
    h->initial = window;
    for (struct list *node = h->streams.next; node != &h->streams; node = node->next) {
        struct h2_stream *s = container_of(node, struct h2_stream, node);
        s->window += more;
        if (s->window > INT32_MAX)
            nghttp2_session_terminate_session(h->session, NGHTTP2_FLOW_CONTROL_ERROR);
        if (s->window > 0) h2_wake(h, s);
    }
}

static void on_update(struct h2 *h, int32_t id, uint32_t more) {
    struct h2_stream *s = id > 0 ? stream_of(h, id) : NULL;
    if (id == 0) h->window += more;
    else if (s) s->window += more;
    if (h->window > INT32_MAX)
        nghttp2_session_terminate_session(h->session, NGHTTP2_FLOW_CONTROL_ERROR);
    else if (s && s->window > INT32_MAX) reset(h, id, NGHTTP2_FLOW_CONTROL_ERROR);
    else if (s && !PLANTED(705)) h2_wake(h, s);
}

/* One piece of what came: nghttp2's code. An update of a stream that nobody has is its to judge. */
static ssize_t take_piece(struct h2 *h, struct slice piece) {
    const struct h2_frames *f = &h->frames;
    int32_t id = (int32_t)f->id;
    bool ours = f->news == H2_UPDATE && (id == 0 || stream_of(h, id));
    if (f->news == H2_INITIAL) set_initial(h, f->amount);
    if (ours) on_update(h, id, f->amount);
    else if (f->news == H2_UPDATE) piece = h2_frames_update(f);
    if (piece.n == 0) return 0;
    return nghttp2_session_mem_recv(h->session, (const uint8_t *)piece.p, piece.n);
}

/* Also when it reads nothing, and what it is owed for each frame waits. */
static bool is_flooded(const struct h2 *h) {
    return h2_frames_too_many(&h->frames) ||
           nghttp2_session_get_outbound_queue_size(h->session) > H2_USELESS_MAX;
}

bool h2_receive(struct h2 *h, struct slice bytes, int64_t now_ms) {
    if (h->broken) return false;
    h->says = true;
    h2_frames_begin(&h->frames, now_ms);
    ssize_t n = 0;
    bool flood = false;
    while (bytes.n > 0 && n >= 0 && !flood) {
        struct slice piece;
        size_t some = h2_frames_next(&h->frames, bytes, &piece);
        bytes = slice_of(bytes.p + some, bytes.n - some);
        flood = h2_frames_too_many(&h->frames);
        if (!flood) n = take_piece(h, piece);
        flood = flood || n == NGHTTP2_ERR_FLOODED || is_flooded(h);
    }
    if (flood) h2_end(h, true);
    else h->broken = n < 0;
    return !flood && !h->broken && nghttp2_session_want_read(h->session);
}

bool h2_is_over(const struct h2 *h) {
    return h->broken || h->over;
}

bool h2_is_amid(const struct h2 *h) {
    return h2_frames_amid(&h->frames);
}

bool h2_is_full(const struct h2 *h) {
    return h->window <= 0;
}

uint64_t h2_sent(const struct h2 *h) {
    return h->sent;
}

/* ---- Exchanges ---------------------------------------------------------------------- */

/* Secrets stay out of the table that a guess could be tried against (RFC 7541, 7.1.3). */
static nghttp2_nv pair_of(struct slice name, struct slice value) {
    bool secret = slice_eq_lit(name, "set-cookie");
    return (nghttp2_nv){(uint8_t *)name.p, (uint8_t *)value.p, name.n, value.n,
                        secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
}

/* 1xx, or the head of what follows, or all that there is. */
static int submit(struct h2 *h, struct h2_stream *s, const nghttp2_nv *pairs, size_t n,
                  bool bare) {
    bool last = pairs[0].value[0] != '1';
    s->heads++;
    s->answered = last;
    s->over = last && bare;
    h->says = true;
    if (s->over) return nghttp2_submit_response(h->session, s->id, pairs, n, NULL);
    return nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, s->id, NULL, pairs, n,
                                  NULL);
}

/* What is still to come of its body is dropped, so all of it may come: who waits for room there may have
 * stopped reading at the end of the answer, as curl 7.88 does. */
static void open_window(struct h2 *h, int32_t id) {
    if (nghttp2_session_get_stream_remote_close(h->session, id) != 0) return;
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, id, WINDOW_MAX);
}

int h2_answer(struct h2 *h, struct h2_stream *s, struct slice head, bool bare) {
    size_t most = h2_text_lines(head);
    struct http_field *fields = mem_try(most * sizeof *fields);
    nghttp2_nv *pairs = mem_try((most + 1) * sizeof *pairs);
    int err = fields && pairs ? 0 : E_NOMEM;
    if (err == 0) {
        struct slice status;
        size_t n = h2_text_fields(head, fields, &status);
        if (status.p[0] != '1') open_window(h, s->id);
        pairs[0] = pair_of(slice_str(":status"), status);
        for (size_t i = 0; i < n; i++)
            pairs[i + 1] = pair_of(fields[i].name, fields[i].value);
        if (submit(h, s, pairs, n + 1, bare) != 0) err = E_NOMEM;
    }
    mem_free(pairs);
    mem_free(fields);
    return err;
}

void h2_wake(struct h2 *h, struct h2_stream *s) {
    if (s->open && !s->over && list_empty(&s->ready)) list_add(&h->ready, &s->ready);
}

void h2_credit(struct h2 *h, const struct h2_stream *s, size_t n) {
    nghttp2_session_consume_stream(h->session, s->id, n);
    h->says = true;
}

void h2_leave(struct h2 *h, struct h2_stream *s, bool cut) {
    h2_stream_drop(s);
    nghttp2_session_set_stream_user_data(h->session, s->id, NULL);
    if (cut) reset(h, s->id, NGHTTP2_CANCEL);
    else say_end(h, s);
}

/* ---- The connection ----------------------------------------------------------------- */

void h2_ping(struct h2 *h) {
    h->says = true;
    nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
}

void h2_announce(struct h2 *h) {
    h->says = true;
    nghttp2_submit_shutdown_notice(h->session);
}

void h2_goaway(struct h2 *h) {
    h->says = true;
    int32_t last = nghttp2_session_get_last_proc_stream_id(h->session);
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
}

void h2_end(struct h2 *h, bool calm) {
    h->says = true;
    nghttp2_session_terminate_session(h->session, calm ? NGHTTP2_ENHANCE_YOUR_CALM
                                                       : NGHTTP2_NO_ERROR);
}

#endif
