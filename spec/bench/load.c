/* Load generator: N subscribers of one SSE route, in one or more processes.
 *
 *   load --port P --path /s/one --streams 1000 [options]      options: see usage()
 *
 * With --seconds it runs that long, prints one line of JSON and ends. Without, it obeys
 * lines on stdin, each answered by one line of JSON with what was counted since the last:
 *   ready SECONDS          wait until every stream has its hello
 *   wait EVENTS SECONDS    wait until every stream has had that many more events and
 *                          nothing is on its way; then, if so, compare the checksums
 *   until SECONDS          wait until every stream is done (--until)
 *   report                 now        storm    break all streams off; they resume
 *   quit                   or the end of stdin
 *
 * The work is done by swarm.c in a child per process; the parent only reads the tallies
 * that they share with it. */
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "clock.h"
#include "swarm.h"

#define PROCESSES_MAX 16
#define POLL_NS 4000000u

struct load {
    struct swarm_options o;
    uint32_t processes, streams, seconds;
    bool has_receive_buffer; /* --rcvbuf was given, 0 perhaps */
    struct tally *tallies;   /* one a process, shared */
    struct tally now, before;
    uint64_t before_ns, met_ns; /* of the last report; when a wait ended */
    pid_t children[PROCESSES_MAX];
};

static const char USAGE[] =
    "usage: load --port P --path /s [--host 127.0.0.1] [--streams 1] [--processes 1]\n"
    "  [--mode honest|slow|stalled] [--slow BYTES/S] [--rcvbuf BYTES] [--parse PERCENT]\n"
    "  [--rate CONNECTS/S] [--head BYTES] [--last-event-id ID] [--until EVENTS] "
    "[--hold]\n"
    "  [--gap MS] [--source N] [--rounds] [--tls] [--h2] [--seconds S]\n";

/* ---- Tallies ------------------------------------------------------------------------ */

#define TALLY_ADD(name) into->name += from->name;
static void add(struct tally *into, const struct tally *from) {
    TALLY_COUNTERS(TALLY_ADD)
    into->open += from->open;
    into->parsed += from->parsed;
    if (from->newest_n > into->newest_n) into->newest_n = from->newest_n;
    hist_merge(&into->latency, &from->latency);
    hist_merge(&into->connect, &from->connect);
}

/* All workers together, without the rounds. */
static void read_all(struct load *l, struct tally *into) {
    memset(into, 0, offsetof(struct tally, rounds));
    for (uint32_t i = 0; i < l->processes; i++) add(into, &l->tallies[i]);
}

/* The latencies of the rounds since the last report: publish to the last stream. Halves
 * apart, so that a backlog that grows shows. Returns how many rounds were not whole. */
static uint64_t read_rounds(const struct load *l, struct hist half[2]) {
    const uint64_t first = l->before.newest_n + 1, end = l->now.newest_n + 1;
    uint64_t partial = 0;
    for (uint64_t n = end - first > ROUNDS ? end - ROUNDS : first; n < end; n++) {
        uint64_t last_ns = 0, count = 0, sent_ns = 0;
        for (uint32_t i = 0; i < l->processes; i++) {
            const struct round *r = &l->tallies[i].rounds[n % ROUNDS];
            if (r->n != n || !r->count) continue;
            count += r->count;
            sent_ns = r->sent_us * 1000;
            if (r->last_ns > last_ns) last_ns = r->last_ns;
        }
        if (count < l->now.parsed || last_ns < sent_ns) partial++;
        else hist_add(&half[n - first >= (end - first) / 2], last_ns - sent_ns);
    }
    return partial;
}

static void print_hist(const char *name, const struct hist *h) {
    const double mean = h->count ? (double)h->sum / (double)h->count / 1e3 : 0;
    printf(",\"%s\":{\"count\":%llu,\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p95\":%.1f,"
           "\"p99\":%.1f,"
           "\"max\":%.1f}",
           name, (unsigned long long)h->count, mean, (double)hist_quantile(h, 0.5) / 1e3,
           (double)hist_quantile(h, 0.9) / 1e3, (double)hist_quantile(h, 0.95) / 1e3,
           (double)hist_quantile(h, 0.99) / 1e3, (double)hist_quantile(h, 1) / 1e3);
}

static void print_rounds(const struct load *l) {
    static struct hist half[2];
    memset(half, 0, sizeof half);
    const uint64_t partial = read_rounds(l, half);
    printf(",\"rounds_partial\":%llu", (unsigned long long)partial);
    print_hist("rounds_first", &half[0]);
    print_hist("rounds_second", &half[1]);
    hist_merge(&half[0], &half[1]);
    print_hist("rounds", &half[0]);
}

static uint64_t take_gap(struct load *l) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < l->processes; i++) {
        const uint64_t gap = atomic_exchange(&l->tallies[i].gap_max_ns, 0);
        if (gap > most) most = gap;
    }
    return most;
}

/* One line: everything since the line before. Latencies in microseconds; 'met' is when
 * what was waited for had come, 'seconds' when this line was made. */
#define TALLY_PRINT(name) \
    printf(",\"" #name "\":%lld", (long long)(l->now.name - l->before.name));
static void report(struct load *l, bool whole) {
    static struct hist latency, connect;
    const uint64_t now_ns = clock_ns();
    read_all(l, &l->now);
    const uint64_t met_ns = l->met_ns ? l->met_ns : now_ns;
    printf("{\"complete\":%s,\"seconds\":%.6f,\"met\":%.6f,\"streams\":%u,\"open\":%llu,"
           "\"parsed\":%llu,\"newest\":%llu,\"gap_max\":%.1f",
           whole ? "true" : "false", (double)(now_ns - l->before_ns) / 1e9,
           (double)(met_ns - l->before_ns) / 1e9, l->streams,
           (unsigned long long)l->now.open, (unsigned long long)l->now.parsed,
           (unsigned long long)l->now.newest_n, (double)take_gap(l) / 1e3);
    TALLY_COUNTERS(TALLY_PRINT)
    latency = l->now.latency;
    hist_less(&latency, &l->before.latency);
    print_hist("latency", &latency);
    connect = l->now.connect;
    hist_less(&connect, &l->before.connect);
    print_hist("connect_us", &connect);
    if (l->o.rounds) print_rounds(l);
    puts("}");
    fflush(stdout);
    memcpy(&l->before, &l->now, offsetof(struct tally, rounds));
    l->before_ns = now_ns;
    l->met_ns = 0;
}

/* ---- Waiting ------------------------------------------------------------------------ */

typedef bool condition_fn(struct load *l, uint64_t events);

static bool all_ready(struct load *l, uint64_t events) {
    (void)events;
    read_all(l, &l->now);
    if (l->o.mode == SWARM_STALLED) return l->now.connects >= l->streams;
    return l->now.open + l->now.done >= l->streams;
}

static bool all_done(struct load *l, uint64_t events) {
    (void)events;
    read_all(l, &l->now);
    return l->now.done >= l->streams;
}

/* The number of worker i's first stream. */
static uint32_t first_of(const struct load *l, uint32_t i) {
    return (uint32_t)((uint64_t)l->streams * i / l->processes);
}

/* Whether each stream of worker i has had 'events' more. */
static bool worker_has(struct load *l, uint32_t i, uint64_t events) {
    const struct tally *t = &l->tallies[i];
    const uint64_t streams = first_of(l, i + 1) - first_of(l, i);
    const uint64_t per_worker = l->before.ref_events / l->processes + events;
    if (t->parsed == streams) return t->events >= per_worker * streams;
    return t->ref_events >= per_worker && t->body_bytes == t->ref_bytes * streams;
}

static bool all_have(struct load *l, uint64_t events) {
    for (uint32_t i = 0; i < l->processes; i++)
        if (!worker_has(l, i, events)) return false;
    return true;
}

static bool wait_for(struct load *l, condition_fn *condition, uint64_t events,
                     double seconds) {
    const uint64_t end = clock_ns() + (uint64_t)(seconds * 1e9);
    while (!condition(l, events)) {
        const uint64_t now = clock_ns();
        if (now >= end) return false;
        clock_wait(now + POLL_NS);
    }
    l->met_ns = clock_ns();
    return true;
}

static bool all_verified(struct load *l, uint64_t number) {
    for (uint32_t i = 0; i < l->processes; i++)
        if (atomic_load(&l->tallies[i].verified) != number) return false;
    return true;
}

static void verify(struct load *l) {
    const uint64_t number = atomic_load(&l->tallies[0].verify) + 1;
    for (uint32_t i = 0; i < l->processes; i++)
        atomic_store(&l->tallies[i].verify, number);
    const uint64_t met_ns = l->met_ns;
    wait_for(l, all_verified, number, 5);
    l->met_ns = met_ns;
}

/* ---- Commands ----------------------------------------------------------------------- */

/* "wait 100 2.5" is the word wait and two numbers. */
struct command {
    char word[8];
    double numbers[2];
};

static void read_command(const char *line, struct command *c) {
    *c = (struct command){.numbers = {0}};
    const size_t n = strcspn(line, " \r\n");
    memcpy(c->word, line, n < sizeof c->word ? n : sizeof c->word - 1);
    char *at = (char *)line + n;
    for (int i = 0; i < 2; i++) c->numbers[i] = strtod(at, &at);
}

static void start_storm(struct load *l) {
    for (uint32_t i = 0; i < l->processes; i++) atomic_fetch_add(&l->tallies[i].storm, 1);
}

/* Returns false for "quit". */
static bool obey(struct load *l, const char *line) {
    struct command c;
    read_command(line, &c);
    if (strcmp(c.word, "ready") == 0) {
        report(l, wait_for(l, all_ready, 0, c.numbers[0]));
    } else if (strcmp(c.word, "until") == 0) {
        report(l, wait_for(l, all_done, 0, c.numbers[0]));
    } else if (strcmp(c.word, "wait") == 0) {
        const bool whole = wait_for(l, all_have, (uint64_t)c.numbers[0], c.numbers[1]);
        if (whole) verify(l);
        report(l, whole);
    } else if (strcmp(c.word, "report") == 0) {
        report(l, true);
    } else if (strcmp(c.word, "storm") == 0) {
        start_storm(l);
        report(l, true);
    } else {
        return false;
    }
    return true;
}

static void run(struct load *l) {
    char line[128];
    if (l->seconds) {
        const bool whole = wait_for(l, all_ready, 0, 60);
        clock_wait(clock_ns() + l->seconds * 1000000000ull);
        report(l, whole);
        return;
    }
    while (fgets(line, sizeof line, stdin))
        if (!obey(l, line)) break;
}

/* ---- Start -------------------------------------------------------------------------- */

static void usage(void) {
    fputs(USAGE, stderr);
    exit(2);
}

static enum swarm_mode read_mode(const char *name) {
    if (strcmp(name, "slow") == 0) return SWARM_SLOW;
    if (strcmp(name, "stalled") == 0) return SWARM_STALLED;
    if (strcmp(name, "honest") != 0) usage();
    return SWARM_HONEST;
}

static const struct option OPTIONS[] = {
    {"port", 1, 0, 'p'},    {"host", 1, 0, 'H'},      {"path", 1, 0, 'u'},
    {"streams", 1, 0, 'n'}, {"processes", 1, 0, 'P'}, {"mode", 1, 0, 'm'},
    {"slow", 1, 0, 'b'},    {"rcvbuf", 1, 0, 'r'},    {"parse", 1, 0, 'f'},
    {"rate", 1, 0, 'R'},    {"head", 1, 0, 'h'},      {"last-event-id", 1, 0, 'l'},
    {"until", 1, 0, 'U'},   {"hold", 0, 0, 'o'},      {"gap", 1, 0, 'g'},
    {"source", 1, 0, 's'},  {"rounds", 0, 0, 'q'},    {"tls", 0, 0, 'S'},
    {"h2", 0, 0, '2'},      {"seconds", 1, 0, 't'},   {0, 0, 0, 0}};

static void read_option(struct load *l, int which, const char *text) {
    struct swarm_options *o = &l->o;
    const uint32_t number = (uint32_t)strtoul(text, NULL, 10);
    switch (which) {
    case 'p': o->port = (uint16_t)number; break;
    case 'H': o->host = text; break;
    case 'u': o->path = text; break;
    case 'n': l->streams = number; break;
    case 'P': l->processes = number; break;
    case 'm': o->mode = read_mode(text); break;
    case 'b': o->slow_bytes = number; break;
    case 'r':
        o->receive_buffer = number;
        l->has_receive_buffer = true;
        break;
    case 'f': o->parse_percent = number; break;
    case 'R': o->rate = number; break;
    case 'h': o->head_bytes = number; break;
    case 'l': o->last_event_id = text; break;
    case 'U': o->until = (int64_t)number; break;
    case 'o': o->hold = true; break;
    case 'g': o->gap_ns = number * 1000000ull; break;
    case 's': o->source = number; break;
    case 'q': o->rounds = true; break;
    case 'S': o->secure = true; break;
    case '2': o->secure = o->frames = true; break;
    case 't': l->seconds = number; break;
    default: usage();
    }
}

static void read_options(struct load *l, int argc, char **argv) {
    int which;
    *l = (struct load){.processes = 1, .streams = 1};
    l->o = (struct swarm_options){.host = "127.0.0.1", .path = "/", .until = -1};
    l->o.parse_percent = 1;
    l->o.slow_bytes = 65536;
    while ((which = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1)
        read_option(l, which, optarg ? optarg : "");
    if (!l->o.port || !l->streams || !l->processes || l->processes > PROCESSES_MAX)
        usage();
    if (l->o.mode != SWARM_HONEST && !l->has_receive_buffer) l->o.receive_buffer = 8192;
    if (l->o.until > 0) l->o.parse_percent = 100;
}

static void raise_nofile(void) {
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

/* Worker i of the load; never returns. */
static void be_worker(struct load *l, uint32_t i) {
    struct swarm_options o = l->o;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == 1) _exit(0);
    o.first = first_of(l, i);
    o.streams = first_of(l, i + 1) - o.first;
    if (l->processes > 1) o.source = (o.source ? o.source : 2) + i;
    swarm_run(&o, &l->tallies[i]);
    _exit(0);
}

static void start(struct load *l) {
    const size_t size = l->processes * sizeof *l->tallies;
    l->tallies =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (l->tallies == MAP_FAILED) {
        perror("load: mmap");
        exit(1);
    }
    l->before_ns = clock_ns();
    for (uint32_t i = 0; i < l->processes; i++) {
        l->children[i] = fork();
        if (l->children[i] == 0) be_worker(l, i);
    }
}

int main(int argc, char **argv) {
    static struct load l;
    read_options(&l, argc, argv);
    raise_nofile();
    start(&l);
    run(&l);
    for (uint32_t i = 0; i < l.processes; i++) atomic_store(&l.tallies[i].quit, 1);
    for (uint32_t i = 0; i < l.processes; i++) waitpid(l.children[i], NULL, 0);
    return 0;
}
