/* Asking in turn; see sentinel.h. */
#include "cluster/sentinel.h"

#include "base/mem.h"
#include "base/status.h"
#include "cluster/resolve.h"

#include <stdio.h>
#include <stdlib.h>

enum tag { TAG_AUTH, TAG_MASTER };

struct place {
    char host[256];
    uint16_t port;
};

struct sentinel {
    struct loop *loop;
    const struct sentinel_calls *calls;
    void *owner;
    char *set, *password, *sni;
    struct place places[SENTINELS_MAX];
    unsigned n, at; /* of these */
    unsigned asked; /* of this round */
    bool asking, agreed;
    bool all_refused; /* so far */
    struct tls_client *tls;
    struct resolve *resolve;
    struct resolved to;
    unsigned address;
    struct wire *wire;
    struct ev_timer again; /* the hint */
    struct place master;   /* what was said last */
    char why[480];
};

static const struct wire_calls CALLS;

/* ---- In turn ---------------------------------------------------------------------------- */

static void hang_up(struct sentinel *s) {
    ev_timer_stop(s->loop->ev, &s->again);
    resolve_forget(s->resolve);
    wire_free(s->wire);
    s->resolve = NULL;
    s->wire = NULL;
}

void sentinel_close(struct sentinel *s) {
    if (!s->agreed) s->at = (s->at + 1) % s->n;
    s->asking = s->agreed = false;
    hang_up(s);
}

static void next_address(struct sentinel *s, const char *why);

static void on_resolved(void *owner, const struct resolved *r) {
    struct sentinel *s = owner;
    s->resolve = NULL;
    s->to = *r;
    s->address = 0;
    next_address(s, r->why);
}

static void ask_next(struct sentinel *s) {
    const struct place *p = &s->places[s->at];
    s->resolve = resolve_start(s->loop, p->host, p->port, on_resolved, s);
}

/* This one is of no use. */
static void pass_on(struct sentinel *s, const char *why, bool refused) {
    const struct place *p = &s->places[s->at];
    char text[sizeof s->why];
    hang_up(s);
    s->all_refused = s->all_refused && refused;
    snprintf(text, sizeof text, "Sentinel at %s:%u: %s", p->host, p->port, why);
    snprintf(s->why, sizeof s->why, "%s", text);
    s->at = (s->at + 1) % s->n;
    if (++s->asked < s->n) {
        ask_next(s);
        return;
    }
    s->asking = false;
    s->agreed = true; /* the round begins where it began */
    s->calls->failed(s->owner, text, s->all_refused);
}

/* The first address from here on that can be dialled. */
static void next_address(struct sentinel *s, const char *why) {
    const char *host = s->places[s->at].host;
    for (; s->address < s->to.n; s->address++) {
        struct wire_to to = {&s->to.addresses[s->address],
                             {s->tls, s->sni ? s->sni : host}};
        int err = wire_open(&s->wire, s->loop, &to, &CALLS, s);
        if (err == 0) return;
        why = status_text(err);
    }
    pass_on(s, why, false);
}

/* ---- What it says ------------------------------------------------------------------------ */

static void say(struct sentinel *s, enum tag tag, const char *a, const char *b,
                const char *c) {
    struct buf command = {0};
    int err = resp_begin(&command, c ? 3 : 2);
    if (err == 0) err = resp_words(&command, a);
    if (err == 0) err = resp_words(&command, b);
    if (err == 0 && c) err = resp_words(&command, c);
    if (err == 0) (void)wire_send(s->wire, tag, &command, 0);
    buf_free(&command);
}

static void ask_master(struct sentinel *s) {
    say(s, TAG_MASTER, "SENTINEL", "get-master-addr-by-name", s->set);
}

static void on_opened(void *owner, struct wire *w) {
    struct sentinel *s = owner;
    (void)w;
    if (s->password) say(s, TAG_AUTH, "AUTH", s->password, NULL);
    ask_master(s);
}

static bool read_master(const struct reply *r, struct place *out) {
    struct slice host = reply_text(r, 0), port = reply_text(r, 1);
    unsigned long n = port.n > 0 && port.n < 6 ? strtoul(port.p, NULL, 10) : 0;
    if (host.n == 0 || host.n >= sizeof out->host || n == 0 || n > UINT16_MAX)
        return false;
    memcpy(out->host, host.p, host.n);
    out->host[host.n] = '\0';
    out->port = (uint16_t)n;
    return true;
}

static void refuse(struct sentinel *s, const struct reply *r) {
    char why[256];
    if (r->kind == RESP_NIL)
        snprintf(why, sizeof why,
                 "it knows no master called '%s': --cluster names one behind the slash",
                 s->set);
    else if (reply_is_error(r, "NOAUTH"))
        snprintf(why, sizeof why,
                 "it wants a password: write that into the URL, before '@'");
    else if (reply_is_error(r, "WRONGPASS"))
        snprintf(why, sizeof why, "it does not take the password of the URL");
    else if (r->kind == RESP_ERROR && memmem(r->text.p, r->text.n, "unknown command", 15))
        snprintf(why, sizeof why,
                 "it is no Sentinel: name those, or this Redis with redis:");
    else if (r->kind == RESP_ERROR)
        snprintf(why, sizeof why, "it says: %.*s", r->text.n < 200 ? (int)r->text.n : 200,
                 r->text.p);
    else snprintf(why, sizeof why, "what it says makes no sense");
    pass_on(s, why, r->kind == RESP_NIL || r->kind == RESP_ERROR);
}

static void on_master(struct sentinel *s, const struct reply *r) {
    struct place now;
    bool makes_sense = read_master(r, &now);
    if (s->asking && !makes_sense) {
        refuse(s, r);
    } else if (s->asking) {
        s->asking = false;
        s->master = now;
        ev_timer_set(&s->again, SENTINEL_ASK_MS / 1000.0, SENTINEL_ASK_MS / 1000.0);
        ev_timer_start(s->loop->ev, &s->again);
        s->calls->found(s->owner, now.host, now.port);
    } else if (makes_sense &&
               (strcmp(now.host, s->master.host) != 0 || now.port != s->master.port)) {
        s->calls->moved(s->owner, now.host, now.port);
    }
}

/* A Sentinel without a password takes none, and answers all the same. */
static void on_reply(void *owner, struct wire *w, uint64_t tag, const struct reply *r) {
    struct sentinel *s = owner;
    (void)w;
    if (tag == TAG_MASTER) on_master(s, r);
    else if (s->asking && reply_is_error(r, "WRONGPASS")) refuse(s, r);
}

static void on_closed(void *owner, struct wire *w, const char *why) {
    struct sentinel *s = owner;
    char copy[320];
    bool refused = wire_is_refused(w);
    snprintf(copy, sizeof copy, "%s", why);
    wire_free(w);
    s->wire = NULL;
    if (!s->asking) {
        ev_timer_stop(s->loop->ev, &s->again);
        return;
    }
    s->address++;
    if (refused) pass_on(s, copy, true);
    else next_address(s, copy);
}

static const struct wire_calls CALLS = {on_opened, on_reply, on_closed};

static void on_again(struct ev_loop *ev, struct ev_timer *timer, int events) {
    struct sentinel *s = timer->data;
    (void)ev, (void)events;
    if (wire_pending(s->wire) == 0) ask_master(s);
}

/* ---- Public ------------------------------------------------------------------------------ */

void sentinel_agree(struct sentinel *s) {
    s->agreed = true;
}

void sentinel_ask(struct sentinel *s, struct tls_client *tls) {
    hang_up(s);
    s->tls = tls;
    s->asked = 0;
    s->asking = s->all_refused = true;
    s->agreed = false;
    ask_next(s);
}

static bool read_place(struct place *p, const char *text, size_t n) {
    char copy[sizeof p->host];
    if (n >= sizeof copy) return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    char *space = strchr(copy, ' ');
    unsigned long port = space ? strtoul(space + 1, NULL, 10) : 0;
    if (!space || space == copy || port == 0 || port > UINT16_MAX) return false;
    *space = '\0';
    snprintf(p->host, sizeof p->host, "%s", copy);
    p->port = (uint16_t)port;
    return true;
}

static bool read_places(struct sentinel *s, const char *text) {
    for (;;) {
        size_t n = strcspn(text, ",");
        if (s->n == SENTINELS_MAX || !read_place(&s->places[s->n], text, n)) return false;
        s->n++;
        if (!text[n]) return true;
        text += n + 1;
    }
}

static char *copy(const char *text) {
    return text && *text ? mem_strndup(text, strlen(text)) : NULL;
}

struct sentinel *sentinel_new(struct loop *loop, const struct sentinel_options *o,
                              const struct sentinel_calls *calls, void *owner) {
    struct sentinel *s = mem_new(sizeof *s);
    s->loop = loop;
    s->calls = calls;
    s->owner = owner;
    ev_timer_init(&s->again, on_again, 0, 0);
    s->again.data = s;
    s->set = copy(o->set);
    s->password = copy(o->password);
    s->sni = copy(o->sni);
    if (read_places(s, o->places)) return s;
    sentinel_free(s);
    return NULL;
}

void sentinel_free(struct sentinel *s) {
    if (!s) return;
    hang_up(s);
    if (s->password) explicit_bzero(s->password, strlen(s->password));
    mem_free(s->set);
    mem_free(s->password);
    mem_free(s->sni);
    mem_free(s);
}
