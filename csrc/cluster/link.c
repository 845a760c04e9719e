/* Dial, prove the server, send; see link.h.
 *
 * LINK_SCRIPTS first: who we are, what the server is, and the scripts, in one go; then what the user
 * may not; then LINK_FEED, to the same address, where the run id shows that it is the same process. All
 * commands of our own have a step as their tag, above OWN. */
#include "cluster/link.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"
#include "cluster/judge.h"
#include "cluster/resolve.h"
#include "cluster/sentinel.h"
#include "cluster/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#define OWN (UINT64_C(1) << 63)

enum step {
    STEP_AUTH,
    STEP_SELECT,
    STEP_NAME,
    STEP_INFO,
    STEP_CONFIG,
    STEP_PROBE,
    STEP_WAIT,
    STEP_LOAD
};

enum link_state { LINK_IDLE, LINK_RESOLVING, LINK_DIALLING, LINK_UP };

struct link {
    struct loop *loop;
    const struct link_calls *calls;
    void *owner;
    struct link_options o; /* its texts are ours */
    enum link_state state;
    struct sentinel *sentinel; /* NULL: the host is known */
    char host[256];            /* that is dialled */
    uint16_t port;
    struct resolve *resolve;
    struct resolved to;
    unsigned at; /* of these addresses */
    struct wire *wires[LINK_LANES];
    struct tls_client *tls; /* as the files are at this dial; NULL: plain */
    struct ev_timer later;  /* what is to be reported in a turn of its own */
    bool refused;           /* ... as that */
    struct ev_timer look;
    struct judge judge;
    struct scripts scripts;
    uint32_t warned; /* a bit per kind */
    struct link_stats stats;
    char why[LINK_WHY_MAX];
};

/* ---- Ends -------------------------------------------------------------------------------- */

static void count(struct link *l, const struct wire *w) {
    struct wire_stats s;
    wire_stats(w, &s);
    l->stats.sent += s.sent;
    l->stats.received += s.received;
    l->stats.bytes_out += s.bytes_out;
    l->stats.bytes_in += s.bytes_in;
}

void link_close(struct link *l) {
    ASSERT_OWNER(l->loop);
    if (l->sentinel) sentinel_close(l->sentinel);
    resolve_forget(l->resolve);
    l->resolve = NULL;
    for (int i = 0; i < LINK_LANES; i++) {
        if (l->wires[i]) count(l, l->wires[i]);
        wire_free(l->wires[i]);
        l->wires[i] = NULL;
    }
    tls_client_free(l->tls);
    l->tls = NULL;
    ev_timer_stop(l->loop->ev, &l->later);
    ev_timer_stop(l->loop->ev, &l->look);
    l->state = LINK_IDLE;
}

/* The link may be gone behind this: the owner is called. */
static void fail(struct link *l, bool refused, const char *why) {
    char copy[sizeof l->why];
    snprintf(copy, sizeof copy, "%s", why);
    link_close(l);
    l->calls->down(l->owner, copy, refused);
}

/* Where it dials, for people. */
static void place(const struct link *l, char *out, size_t size) {
    if (l->o.path) snprintf(out, size, "%s", l->o.path);
    else snprintf(out, size, "%s:%u", l->host, l->port);
}

static void report_at(struct link *l, const char *why, bool refused) {
    char at[280], text[sizeof l->why];
    place(l, at, sizeof at);
    snprintf(text, sizeof text, "Redis at %s: %s", at, why);
    fail(l, refused, text);
}

static void fail_at(struct link *l, const char *why) {
    report_at(l, why, false);
}

static void on_later(struct ev_loop *ev, struct ev_timer *timer, int events) {
    struct link *l = timer->data;
    char why[sizeof l->why];
    (void)ev, (void)events;
    snprintf(why, sizeof why, "%s", l->why);
    if (l->refused) fail(l, true, why);
    else fail_at(l, why);
}

/* ---- Commands of our own ------------------------------------------------------------------ */

static int ask(struct link *l, enum link_lane lane, uint64_t step, uint32_t n,
               const char *const *words) {
    struct buf command = {0};
    int err = resp_begin(&command, n);
    for (uint32_t i = 0; i < n && err == 0; i++) err = resp_words(&command, words[i]);
    if (err == 0) err = wire_send(l->wires[lane], OWN + step, &command, 0);
    buf_free(&command);
    return err;
}

#define ASK(l, lane, step, ...)                                                      \
    ask(l, lane, step, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *), \
        (const char *const[]){__VA_ARGS__})

/* Its first line. 0, or a negative errno; the caller clears 'out'. */
static int read_password(const char *path, char *out, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file) return -errno;
    bool got = fgets(out, (int)size, file) != NULL;
    int err = ferror(file) ? -errno : 0;
    fclose(file);
    if (err < 0) return err;
    if (!got) return -ENODATA;
    out[strcspn(out, "\r\n")] = '\0';
    return out[0] ? 0 : -ENODATA;
}

static bool needs_keep(const struct link *l) {
    const struct link_durable *d = &l->o.durable;
    return d->replicas > 0 || (d->on_disk && l->judge.server.has_waitaof);
}

/* Whether this user may, before anybody relies on it. */
static void ask_wait(struct link *l) {
    if (l->o.durable.on_disk) ASK(l, LINK_KEEP, STEP_WAIT, "WAITAOF", "0", "0", "1");
    else ASK(l, LINK_KEEP, STEP_WAIT, "WAIT", "0", "1");
}

/* Who we are. False: it was reported. */
static bool greet(struct link *l, enum link_lane lane, bool waits) {
    char room[LINK_PASSWORD_MAX + 1], db[16];
    const char *password = l->o.password;
    int err = 0;
    if (l->o.password_file) {
        err = read_password(l->o.password_file, room, sizeof room);
        password = room;
        if (err < 0) {
            snprintf(l->why, sizeof l->why, "--cluster-password-file %s: %s",
                     l->o.password_file,
                     err == -ENODATA ? "there is no password in it" : status_text(err));
            fail(l, true, l->why);
            return false;
        }
    }
    if (password && l->o.user) ASK(l, lane, STEP_AUTH, "AUTH", l->o.user, password);
    else if (password) ASK(l, lane, STEP_AUTH, "AUTH", password);
    explicit_bzero(room, sizeof room);
    snprintf(db, sizeof db, "%u", l->o.db);
    if (l->o.db > 0) ASK(l, lane, STEP_SELECT, "SELECT", db);
    ASK(l, lane, STEP_NAME, "CLIENT", "SETNAME", l->o.client);
    if (waits) ask_wait(l);
    ASK(l, lane, STEP_INFO, "INFO");
    return true;
}

static void ask_config(struct link *l) {
    ASK(l, LINK_SCRIPTS, STEP_CONFIG, "CONFIG", "GET", "appendonly", "appendfsync",
        "min-replicas-to-write");
}

static void ask_scripts(struct link *l) {
    for (int i = 0; i < SCRIPTS; i++)
        ASK(l, LINK_SCRIPTS, STEP_LOAD + (uint64_t)i, "SCRIPT", "LOAD",
            script_text((enum script)i));
}

/* ---- Dialling ----------------------------------------------------------------------------- */

static const struct wire_calls CALLS;

static bool dial(struct link *l, enum link_lane lane) {
    struct wire_to to = {&l->to.addresses[l->at],
                         {l->tls, l->o.tls.sni ? l->o.tls.sni : l->host}};
    int err = l->o.by_hand ? wire_by_hand(&l->wires[lane], l->loop, &CALLS, l)
                           : wire_open(&l->wires[lane], l->loop, &to, &CALLS, l);
    if (err < 0) snprintf(l->why, sizeof l->why, "no connection (%s)", status_text(err));
    return err == 0;
}

/* The first address that can be dialled; the next one when that does not answer. */
static void dial_some(struct link *l) {
    l->state = LINK_DIALLING;
    for (; l->at < l->to.n; l->at++)
        if (dial(l, LINK_SCRIPTS)) return;
    char why[sizeof l->why];
    snprintf(why, sizeof why, "%s", l->why);
    fail_at(l, why);
}

static void on_resolved(void *owner, const struct resolved *r) {
    struct link *l = owner;
    l->resolve = NULL;
    l->to = *r;
    l->at = 0;
    if (r->n == 0) fail_at(l, r->why);
    else dial_some(l);
}

static void begin_judging(struct link *l) {
    judge_init(&l->judge);
    l->judge.asserts_disk = l->o.asserts_disk;
    l->judge.durable = l->o.durable;
}

static void resolve(struct link *l, const char *host, uint16_t port) {
    snprintf(l->host, sizeof l->host, "%s", host);
    l->port = port;
    l->state = LINK_RESOLVING;
    l->resolve = resolve_start(l->loop, l->host, l->port, on_resolved, l);
}

static void on_found(void *owner, const char *host, uint16_t port) {
    resolve(owner, host, port);
}

static void on_none(void *owner, const char *why, bool refused) {
    fail(owner, refused, why);
}

static void on_moved(void *owner, const char *host, uint16_t port) {
    char why[320];
    snprintf(why, sizeof why, "Sentinel names another master now, %s:%u", host, port);
    fail_at(owner, why);
}

static const struct sentinel_calls SENTINEL_CALLS = {on_found, on_none, on_moved};

static void on_opened(void *owner, struct wire *w) {
    struct link *l = owner;
    if (w == l->wires[LINK_FEED] || w == l->wires[LINK_KEEP]) {
        bool keeps = w == l->wires[LINK_KEEP];
        (void)greet(l, keeps ? LINK_KEEP : LINK_FEED, keeps);
        return;
    }
    begin_judging(l);
    if (!greet(l, LINK_SCRIPTS, false)) return;
    ask_config(l);
    ask_scripts(l);
}

static void on_closed(void *owner, struct wire *w, const char *why) {
    struct link *l = owner;
    bool first = w == l->wires[LINK_SCRIPTS] && l->state == LINK_DIALLING;
    if (first && l->at + 1 < l->to.n && !l->judge.heard) {
        snprintf(l->why, sizeof l->why, "%s", why);
        count(l, w);
        wire_free(w);
        l->wires[LINK_SCRIPTS] = NULL;
        l->at++;
        dial_some(l);
        return;
    }
    report_at(l, why, wire_is_refused(w));
}

/* ---- What the server says of itself -------------------------------------------------------- */

static bool is_local(const struct link *l) {
    const struct sockaddr_storage *to = &l->to.addresses[l->at].address;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)to;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)to;
    if (to->ss_family == AF_UNIX) return true;
    if (to->ss_family == AF_INET) return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static void warn(struct link *l) {
    for (int kind = 0; kind < JUDGE_WARNINGS; kind++) {
        const char *text =
            judge_warning(&l->judge, (enum judge_warning)kind, l->tls || is_local(l));
        bool was = l->warned & 1u << kind;
        if (!text && was && judge_is_of_durable((enum judge_warning)kind)) {
            l->warned &= ~(1u << kind);
            l->calls->warn(l->owner, "what is durable is kept again");
        }
        if (!text || was) continue;
        l->warned |= 1u << kind;
        l->calls->warn(l->owner, text);
    }
}

static void go_up(struct link *l) {
    l->state = LINK_UP;
    l->stats.ups++;
    if (l->sentinel) sentinel_agree(l->sentinel);
    ev_timer_set(&l->look, link_look_ms(l) / 1000.0, link_look_ms(l) / 1000.0);
    ev_timer_start(l->loop->ev, &l->look);
    warn(l);
    l->calls->up(l->owner, &l->judge.server);
}

/* More often where what is durable depends on the server's settings. */
uint32_t link_look_ms(const struct link *l) {
    return l->o.durable.on_disk ? LINK_LOOK_OFTEN_MS : LINK_LOOK_MS;
}

void link_look(struct link *l) {
    if (l->state == LINK_UP) ask_config(l);
}

static void on_look(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    link_look(timer->data);
}

/* An error of one of our own commands. True: it is one that ends the attempt, and was reported. */
static bool has_failed(struct link *l, uint64_t step, const struct reply *r) {
    char why[sizeof l->why];
    bool may_fail = step == STEP_NAME || step == STEP_CONFIG;
    if (r->kind != RESP_ERROR || (may_fail && reply_is_error(r, "NOPERM"))) return false;
    bool refused = judge_error(r->text, l->o.user, step == STEP_AUTH, why, sizeof why);
    if (refused) fail(l, true, why);
    else fail_at(l, why);
    return true;
}

static void on_digest(struct link *l, uint64_t i, const struct reply *r) {
    if (r->kind != RESP_TEXT || r->text.n != SCRIPT_ID_MAX) {
        fail_at(l, "what it says of a script makes no sense");
        return;
    }
    memcpy(l->scripts.sha[i], r->text.p, SCRIPT_ID_MAX);
    if (i + 1 < SCRIPTS) return;
    struct buf command = {0};
    if (script_probe(&command, &l->scripts) == 0)
        (void)wire_send(l->wires[LINK_SCRIPTS], OWN + STEP_PROBE, &command, 0);
    buf_free(&command);
}

/* The last answer before LINK_FEED. */
static void on_probe(struct link *l, const struct reply *r) {
    char why[sizeof l->why];
    if (!judge_denied(r, l->o.user, why, sizeof why)) {
        fail(l, true, why);
    } else if (!dial(l, LINK_FEED)) {
        snprintf(why, sizeof why, "%s", l->why);
        fail_at(l, why);
    }
}

static void on_info(struct link *l, enum link_lane lane, const struct reply *r) {
    char why[sizeof l->why];
    struct slice text = r->kind == RESP_TEXT ? r->text : slice_of("", 0);
    if (lane != LINK_SCRIPTS) {
        bool is_last = lane == LINK_KEEP || !needs_keep(l);
        if (!judge_is_same(&l->judge, text))
            fail_at(l, "two connections reached two servers");
        else if (is_last) go_up(l);
        else if (!dial(l, LINK_KEEP)) fail_at(l, "no third connection");
    } else if (!judge_info(&l->judge, text)) {
        fail_at(l, "what it says of itself makes no sense");
    } else if (l->judge.is_loading) {
        fail_at(l, "it is loading its data");
    } else if (l->sentinel && l->judge.is_replica) {
        fail_at(l, "Sentinel names it, and it is a replica as yet");
    } else if (!judge_server(&l->judge, why, sizeof why)) {
        fail(l, true, why);
    }
}

static void on_config(struct link *l, const struct reply *r) {
    judge_config(&l->judge, r);
    if (l->state == LINK_UP) warn(l); /* of what is another way now */
}

static void on_own(struct link *l, enum link_lane lane, uint64_t step,
                   const struct reply *r) {
    l->judge.heard = true;
    if (has_failed(l, step, r)) return;
    if (step == STEP_INFO) on_info(l, lane, r);
    else if (step == STEP_CONFIG) on_config(l, r);
    else if (step == STEP_PROBE) on_probe(l, r);
    else if (step >= STEP_LOAD) on_digest(l, step - STEP_LOAD, r);
}

static void on_reply(void *owner, struct wire *w, uint64_t tag, const struct reply *r) {
    struct link *l = owner;
    enum link_lane lane = LINK_SCRIPTS;
    while (l->wires[lane] != w) lane++;
    if (tag >= OWN) on_own(l, lane, tag - OWN, r);
    else l->calls->reply(l->owner, lane, tag, r);
}

static const struct wire_calls CALLS = {on_opened, on_reply, on_closed};

/* ---- Public ------------------------------------------------------------------------------- */

static const char *copy(const char *text) {
    return text && *text ? mem_strndup(text, strlen(text)) : NULL;
}

/* Their texts are copied there. */
static bool add_sentinels(struct link *l) {
    struct sentinel_options o = {l->o.sentinels, l->o.set, l->o.sentinel_password,
                                 l->o.tls.sni};
    l->sentinel = sentinel_new(l->loop, &o, &SENTINEL_CALLS, l);
    l->o.sentinels = l->o.set = l->o.sentinel_password = NULL;
    return l->sentinel != NULL;
}

int link_new(struct link **out, struct loop *loop, const struct link_options *o,
             const struct link_calls *calls, void *owner) {
    if (!resp_can_read()) return E_INVAL;
    struct link *l = mem_new(sizeof *l);
    l->loop = loop;
    l->calls = calls;
    l->owner = owner;
    l->o = *o;
    l->o.host = copy(o->host);
    l->o.path = copy(o->path);
    l->o.user = copy(o->user);
    l->o.password = copy(o->password);
    l->o.password_file = copy(o->password_file);
    l->o.client = copy(o->client);
    l->o.tls.ca = copy(o->tls.ca);
    l->o.tls.cert = copy(o->tls.cert);
    l->o.tls.key = copy(o->tls.key);
    l->o.tls.sni = copy(o->tls.sni);
    snprintf(l->scripts.name, sizeof l->scripts.name, "%s", o->name);
    l->o.name = l->scripts.name;
    ev_timer_init(&l->later, on_later, 0, 0);
    ev_timer_init(&l->look, on_look, 0, 0);
    l->later.data = l->look.data = l;
    *out = l;
    if (!o->sentinels || !*o->sentinels || add_sentinels(l)) return 0;
    link_free(l);
    return E_INVAL;
}

void link_free(struct link *l) {
    if (!l) return;
    link_close(l);
    sentinel_free(l->sentinel);
    const char *texts[] = {l->o.host,          l->o.path,    l->o.user,
                           l->o.password_file, l->o.client,  l->o.tls.ca,
                           l->o.tls.cert,      l->o.tls.key, l->o.tls.sni};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) mem_free((void *)texts[i]);
    if (l->o.password) explicit_bzero((void *)l->o.password, strlen(l->o.password));
    mem_free((void *)l->o.password);
    mem_free(l);
}

static bool fill_path(struct link *l) {
    struct sockaddr_un *to = (struct sockaddr_un *)&l->to.addresses[0].address;
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(l->o.path) >= sizeof to->sun_path) return false;
    snprintf(to->sun_path, sizeof to->sun_path, "%s", l->o.path);
    l->to.addresses[0].size = sizeof *to;
    l->to.n = 1;
    l->at = 0;
    return true;
}

static void report_later(struct link *l, bool refused) {
    l->state = LINK_DIALLING;
    l->refused = refused;
    ev_timer_set(&l->later, 0, 0);
    ev_timer_start(l->loop->ev, &l->later);
}

void link_dial(struct link *l) {
    ASSERT_OWNER(l->loop);
    assert(l->state == LINK_IDLE);
    l->stats.dials++;
    begin_judging(l);
    if (l->o.tls.on && !l->o.by_hand)
        l->tls = wire_tls_read(&l->o.tls, l->why, sizeof l->why);
    if (l->o.tls.on && !l->tls && !l->o.by_hand) {
        report_later(l, true);
    } else if (l->sentinel) {
        l->state = LINK_RESOLVING;
        sentinel_ask(l->sentinel, l->tls);
    } else if (!l->o.path) {
        resolve(l, l->o.host, l->o.port);
    } else if (!fill_path(l)) {
        snprintf(l->why, sizeof l->why, "--cluster: the socket's path is too long");
        report_later(l, true);
    } else {
        l->state = LINK_DIALLING;
        if (!dial(l, LINK_SCRIPTS)) report_later(l, false);
    }
}

void link_lacks(const struct link *l, char *why, size_t size) {
    char at[280];
    const struct wire *w = l->wires[LINK_SCRIPTS];
    place(l, at, sizeof at);
    if (w) snprintf(why, size, "Redis at %s: %s", at, wire_lacks(w));
    else if (l->resolve) snprintf(why, size, "Redis at %s: its name is not resolved", at);
    else snprintf(why, size, "no Sentinel has named the master in time");
}

bool link_is_up(const struct link *l) {
    return l->state == LINK_UP;
}

struct wire *link_wire(const struct link *l, enum link_lane lane) {
    return l->wires[lane];
}

bool link_keeps_by_wait(const struct link *l) {
    return l->wires[LINK_KEEP] != NULL;
}

const struct scripts *link_scripts(const struct link *l) {
    return &l->scripts;
}

const struct link_server *link_server(const struct link *l) {
    return &l->judge.server;
}

int link_send(struct link *l, enum link_lane lane, uint64_t tag, struct buf *command,
              uint32_t extra_ms) {
    assert(tag < OWN);
    if (l->state != LINK_UP) return E_CLOSED;
    return wire_send(l->wires[lane], tag, command, extra_ms);
}

void link_stats(const struct link *l, struct link_stats *out) {
    struct link now = *l; /* counts what is open, too */
    for (int i = 0; i < LINK_LANES; i++)
        if (l->wires[i]) count(&now, l->wires[i]);
    *out = now.stats;
    for (int i = 0; i < LINK_LANES; i++)
        if (l->wires[i]) out->pending += wire_pending(l->wires[i]);
}
