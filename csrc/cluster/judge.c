/* INFO, CONFIG GET and refusals, read; see judge.h. */
#include "cluster/judge.h"

#include "base/bounds.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void judge_init(struct judge *j) {
    *j = (struct judge){.server.safe = SAFE_UNKNOWN};
    j->server.version = j->version;
    j->server.run = j->run;
    j->server.replid = j->replid;
}

/* ---- INFO --------------------------------------------------------------------------------- */

/* The value of a line "name:value"; p = NULL: there is none. */
static struct slice field(struct slice info, const char *name) {
    size_t n = strlen(name);
    const char *end = info.p + info.n;
    for (const char *line = info.p; line < end;) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        const char *stop = lf ? lf : end;
        if ((size_t)(stop - line) > n && line[n] == ':' && memcmp(line, name, n) == 0) {
            struct slice value = slice_of(line + n + 1, (size_t)(stop - line) - n - 1);
            if (value.n > 0 && value.p[value.n - 1] == '\r') value.n--;
            return value;
        }
        line = stop + 1;
    }
    return (struct slice){NULL, 0};
}

static uint64_t number(struct slice info, const char *name) {
    uint64_t n = 0;
    struct reply r = {.kind = RESP_TEXT, .text = field(info, name)};
    return reply_number(&r, &n) < 0 ? 0 : n;
}

static bool text(struct slice info, const char *name, char *out, size_t size) {
    struct slice value = field(info, name);
    if (!value.p || value.n == 0 || value.n >= size) return false;
    memcpy(out, value.p, value.n);
    out[value.n] = '\0';
    return true;
}

/* 7.2, and all that is newer. */
static bool has_waitaof(const char *version) {
    unsigned long major = strtoul(version, NULL, 10);
    const char *dot = strchr(version, '.');
    return major > 7 || (major == 7 && dot && dot[1] >= '2');
}

bool judge_info(struct judge *j, struct slice info) {
    char role[16] = "", host[64] = "", port[8] = "";
    if (!text(info, "run_id", j->run, sizeof j->run) ||
        !text(info, "master_replid", j->replid, sizeof j->replid) ||
        !text(info, "redis_version", j->version, sizeof j->version) ||
        !text(info, "role", role, sizeof role))
        return false;
    (void)text(info, "maxmemory_policy", j->policy, sizeof j->policy);
    (void)text(info, "master_host", host, sizeof host);
    (void)text(info, "master_port", port, sizeof port);
    snprintf(j->master, sizeof j->master, "%s:%s", host, port);
    j->is_replica = strcmp(role, "master") != 0;
    j->is_cluster = number(info, "cluster_enabled") == 1;
    j->is_loading = number(info, "loading") == 1;
    j->server.has_aof = number(info, "aof_enabled") == 1;
    j->server.has_waitaof = has_waitaof(j->version);
    j->server.memory_max = number(info, "maxmemory");
    j->server.replicas = (uint32_t)number(info, "connected_slaves");
    return true;
}

bool judge_is_same(const struct judge *j, struct slice info) {
    return slice_eq(field(info, "run_id"), slice_str(j->run)) &&
           slice_eq(field(info, "master_replid"), slice_str(j->replid));
}

/* ---- CONFIG GET ---------------------------------------------------------------------------- */

static struct slice setting(const struct reply *r, const char *name) {
    for (uint32_t i = 0; i + 1 < r->n; i += 2)
        if (slice_eq(reply_text(r, i), slice_str(name))) return reply_text(r, i + 1);
    return slice_of("", 0);
}

void judge_config(struct judge *j, const struct reply *r) {
    j->knows_config = r->kind == RESP_LIST;
    j->server.safe = j->asserts_disk ? SAFE_YES : SAFE_UNKNOWN;
    if (!j->knows_config) return;
    struct reply least = {.kind = RESP_TEXT, .text = setting(r, "min-replicas-to-write")};
    struct slice fsync = setting(r, "appendfsync");
    if (reply_number(&least, &j->min_replicas) < 0) j->min_replicas = 0;
    if (fsync.n == 0) return;
    bool safe =
        slice_eq_lit(setting(r, "appendonly"), "yes") && slice_eq_lit(fsync, "always");
    j->server.safe = safe ? SAFE_YES : SAFE_NO;
}

/* ---- Refusals ------------------------------------------------------------------------------ */

static bool __attribute__((format(printf, 3, 4)))
refuse(char *why, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, size, format, args);
    va_end(args);
    return false;
}

bool judge_server(const struct judge *j, char *why, size_t size) {
    const char *dot = strchr(j->version, '.');
    bool is_old = !dot || (dot - j->version == 1 && j->version[0] < '7');
    if (is_old)
        return refuse(why, size,
                      "Redis %s is too old: the cluster needs Redis 7.0 or Valkey",
                      j->version);
    if (j->is_cluster)
        return refuse(
            why, size,
            "this Redis has cluster-enabled yes, which spreads keys over servers: "
            "name one without it");
    if (j->is_replica)
        return refuse(why, size, "this Redis is a replica: name its master, %s",
                      j->master);
    if (j->server.memory_max > 0 && strcmp(j->policy, "noeviction") != 0)
        return refuse(
            why, size,
            "this Redis deletes keys when its memory is full (maxmemory-policy %s): "
            "set maxmemory-policy noeviction",
            j->policy);
    return true;
}

/* What a node runs, and on which keys; spec/cluster/link_spec.lua tries it. */
#define ALL_THAT_IT_NEEDS                                                \
    "~sluice:* +@hash +@list +@scripting +@sortedset +@stream +@string " \
    "+client|setname +config|get +expire +info +select +time +wait"

/* With the line that gives a user all of it, to be typed as it stands. */
static void refuse_user(const char *user, const char *what, const char *rules, char *why,
                        size_t size) {
    snprintf(why, size,
             "the Redis user '%s' may not %s: ACL SETUSER %s %s; all that a node needs: "
             "ACL SETUSER %s " ALL_THAT_IT_NEEDS,
             user, what, user, rules, user);
}

static const char *or_default(const char *user) {
    return user ? user : "default";
}

bool judge_denied(const struct reply *r, const char *user, char *why, size_t size) {
    char names[400] = "", rules[400] = "", what[448];
    if (r->kind != RESP_LIST || r->n == 0 || !slice_eq_lit(reply_text(r, 0), "OK"))
        return refuse(why, size, "what Redis says of its commands makes no sense");
    for (uint32_t i = 1; i < r->n; i++) {
        struct slice name = reply_text(r, i);
        size_t n = strlen(names), m = strlen(rules);
        snprintf(names + n, sizeof names - n, "%s%.*s", n ? ", " : "", (int)name.n,
                 name.p);
        snprintf(rules + m, sizeof rules - m, "%s+%.*s", m ? " " : "", (int)name.n,
                 name.p);
    }
    for (char *c = rules; *c; c++) *c = (char)tolower((unsigned char)*c);
    if (r->n == 1) return true;
    snprintf(what, sizeof what, "run %s on keys of this cluster", names);
    refuse_user(or_default(user), what, rules, why, size);
    return false;
}

/* "... permissions to run the 'script|load' command": the name in the error. */
static struct slice denied_name(struct slice error) {
    const char *from = memmem(error.p, error.n, "the '", 5);
    if (!from) return slice_of("", 0);
    from += 5;
    const char *to = memchr(from, '\'', (size_t)(error.p + error.n - from));
    return slice_of(from, to ? (size_t)(to - from) : 0);
}

static bool begins(struct slice error, const char *word) {
    size_t n = strlen(word);
    return error.n >= n && memcmp(error.p, word, n) == 0;
}

bool judge_error(struct slice error, const char *user, bool is_auth, char *why,
                 size_t size) {
    struct slice name = denied_name(error);
    char what[96], rule[96];
    user = or_default(user);
    if (begins(error, "WRONGPASS"))
        snprintf(why, size,
                 "Redis does not take the password of the user '%s': "
                 "--cluster-password-file",
                 user);
    else if (begins(error, "NOAUTH"))
        snprintf(why, size,
                 "Redis wants a password: write it into a file, and name that with "
                 "--cluster-password-file");
    else if (begins(error, "NOPERM") && name.n > 0) {
        snprintf(what, sizeof what, "run %.*s", (int)name.n, name.p);
        snprintf(rule, sizeof rule, "+%.*s", (int)name.n, name.p);
        refuse_user(user, what, rule, why, size);
    } else if (begins(error, "NOPERM"))
        refuse_user(user, "use the keys of a cluster", "~sluice:*", why, size);
    else if (begins(error, "DENIED"))
        snprintf(why, size,
                 "this Redis is in protected mode, which takes connections of its own "
                 "machine only: give it a password, or bind it to an address");
    else if (is_auth && memmem(error.p, error.n, "without any password", 20))
        snprintf(why, size,
                 "a password is given, and this Redis has none: set requirepass, or "
                 "leave --cluster-password-file out");
    else if (begins(error, "BUSY")) {
        snprintf(why, size,
                 "it runs a script of somebody that does not end (BUSY): "
                 "SCRIPT KILL ends that");
        return false;
    } else if (begins(error, "LOADING")) {
        snprintf(why, size, "it is loading its data (LOADING), and answers then");
        return false;
    } else if (memmem(error.p, error.n, "DB index", 8))
        snprintf(why, size,
                 "this Redis has no database of that number: --cluster names it behind "
                 "the last slash");
    else {
        snprintf(why, size, "it says: %.*s", error.n < 200 ? (int)error.n : 200, error.p);
        return false;
    }
    return true;
}

/* ---- Warnings ------------------------------------------------------------------------------ */

static bool keeps_on_disk(const struct judge *j) {
    return j->server.safe == SAFE_YES || (j->server.has_waitaof && j->server.has_aof);
}

const char *judge_warning(const struct judge *j, enum judge_warning kind, bool is_safe) {
    static const char *const TEXTS[JUDGE_WARNINGS] = {
        [WARN_NO_AOF] =
            "Redis keeps nothing over a restart: all events are lost then (set "
            "appendonly yes)",
        [WARN_NO_REPLICAS] =
            "Redis has replicas, and a master that is cut off from them goes on "
            "taking events, which are lost later (set min-replicas-to-write 1)",
        [WARN_DISK] =
            "what is durable is refused (ESTORE): Redis answers before it has written "
            "to its disk (set appendonly yes and appendfsync always)",
        [WARN_BLIND] =
            "what is durable is refused (ESTORE): the user may not run CONFIG GET, which "
            "says whether Redis writes to its disk first (give it +config|get, or "
            "--cluster-safe aof where appendfsync is always)",
        [WARN_FEW] =
            "what is durable is refused (ESTORE) while Redis has fewer replicas than "
            "--cluster-durable says",
        [WARN_PLAIN] =
            "the connections to Redis are not encrypted, and leave this machine (give "
            "Redis a tls-port, and write rediss:)",
    };
    bool refuses = j->durable.on_disk && !keeps_on_disk(j);
    bool is[JUDGE_WARNINGS] = {
        [WARN_NO_AOF] = !j->server.has_aof,
        [WARN_NO_REPLICAS] =
            j->server.replicas > 0 && j->knows_config && j->min_replicas == 0,
        [WARN_DISK] = refuses && j->server.safe != SAFE_UNKNOWN,
        [WARN_BLIND] = refuses && j->server.safe == SAFE_UNKNOWN,
        [WARN_FEW] = j->server.replicas < j->durable.replicas,
        [WARN_PLAIN] = !is_safe,
    };
    return is[kind] ? TEXTS[kind] : NULL;
}
