/* Outgoing HTTP over libcurl; see http_out.h. */
#include "edge/http_out.h"

#include "base/blank.h"
#include "base/bounds.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/status.h"
#include "edge/mails.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct http_out {
    struct loop *loop;
    CURLM *multi;
    struct mails *mails;
    const struct http_out_events *events;
    void *context;
    struct list calls, pending, sockets;
    struct ev_timer timer; /* curl's */
    struct ev_timer later; /* something is to be reported */
    unsigned n_calls;
    uint64_t last_id;
};

/* One request. Alive until its end is reported or it is cancelled. */
struct call {
    struct list node;
    struct list pending; /* in the list of those that have something to report */
    struct http_out *owner;
    uint64_t id;
    CURL *easy; /* NULL: curl is done with it */
    struct curl_slist *fields;
    struct mails_job *mail; /* NULL: it is HTTP */
    char *url;
    struct buf head, body; /* untold; the head's lines without its first */
    unsigned n_fields;
    uint64_t received, bytes_max;
    int64_t timeout_ms;
    struct ev_timer idle;
    int status, err;
    bool head_whole, head_told, ended;
    bool held, paused;    /* the owner does not read; curl knows */
    bool notifying, gone; /* in a callback; cancelled there */
    char message[CURL_ERROR_SIZE];
};

struct watch {
    struct list node;
    struct ev_io io;
    struct http_out *owner;
};

/* ---- Telling ------------------------------------------------------------------------ */

static void pend(struct call *c) {
    struct http_out *h = c->owner;
    if (list_empty(&c->pending)) list_add(&h->pending, &c->pending);
    if (!ev_is_active(&h->later)) ev_timer_start(h->loop->ev, &h->later);
}

/* A byte has come, or the owner reads again: the silence is over. */
static void touch(struct call *c) {
    if (c->idle.repeat > 0) ev_timer_again(c->owner->loop->ev, &c->idle);
}

/* Curl lets go of it; not from inside of curl. */
static void detach(struct call *c) {
    ev_timer_stop(c->owner->loop->ev, &c->idle);
    if (c->easy) {
        curl_multi_remove_handle(c->owner->multi, c->easy);
        curl_easy_cleanup(c->easy);
    }
    c->easy = NULL;
    curl_slist_free_all(c->fields);
    c->fields = NULL;
}

static void free_call(struct call *c) {
    detach(c);
    list_remove(&c->node);
    list_remove(&c->pending);
    c->owner->n_calls--;
    buf_free(&c->head);
    buf_free(&c->body);
    if (c->mail) mails_leave(c->mail);
    mem_free(c->url);
    mem_free(c);
}

static int status_of(CURLcode code) {
    switch (code) {
    case CURLE_OK: return 0;
    case CURLE_OPERATION_TIMEDOUT: return E_TIMEOUT;
    case CURLE_OUT_OF_MEMORY: return E_NOMEM;
    case CURLE_URL_MALFORMAT: return E_INVAL;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_PEER_FAILED_VERIFICATION: return E_CONNECT;
    default: return E_UPSTREAM;
    }
}

/* A line of a head above curl's own limit is "out of memory" to curl. */
static int error_of(const struct call *c, CURLcode code) {
    curl_off_t first_byte = 0;
#if LIBCURL_VERSION_NUM >= 0x080600
    bool is_line = code == CURLE_TOO_LARGE || code == CURLE_OUT_OF_MEMORY;
#else
    bool is_line = code == CURLE_OUT_OF_MEMORY;
#endif
    if (!is_line || !c->easy || c->head_whole) return status_of(code);
    curl_easy_getinfo(c->easy, CURLINFO_STARTTRANSFER_TIME_T, &first_byte);
    return first_byte > 0 ? E_TOOBIG : E_NOMEM;
}

/* In place of what curl and OpenSSL say when the scheme is that of another port. */
static const char *wrong_scheme(const struct call *c, CURLcode code) {
    if (code == CURLE_SSL_CONNECT_ERROR && (strstr(c->message, "wrong version number") ||
                                            strstr(c->message, "packet length too long")))
        return "the server speaks no TLS on this port: the address begins with http://, "
               "or "
               "its TLS has another port";
    if (code == CURLE_UNSUPPORTED_PROTOCOL && strstr(c->message, "HTTP/0.9"))
        return "what came back is no HTTP: where the server speaks TLS on this port, the "
               "address begins with https://";
    return NULL;
}

static void explain(struct call *c, CURLcode code) {
    char seconds[NUMBER_TEXT_MAX];
    const char *scheme = wrong_scheme(c, code);
    number_text(seconds,
                code == CURLE_OK ? c->idle.repeat : (double)c->timeout_ms / 1000);
    if (c->err == E_TOOBIG)
        snprintf(c->message, sizeof c->message, "the answer has more than %llu bytes",
                 (unsigned long long)(c->head_whole ? c->bytes_max : HTTP_OUT_HEAD_MAX));
    else if (c->err == E_TIMEOUT && code == CURLE_OK)
        snprintf(c->message, sizeof c->message, "nothing came for %s s", seconds);
    else if (c->err == E_TIMEOUT)
        snprintf(c->message, sizeof c->message, "no answer within %s s", seconds);
    else if (scheme) snprintf(c->message, sizeof c->message, "%s", scheme);
    else if (c->message[0] == '\0' || c->err == E_NOMEM)
        snprintf(c->message, sizeof c->message, "%s",
                 code == CURLE_OK || c->err == E_NOMEM ? status_text(c->err)
                                                       : curl_easy_strerror(code));
}

/* Its end is to be reported: 'code' is curl's word, CURLE_OK when c->err says it all. */
static void end(struct call *c, CURLcode code) {
    if (c->ended) return;
    if (c->err == 0) c->err = error_of(c, code);
    if (c->err < 0) explain(c, code);
    c->ended = true;
    detach(c);
    pend(c);
}

static void on_mail_done(void *context) {
    struct call *c = context;
    const struct mail *m = mails_mail(c->mail);
    memcpy(c->message, mail_text(m), sizeof c->message);
    if (c->err == 0 && mail_lacks_auth(m)) c->err = E_CONNECT;
    end(c, c->err == E_TIMEOUT ? CURLE_OPERATION_TIMEDOUT : mail_code(m));
}

/* Let curl read on when it is not held. The bytes that it kept come at once. */
static void read_on(struct call *c) {
    if (!c->paused || c->held || !c->easy) return;
    c->paused = false;
    CURLcode code = curl_easy_pause(c->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK) end(c, code);
}

/* Cut the head into fields that point into it. */
static size_t split_head(struct buf *head, struct http_ask_field *fields) {
    size_t n = 0;
    const char *p = head->p, *stop = head->p + head->n;
    while (p < stop && n < HTTP_FIELDS_MAX) {
        const char *eol = memchr(p, '\n', (size_t)(stop - p));
        const char *colon = memchr(p, ':', (size_t)((eol ? eol : stop) - p));
        const char *last = eol ? eol : stop;
        if (colon && colon > p) {
            const char *from = colon + 1;
            while (from < last && blank_in_line(*from)) from++;
            while (last > from && strchr(" \t\r", last[-1])) last--;
            fields[n++] = (struct http_ask_field){slice_of(p, (size_t)(colon - p)),
                                                  slice_of(from, (size_t)(last - from))};
        }
        p = eol ? eol + 1 : stop;
    }
    return n;
}

/* Where a redirect leads, as an absolute URL that curl_free frees; NULL: nowhere. */
static char *resolve(const struct call *c, const struct http_out_head *head) {
    char *url = NULL, *location = NULL;
    for (size_t i = 0; i < head->n_fields && !location; i++)
        if (head->fields[i].name.n == 8 &&
            strncasecmp(head->fields[i].name.p, "location", 8) == 0)
            location = mem_strndup(head->fields[i].value.p, head->fields[i].value.n);
    CURLU *u = location ? curl_url() : NULL;
    if (u && curl_url_set(u, CURLUPART_URL, c->url, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, location, 0) == CURLUE_OK)
        curl_url_get(u, CURLUPART_URL, &url, 0);
    curl_url_cleanup(u);
    mem_free(location);
    return url;
}

static void tell_head(struct call *c) {
    struct http_out *h = c->owner;
    struct http_ask_field fields[HTTP_FIELDS_MAX];
    struct http_out_head head = {.status = c->status, .fields = fields};
    head.n_fields = split_head(&c->head, fields);
    char *location = NULL;
    if (head.status >= 300 && head.status < 400) location = resolve(c, &head);
    head.location = location;
    c->head_told = true;
    h->events->on_head(h->context, c->id, &head);
    curl_free(location);
    buf_free(&c->head);
}

/* The head of a mail is what the server said: to each recipient, named "1", "2", … and last. */
static void tell_mail(struct call *c) {
    struct http_out *h = c->owner;
    const struct mail *m = mails_mail(c->mail);
    struct http_ask_field fields[MAIL_TO_MAX + 2];
    char names[MAIL_TO_MAX][4];
    struct http_out_head head = {.status = mail_status(m), .fields = fields};
    for (size_t i = 0; i < mail_recipients(m); i++) {
        int n = snprintf(names[i], sizeof names[i], "%u", (unsigned)(i + 1) % 1000);
        struct slice name = slice_of(names[i], (size_t)n);
        fields[head.n_fields++] = (struct http_ask_field){name, mail_reply_to(m, i)};
    }
    fields[head.n_fields++] = (struct http_ask_field){slice_str("reply"), mail_reply(m)};
    if (mail_is_of_recipient(m))
        fields[head.n_fields++] =
            (struct http_ask_field){slice_str("of-recipient"), slice_str("yes")};
    c->head_told = true;
    h->events->on_head(h->context, c->id, &head);
}

static void tell_body(struct call *c) {
    struct buf body = c->body; /* ours: a callback may cancel the call */
    c->body = (struct buf){0};
    c->owner->events->on_data(c->owner->context, c->id, buf_slice(&body));
    buf_free(&body);
}

static void notify(struct call *c) {
    struct http_out *h = c->owner;
    c->notifying = true;
    if (c->head_whole && !c->head_told) tell_head(c);
    if (c->mail && c->ended) tell_mail(c);
    if (!c->gone && c->body.n > 0) tell_body(c);
    if (!c->gone && c->ended) {
        h->events->on_end(h->context, c->id, c->err, c->message);
        c->gone = true;
    }
    c->notifying = false;
    if (c->gone) free_call(c);
    else read_on(c);
}

/* Once for each call that has something to report; what they cause meanwhile comes later. */
static void deliver(struct http_out *h) {
    struct list turn;
    list_init(&turn);
    list_take_all(&turn, &h->pending);
    ev_timer_stop(h->loop->ev, &h->later);
    while (!list_empty(&turn)) {
        struct call *c = container_of(turn.next, struct call, pending);
        list_remove(&c->pending);
        notify(c);
    }
}

/* ---- From curl ---------------------------------------------------------------------- */

/* One line of a head. A head of status 1xx is followed by another one; what looks like a
 * line after the last one is a trailer. */
static size_t on_header(char *p, size_t size, size_t n, void *context) {
    struct call *c = context;
    long status = 0;
    n *= size;
    if (c->head_whole) return n;
    touch(c);
    if (n >= 5 && memcmp(p, "HTTP/", 5) == 0) {
        c->head.n = c->n_fields = 0;
    } else if (n > 0 && (p[0] == '\r' || p[0] == '\n')) {
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
        c->status = (int)status;
        c->head_whole = status >= 200;
        if (c->head_whole) pend(c);
    } else if (c->head.n + n > HTTP_OUT_HEAD_MAX || ++c->n_fields > HTTP_FIELDS_MAX) {
        c->err = E_TOOBIG;
        return 0;
    } else if (buf_add(&c->head, p, n) < 0) {
        c->err = E_NOMEM;
        return 0;
    }
    return n;
}

static size_t on_body(char *p, size_t size, size_t n, void *context) {
    struct call *c = context;
    n *= size;
    if (c->held || c->body.n >= HTTP_OUT_PENDING_MAX) {
        c->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (c->bytes_max > 0 && c->received + n > c->bytes_max) c->err = E_TOOBIG;
    else if (buf_add(&c->body, p, n) < 0) c->err = E_NOMEM;
    if (c->err < 0) return 0;
    c->received += n;
    touch(c);
    pend(c);
    return n;
}

/* After each visit to curl: which requests are done, and what is to be reported. */
static void drive(struct http_out *h, curl_socket_t fd, int mask) {
    int running, left;
    curl_multi_socket_action(h->multi, fd, mask, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
        struct call *c = NULL;
        CURLcode code = m->data.result; /* m dies with the handle */
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        if (m->msg == CURLMSG_DONE && c) end(c, code);
    }
    deliver(h);
}

static void on_ready(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev;
    struct watch *w = io->data;
    int mask = (events & EV_READ ? CURL_CSELECT_IN : 0) |
               (events & EV_WRITE ? CURL_CSELECT_OUT : 0);
    drive(w->owner, io->fd, mask);
}

static void on_timer(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    drive(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_later(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    deliver(timer->data);
}

static void on_idle(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct call *c = timer->data;
    c->err = E_TIMEOUT;
    if (!c->mail) end(c, CURLE_OK);
    else mails_cut(c->mail); /* which is its end, and says what it has */
}

static void free_watch(struct watch *w) {
    ev_io_stop(w->owner->loop->ev, &w->io);
    list_remove(&w->node);
    mem_free(w);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known) {
    struct http_out *h = context;
    struct watch *w = known;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) free_watch(w);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    int events =
        (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);
    if (!w) {
        w = mem_new(sizeof *w);
        w->owner = h;
        list_add(&h->sockets, &w->node);
        ev_io_init(&w->io, on_ready, fd, events);
        w->io.data = w;
        curl_multi_assign(h->multi, fd, w);
    }
    ev_io_stop(h->loop->ev, &w->io);
    ev_io_set(&w->io, fd, events);
    ev_io_start(h->loop->ev, &w->io);
    return 0;
}

static int on_curl_timer(CURLM *multi, long ms, void *context) {
    (void)multi;
    struct http_out *h = context;
    ev_timer_stop(h->loop->ev, &h->timer);
    if (ms < 0) return 0;
    ev_timer_set(&h->timer, (double)ms / 1000, 0);
    ev_timer_start(h->loop->ev, &h->timer);
    return 0;
}

/* ---- Asking ------------------------------------------------------------------------- */

static void set_callbacks(struct call *c) {
    CURL *e = c->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, (char *)c);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->message);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
}

static struct call *new_call(struct http_out *h, const struct http_ask *ask) {
    struct call *c = mem_new(sizeof *c);
    c->owner = h;
    c->id = ++h->last_id;
    c->url = mem_strndup(ask->url.p, ask->url.n);
    c->bytes_max = ask->bytes_max;
    c->timeout_ms = ask->timeout_ms > 0 ? ask->timeout_ms : ask->idle_ms;
    list_init(&c->pending);
    list_add(&h->calls, &c->node);
    h->n_calls++;
    ev_timer_init(&c->idle, on_idle, 0, (double)ask->idle_ms / 1000);
    ev_set_priority(&c->idle, EV_MINPRI); /* a byte of the same turn comes first */
    c->idle.data = c;
    return c;
}

static int begin(struct call *c, const struct http_ask *ask) {
    c->easy = curl_easy_init();
    if (!c->easy) return E_NOMEM;
    set_callbacks(c);
    int err = http_ask_apply(ask, c->easy, &c->fields);
    if (err < 0) return err;
    return curl_multi_add_handle(c->owner->multi, c->easy) == CURLM_OK ? 0 : E_NOMEM;
}

/* Its time begins now, also when it has to wait for a thread. */
static int begin_mail(struct call *c, const struct http_ask *ask) {
    struct mail *mail = NULL;
    int err = mail_new(&mail, ask);
    c->idle.repeat = (double)ask->timeout_ms / 1000;
    return err < 0 ? err : mails_send(c->owner->mails, mail, c, &c->mail);
}

int http_out_request(struct http_out *h, const struct http_ask *ask, uint64_t *id) {
    ASSERT_OWNER(h->loop);
    int err = ask->mail ? mail_check(ask) : http_ask_check(ask);
    if (err < 0) return err;
    if (h->n_calls >= HTTP_OUT_MAX) return E_FULL;
    struct call *c = new_call(h, ask);
    ev_now_update(h->loop->ev); /* the app may have computed for long */
    err = ask->mail ? begin_mail(c, ask) : begin(c, ask);
    if (err < 0) goto fail;
    touch(c);
    *id = c->id;
    return 0;
fail:
    free_call(c);
    return err;
}

static struct call *find(struct http_out *h, uint64_t id) {
    for (struct list *node = h->calls.next; node != &h->calls; node = node->next) {
        struct call *c = container_of(node, struct call, node);
        if (c->id == id && !c->gone) return c;
    }
    return NULL;
}

void http_out_cancel(struct http_out *h, uint64_t id) {
    struct call *c = find(h, id);
    if (!c) return;
    c->gone = true;
    if (c->notifying) detach(c);
    else free_call(c);
}

void http_out_hold(struct http_out *h, uint64_t id, bool held) {
    struct call *c = find(h, id);
    if (!c || c->held == held) return;
    c->held = held;
    if (c->ended) return;
    if (held) {
        ev_timer_stop(h->loop->ev, &c->idle); /* the silence is ours */
    } else {
        touch(c);
        read_on(c);
    }
}

void http_out_end(struct http_out *h, uint64_t id, int err) {
    struct call *c = find(h, id);
    if (!c) return;
    c->err = err;
    c->message[0] = '\0';
    if (c->ended) explain(c, CURLE_OK); /* and not reported yet */
    end(c, CURLE_OK);
}

/* ---- Life --------------------------------------------------------------------------- */

/* A peer that has gone must not end the process: OpenSSL's writes raise SIGPIPE. A handler
 * of the host's own stays. */
static void init_curl(void) {
    struct sigaction pipe;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

int http_out_new(struct http_out **out, struct loop *loop,
                 const struct http_out_events *events, void *context) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    struct http_out *h = mem_new(sizeof *h);
    *h = (struct http_out){.loop = loop, .events = events, .context = context};
    list_init(&h->calls);
    list_init(&h->pending);
    list_init(&h->sockets);
    ev_timer_init(&h->timer, on_timer, 0, 0);
    ev_timer_init(&h->later, on_later, 0, 0);
    h->timer.data = h->later.data = h;
    h->multi = curl_multi_init();
    if (!h->multi) {
        mem_free(h);
        return E_NOMEM;
    }
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_OUT_KEPT_MAX);
    h->mails = mails_new(loop, on_mail_done);
    *out = h;
    return 0;
}

void http_out_free(struct http_out *h) {
    if (!h) return;
    while (!list_empty(&h->calls))
        free_call(container_of(h->calls.next, struct call, node));
    mails_free(h->mails);
    curl_multi_cleanup(h->multi);
    while (!list_empty(&h->sockets))
        free_watch(container_of(h->sockets.next, struct watch, node));
    ev_timer_stop(h->loop->ev, &h->timer);
    ev_timer_stop(h->loop->ev, &h->later);
    mem_free(h);
}
