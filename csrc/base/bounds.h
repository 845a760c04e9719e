/* Every limit of Sluice, its reason, and what happens when it is hit.
 *
 * A limit that an operator may change is a default here and an option there; the rest
 * are facts of the design. Sizes are bytes, times milliseconds unless the name says
 * otherwise. */
#ifndef SLUICE_BASE_BOUNDS_H
#define SLUICE_BASE_BOUNDS_H

/* ---- Names ------------------------------------------------------------------------ */
#define CHANNEL_NAME_MAX 128   /* a longer name is refused: ECHANNEL */
#define CHANNEL_SEGMENT_MAX 64 /* one segment of it */
#define CHANNEL_SEGMENTS_MAX 8 /* depth of it */
#define EVENT_NAME_MAX 64      /* EBADFIELD */
#define EVENT_KEY_MAX 256      /* a longer key is refused: ETOOBIG */
#define PATTERN_MAX 256        /* a route or channel pattern */
#define PATTERN_CAPTURES_MAX 16

/* ---- Events ----------------------------------------------------------------------- */
/* Data of an event, as it is given and as it arrives (a byte that is no UTF-8 becomes
 * three): ETOOBIG to the publisher. Go clients built on bufio.Scanner stop at a line of
 * 64 KiB, which such data makes at most, with "data: " before it. What frames the data is
 * ours to reserve: if it is nothing but line ends, each has seven bytes on the wire. */
#define EVENT_BYTES_MAX 65000
#define FRAME_BYTES_MAX (7 * (EVENT_BYTES_MAX + 1) + EVENT_NAME_MAX + 64)
#define HISTORY_EVENTS_DEFAULT 100 /* an undeclared channel keeps this many */
#define HISTORY_EVENTS_MAX 1000000 /* more is refused when the app loads */
#define TTL_DEFAULT_MS 600000      /* and this long */
#define KEYS_MAX_DEFAULT 10000     /* keys of one channel: the oldest key is trimmed */

/* What a channel keeps beyond its history for readers that are behind: past it the
 * slow-reader policy of the channel acts. */
#define BACKLOG_EVENTS_MAX 4096
#define BACKLOG_BYTES_MAX \
    (4 * 1024 * 1024) /* above TURN_BYTES_MAX and some of the largest events */

/* ---- JSON ------------------------------------------------------------------------- */
#define JSON_BYTES_MAX (16 * 1024 * 1024) /* of one text: ETOOBIG */
#define JSON_DEPTH_MAX 64                 /* arrays and objects in each other: EJSON */
#define JSON_DEPTH_MOST 1000              /* that json.decode may be asked to read */

/* ---- Streams ---------------------------------------------------------------------- */
#define HEAP_POOLED \
    (16 * 1024 * 1024)         /* of small Lua objects: others are the C library's */
#define STREAM_CHANNELS_MAX 64 /* a plan with more is refused: 422 */
#define FILTER_ITEMS_MAX 100   /* names or keys in one filter: 422 */
#define RATE_LEAST (1.0 / 60)  /* events per second: the longest class of ticks; 422 */
/* One TLS record, one fair turn: what is gathered for one send(). A larger event goes
 * alone. */
#define GATHER_BYTES_MAX 16384
#define GATHER_CHANNELS_MAX 4 /* streams with more busy channels share no block */
/* Compression: how well. A full block takes some 70 us; one larger event is compressed less well,
 * for about twice that; what is shorter than the least is stored. Decoders take windows of up
 * to 8 MB (RFC 9659); no larger one than this has anything to find. */
#define DEFLATE_LEVEL 6
#define DEFLATE_LEVEL_LARGE 1
#define DEFLATE_LEAST 16
#define ZSTD_LEVEL 3
#define ZSTD_LEVEL_LARGE 1
#define ZSTD_WINDOW_BITS 19
/* A page of a feed is answered when it has so much, and one message more; a long-poll after so
 * long, with nothing: proxies wait for 30 s and more. */
#define FEED_ANSWER_MAX (256 * 1024)
#define FEED_WAIT_S 25
#define STREAM_PRIVATE_BYTES_MAX 65536 /* client:send waits (EFULL) above it */
#define LAST_EVENT_ID_MAX 128          /* longer ids are unknown ids: reset */
#define SYNC_FILTERED_MS 15000         /* age of the last id, stream with a filter */
#define SYNC_QUIET_MS 60000            /* ... other streams */

/* retry: what a client waits before it comes back; drawn at random, since no browser
 * adds jitter of its own. */
#define RETRY_MIN_MS 2000
#define RETRY_MAX_MS 4000
#define RETRY_OVERLOAD_MAX_MS 10000
#define RETRY_LIMIT_MIN_MS 10000 /* over a limit of its address or user */
#define RETRY_LIMIT_MAX_MS 30000
#define RETRY_DRAIN_MIN_MS 500 /* after the end of a drain: the next process starts */
#define RETRY_DRAIN_MAX_MS 2500
#define RETRY_NEVER_MS 3600000

/* ---- Durable logs ----------------------------------------------------------------- */
#define HELD_EVENTS_MAX 1024 /* in memory, of one channel: older ones come in pages */
#define HELD_BYTES_MAX (256 * 1024)    /* ... and their bytes */
#define HISTORY_PAGE_EVENTS 128        /* of a page, which is for one stream */
#define HISTORY_PAGE_BYTES (12 * 1024) /* ... about a block; one event at least */
#define HISTORY_TURNS_MAX 64 /* streams of a thread that read pages; others wait */
#define HISTORY_RETRY_MS 500 /* after a page that could not be read */
#define HISTORY_TRIES_MAX 20 /* ... then a reset, as for what was trimmed */

/* ---- Sequencer and mailboxes ------------------------------------------------------ */
#define GROUP_GAP (1u << 24)        /* numbers a durable group leaves below itself */
#define MAILBOX_EVENTS_MAX 4096     /* events waiting for one thread: EBUSY */
#define MAILBOX_TURN_MAX 1024       /* messages taken in one turn of a loop */
#define MAILBOX_TURN_MS 10          /* ... when they take so long, as requests may */
#define LOOK_AGAIN_MS 1             /* ... without being woken, in a burst */
#define LOOK_LATER_MS 10            /* ... for events that wait for a tick anyway */
#define PATIENT_LEAST_MS 100        /* the shortest period of such ticks */
#define MAILBOX_PATIENT_MAX 1024    /* ... and how many of them may wait */
#define BURST_SECONDS 0.0001        /* events closer than this are one */
#define MAILBOX_PART_MAX 32         /* ... between two looks at what they brought */
#define TURN_BYTES_MAX (256 * 1024) /* of events: then the streams are served */
#define STORM_REQUESTS 512          /* after so many, memory is given back in a calm */
#define CALM_REQUESTS 16            /* at most so many in a second */
#define META_FLOORS_MAX 64          /* policies with a floor of their own */
#define CHANNELS_MAX 1000000        /* EFULL */
#define MEMORY_DEFAULT (256u * 1024 * 1024)
#define IO_THREADS_MAX 16

/* ---- Store ------------------------------------------------------------------------ */
#define STORE_GROUP_MAX 128                     /* operations of one transaction */
#define STORE_GROUP_BYTES_MAX (4 * 1024 * 1024) /* ... and their bytes, of one at least */
#define STORE_GATHER_US 2000 /* the first of a group waits at most so long for others */
#define STORE_GATHER_GAP_US 250 /* ... and no longer when none came for so long */
#define GATHER_MAX \
    (120 * 1024) /* bytes that are written at once: SQLite takes less than 128 KiB */
#define STORE_QUEUE_MAX 4096                      /* operations that wait: EBUSY */
#define STORE_QUEUE_BYTES_MAX (64u * 1024 * 1024) /* ... and their bytes: EBUSY */
#define STORE_LATE_MS 5000 /* a commit that takes longer: ETIMEOUT; behind it: ESTORE */
#define STORE_RETRY_MS 100 /* between two looks at a commit whose result is in doubt */
#define STORE_RETRY_MAX_MS 2000
#define STORE_STEP ((uint64_t)1 << 40) /* what a start leaves above the head row */
#define STORE_COPY_STEP \
    ((uint64_t)1 << 50)                /* what a copy leaves: a thousand such starts */
#define STORE_NOTE ((uint64_t)1 << 39) /* memory events that make it be written */
#define STORE_KEY_MS 86400000          /* an idempotency key is known for so long */
#define STORE_KEYS_LOOK_MS 60000       /* ... and then deleted within so long */
#define STORE_MAINTAIN_MS 1000         /* between two rounds of retention */
#define STORE_MORE_MS 20               /* ... while a round leaves work */
#define STORE_ROUND_MAX 256            /* rows that one round deletes */
#define STORE_TRIM_MAX 64              /* ... and one event of its channel */
#define STORE_SLACK_MAX 1024 /* events a channel may have above its limit for a while */
#define STORE_SWEEP_MAX 1024 /* channels that one round looks at */
#define STORE_BUSY_MS 1000   /* for another program that writes to the file: ESTORE */
#define STORE_CHECKPOINT_PAGES 2000 /* the log is copied into the file above it: 8 MB */
#define STORE_CHECK_PAGES 8192 /* a start checks the structure of a file up to 32 MB */
#define STORE_WAL_PAGES_WARN 16384 /* ... but a reader may hold it: the log is warned */
#define STORE_SAY_MS 10000         /* trouble that changes is logged so often at most */
#define STORE_PROBE_MS 2000        /* in trouble the head is written so often, to try */
#define DURABLE_LIMITS_MS 250 /* limits that the store refused are given to it again */
#define PAIRS_BYTES_MAX (64u * 1024 * 1024) /* of all app:store of an app: EFULL */
#define PAIR_KEY_MAX 1024     /* of a key, a store's name, a durable task's id: ETOOBIG */
#define STORE_READS_MAX 16384 /* requests that wait for the reading thread: EBUSY */
#define STORE_PAGE_ROWS_MAX 1024 /* of one page */
#define STORE_PAGE_BYTES_MAX (1024 * 1024)

/* ---- Figures ---------------------------------------------------------------------- */
#define LAG_SECONDS 11 /* that the lag looks back: the one that goes on, and ten */
#define REPORT_MS 250  /* between two reports of a thread: figures are that old */
#define REPORT_TALLIES_MAX 4096 /* channels in one report; the others in the next */
/* Streams whose lag is measured for a report: those that have waited longest. More are
 * not among the slowest until one of these has caught up. */
#define REPORT_STREAMS_MAX 1024
#define LAG_WALK_MAX 1024   /* events looked at for one lag: the rest is estimated */
#define LAG_LOOKS_MAX 16384 /* ... for a report: then filters are not looked at */
/* Patterns of channels with figures of their own; the others share one. Those of a pattern that
 * an app no longer declares stay, since a counter never goes back. */
#define GROUPS_MAX 200
#define SLOWEST_MAX 1000   /* of app:slowest: refused */
#define TOP_MAX 10         /* clients and channels that were sent most */
#define TOP_STEPS 12       /* ... in so many rounds of the search for them: a minute */
#define TOP_LOOKS_MAX 8192 /* ... of which one slice looks at so many: a millisecond */
#define TOP_MARKS_MAX \
    (256 * 1024) /* ... of so many at most, for each of which a mark is kept */
#define FLIGHT_BYTES (512 * 1024) /* of each of a thread's two recorders: the oldest go */
#define FLIGHT_REQUESTS_BYTES (128 * 1024) /* ... of its third, about requests */
#define FLIGHT_LINES_MAX 200   /* of one answer, from one thread: the newest */
#define FLIGHT_CLOSED_MS 1000  /* between two lines about connections without room */
#define EXPLAIN_LOOKS_MAX 4096 /* events looked at to say what a stream lags */

/* Bytes of channels in the last minute, in steps: see serve/app/budgets.h. */
#define BUDGET_STEPS 12
#define BUDGET_STEP_MS 5000
#define BUDGET_CLEAR 0.8 /* of its budget, or less: then a channel is within it again */

/* ---- Scripts ---------------------------------------------------------------------- */
/* A run that lasts is logged: first when a loop that the usual budget of 1 s stops has been
 * stopped, then each time it has lasted twice as long, so that the log is not flooded. */
#define STALL_FIRST_MS 1250
#define STALL_LEAST_MS 100 /* a shorter run is not logged when it is over */
#define END_STUCK_MS 6000  /* a script that hangs, behind the drain: the process ends */

/* ---- Log -------------------------------------------------------------------------- */
#define LOG_KEPT_MAX \
    1000 /* lines that a test has not read yet: later ones are not kept */
#define LOG_LINES_MAX 8192          /* waiting for stderr: more are dropped and counted */
#define LOG_BYTES_MAX (1024 * 1024) /* ... and their bytes, of one line at least */
#define LOG_TEXT_MAX 16384          /* of a message or value; the rest is cut */
#define LOG_FIELDS_MAX 32           /* of one line; it says how many more there were */
#define LOG_TAIL_BYTES (128 * 1024) /* of lines that the console may still show */
#define LOG_STOP_MS 1000            /* for what still waits when the process ends */

/* ---- Connections ------------------------------------------------------------------ */
#define CONNECTIONS_MAX_DEFAULT 100000 /* over it new ones are closed at once */
/* /-/readyz turns at this part of a limit, before somebody is refused, and back below the other, so
 * that it does not flutter. */
#define LOAD_FULL 0.95
#define LOAD_AGAIN 0.90
#define DESCRIPTORS_OWN 64 /* descriptors that are no connections, about */
/* Of one address or user: see serve/limits.h. */
#define LIMIT_MOST 1000000    /* of streams, and of requests a minute, that can be said */
#define LIMIT_PER_MS 60000    /* requests are counted by the minute */
#define LIMIT_BUCKETS 65536   /* who sent some last: others are forgotten, 1.5 MB each */
#define LIMIT_EXEMPT_MAX 1000 /* networks without limits: refused */
#define LIMIT_TELL_MS 10000   /* one line of the log for each kind of limit so often */
#define GUESS_TELL_MS 10000   /* ... and about wrong admin keys, from each thread */
#define SCRAPERS_MAX 16       /* connections of the port for metrics: an idle one goes */
#define HANDED_MAX 8          /* listening sockets that are handed over: refused */
#define ACCEPT_TURN_MAX 64    /* accepted in one turn of a loop */
#define ACCEPT_SHARED_MAX 4   /* ... where several threads take from one socket */
#define HANGUPS_MAX 256       /* connections that left, taken at a time */
#define HANGUPS_MS 20         /* ... and how long they wait for each other */
#define HANGUPS_SETTLE_MAX 64 /* so often, before somebody who comes is answered */
#define BACKLOG_DRAIN_MAX 4096 /* accepted at most when a drain begins */
#define HANDSHAKES_MAX 512 /* of TLS, per I/O thread: accepting waits for one to end */
#define HANDSHAKE_MS 5000  /* for one: closed */
#define HANDSHAKE_HURRY_MS 1000 /* ... while HANDSHAKES_MAX are under way */
/* Handshakes compute so long in one turn; one takes some 400 us. Streams are served between. */
#define HANDSHAKE_TURN_US 1000
#define HANDSHAKE_BYTES_MAX 32768 /* that a client may send in one */
#define TLS_PAIRS_MAX 64          /* certificates: more are refused at the start */
#define TLS_FILE_MAX 262144       /* of a certificate with its chain, or a key */
#define TLS_LOOK_S 2              /* their files are looked at so often */
/* A new ticket key so often, and so many are understood: a ticket lives for two rotations. */
#define TICKET_ROTATE_S 43200
#define TICKET_LIFE_S 86400
#define TICKET_KEYS 3
#define ACCEPT_PAUSE_MS 100      /* pause when descriptors or memory are lacking */
#define ACCEPT_TELL_MS 10000     /* ... which is logged so often */
#define REQUESTS_QUEUED_MAX 1024 /* handed to the app, per I/O thread; others wait */
#define INPUT_BYTES_MAX 16384  /* received and not used: reading pauses. A largest head */
#define OUTPUT_BYTES_MAX 32768 /* unsent answers: parsing pauses */
#define STREAM_INPUT_MAX 4096  /* bytes behind a stream's request: closed */
#define LINGER_BYTES_MAX 65535 /* read after the last answer, so that no RST kills it */
#define LINGER_BODY_MAX \
    (16 * 1024 * 1024)       /* ... of a body that the answer did not wait for */
#define LINGER_BODY_MS 10000 /* ... and for how long */
#define PIECE_BYTES_MAX \
    65536 /* of a body that the app takes in pieces: one is under way */
/* One slice of a fan-out: then requests, and with them the next events, are read. That is
 * a time and not a number of streams, since what a send() costs differs tenfold. */
#define FLUSH_US_MAX 500
#define FLUSH_WALK_US_MAX 350 /* ... of it for streams that are not behind */
/* Streams served between two looks at the clock, and whether an answer waits to be sent:
 * for that the slice ends at once. */
#define FLUSH_STREAMS_LOOK 16
/* While commits are under way, what can wait pauses between pieces of it (run/yield.h). */
#define YIELD_EVERY_US 50     /* of work */
#define YIELD_US 50           /* of sleep, at least */
#define YIELD_PART 4          /* one us of sleep for so many of work, in the long run */
#define YIELD_CREDIT_US 10000 /* ... and so much at once */
#define RING_BATCH 128 /* writes that enter the kernel together; more gain no more */
#define RING_BATCH_BYTES (256 * 1024) /* ... and as many bytes as take half a slice */
/* Blocks that one flush makes when writes are queued: they live until the results are there.
 * Above 128 KiB malloc gives their memory back to the kernel in each turn and takes it again,
 * a page fault for each 4 KiB: a replay of 200 KB had 35, and up to four times the price. */
#define FLUSH_BYTES_MAX (96 * 1024)
#define FLUSH_WALK_BYTES_MAX (64 * 1024) /* ... of them for streams that are not behind */
#define SOCKS_KEPT_MAX 1024 /* queued writes whose memory stays for the next flush */
#define REHEARSAL_ROUNDS_MAX 100000 /* of one step: then the app does not come to rest */
#define ADDRESSES_MAX 8             /* of this machine that the first log line names */
#define WATCHED_FILES_MAX 2000      /* files whose change reloads the app: EFULL */
#define WATCH_AGAIN_S 0.5           /* a file that is away is looked for so often */
#define STATIC_FILE_MAX (1024 * 1024)
#define STATIC_BYTES_MAX (32 * 1024 * 1024)

#define HEAD_TIMEOUT_MS 10000 /* from the first byte of a head: 408 */
#define IDLE_TIMEOUT_MS 60000 /* between requests: closed in silence */
#define BODY_TIMEOUT_MS 10000 /* plus a second per BODY_RATE_MIN bytes: 408 */
#define BODY_RATE_MIN 1024
#define LINGER_TIMEOUT_MS 2000
#define QUEUE_TIMEOUT_MS 10000 /* a request the app has not taken: 503, surely not run */
#define REQUEST_TIMEOUT_MS 60000 /* taken and not answered: 504 */
#define LATE_HEAD_MS 2000      /* a stream whose plan is late gets its head without it */
#define STALL_TIMEOUT_MS 20000 /* a socket that takes nothing for so long is closed */
#define EXPIRES_LOOK_MS 60000  /* until a user expires the clock is looked at so often */
#define HEARTBEAT_MS 15000
/* A client owes an acknowledgement for a heartbeat, at least so long: its network is gone. */
#define SILENT_MS_LEAST 2000
#define POLL_WAIT_MS 25000     /* a poll with nothing to report is answered empty */
#define POLL_GRACE_MS 50000    /* ... and so long its client is there without one */
#define POLL_BYTES_MAX 65536   /* of events in one answer; one event may be larger */
#define POLLS_PARKED_MAX 16384 /* per I/O thread without a poll: the oldest ends */
#define POLLS_PARKED_BYTES_MAX (32u * 1024 * 1024) /* ... and what is kept for them */
#define DRAIN_MS 5000
#define STOP_HOOKS_MS 1000     /* for the app's stop hooks, before the drain */
#define HANDLERS_DRAIN_MS 2000 /* for handlers that still run then */
#define DRAIN_TELL_MS 1000     /* for the last words, when the time of a drain is over */
#define LEFT_HOOKS_MS 1000     /* ... and for the hooks of the clients that left last */
#define MAX_BODY_DEFAULT 65536

/* ---- Outgoing HTTP ---------------------------------------------------------------- */
#define HTTP_OUT_MAX 256            /* requests under way: EFULL */
#define HTTP_OUT_KEPT_MAX 16        /* idle connections kept for the next request */
#define HTTP_OUT_URL_MAX 8192       /* ETOOBIG */
#define HTTP_OUT_HEAD_MAX 65536     /* of an answer, and HTTP_FIELDS_MAX: ETOOBIG */
#define HTTP_OUT_PENDING_MAX 262144 /* untold, of one answer: more stays in the kernel */
#define MAIL_TO_MAX 100             /* recipients of one mail, as RFC 5321 has them */
#define MAIL_ADDRESS_MAX 254        /* of an address, RFC 5321 4.5.3.1.3 */
#define MAIL_REPLY_MAX 512          /* kept of what a server says: more is cut */
#define MAIL_SOCKETS_MAX 8          /* of one mail, while addresses are tried */
#define MAIL_THREADS_MAX 32         /* mails on their way at a time: others wait */
#define MAIL_END_MS 2000            /* for their threads, at the end of a server */

#define SQL_OPEN_MAX 16          /* files of other programs, a thread each: EFULL */
#define SQL_QUEUE_MAX 256        /* questions to one of them under way: EFULL */
#define SQL_TEXT_MAX (64 * 1024) /* of a statement: EINVAL */
#define SQL_VALUE_MAX (64 * 1024 * 1024) /* SQLite's limit for one value of them */
#define SQL_VALUE_LEAST 65536 /* ... which has room for statements and schemas */
#define SQL_STEPS 1000        /* of SQLite's machine, between two looks at the clock */
#define SQL_BUSY_LOOK_MS 5    /* between two looks at a locked file */
#define SQL_PG_LOOK_MS 200    /* between two looks at what stops a wait for PostgreSQL */
#define SQL_PG_VALUES_MAX 8   /* of a statement to it */
#define SQL_END_MS 1000       /* for their threads, at the end of a server */

/* ---- Redis -------------------------------------------------------------------------- */
#define RESP_REPLY_MAX (8 * 1024 * 1024) /* of one reply: the server is not trusted */
#define RESP_DEPTH_MAX 5                 /* lists in each other: XREAD has five */
#define RESP_ITEMS_MAX 262144            /* of all lists of a reply */
#define RESP_BLOCK_BYTES 65536           /* that a reply is kept in, and one stays */
#define WIRE_CONNECT_MS 2000             /* until a connection is there */
#define WIRE_ANSWER_MS 3000              /* for the oldest command without an answer */
#define WIRE_TICK_MS 250                 /* how often both are looked at */
#define WIRE_PENDING_MAX 1024            /* commands without an answer: EBUSY */
#define WIRE_OUT_MAX (16 * 1024 * 1024)  /* bytes that are not sent: EBUSY */
#define REDIS_OPEN_MAX 64                /* connections of sources to Redis: EFULL */
#define WIRE_TURN_READS 8                /* of 64 KiB, in a turn of the loop */
#define LINK_LOOK_MS 10000      /* how often the server's settings are looked at */
#define LINK_LOOK_OFTEN_MS 1000 /* ... where what is durable depends on them */
#define LINK_WHY_MAX 1024       /* bytes of why it is down */
#define LINK_PASSWORD_MAX 4096  /* bytes of a file with one */
#define LINK_ADDRESSES_MAX 8    /* of a name; others are not tried */
#define SENTINELS_MAX 16        /* of a cluster's URL */
#define SENTINEL_ASK_MS 1000    /* how often one is asked whether the master has moved */
/* Entries of one XREAD: the largest events fill less than RESP_REPLY_MAX. */
#define FOLLOW_COUNT_MAX 100

/* ---- Keys and hashes -------------------------------------------------------------- */
#define RSA_BITS_MIN 2048 /* weaker keys are refused (RFC 7518, 3.3) */
#define RSA_BITS_MAX 8192 /* checking takes longer with the square: refused */
#define PEM_BYTES_MAX 16384
#define SCRYPTS_MAX 2 /* hashes computed at a time: EBUSY, asked again */
#define SCRYPT_MEMORY_MAX \
    (64 * 1024 * 1024)         /* of one; a stored hash that needs more: EINVAL */
#define SCRYPT_ROUNDS_MAX 16   /* its p, which multiplies the time */
#define RANDOM_BYTES_MAX 65536 /* of one call */

/* ---- HTTP ------------------------------------------------------------------------- */
#define HTTP_METHOD_MAX 32 /* a longer method cannot be ours: 501 */
#define HTTP_LINE_MAX 8192 /* the request line without its CRLF: 414 */
#define HTTP_HEAD_MAX \
    16384                   /* request line, fields and empty line together: 431.
                                    * Real cookies reach 12 KiB. */
#define HTTP_FIELDS_MAX 100 /* 431; a request held by the parser is 3.4 KiB */
#define HTTP_HOST_MAX 255   /* the longest DNS name: 400 */
#define H2_STREAMS_MAX 128  /* of a connection: more are refused, or it ends */
#define H2_TABLE_BYTES 4096 /* of head fields that are known by number, each way */
#define H2_FLOOD_MS 10000   /* in so long a client may send ... */
#define H2_RESETS_MAX \
    150 /* ... so many resets, as all of its streams at once, or provoke them */
#define H2_USELESS_MAX 1000        /* ... and frames that ask for nothing: then GOAWAY */
#define H2_CONTINUATIONS_MAX 8     /* pieces of one head: the same */
#define H2_PING_MS 30000           /* of silence: then it is asked whether it is there */
#define H2_NOTICE_MS 1000          /* between the two GOAWAY of a drain */
#define HTTP_BLANK_LINES_MAX 2     /* empty lines before a request, from old POSTs: 400 */
#define CHUNK_DIGITS_MAX 16        /* hex digits of a size fill a uint64_t: 400 */
#define CHUNK_EXTENSION_MAX 256    /* bytes of extensions of one chunk: 400 */
#define CHUNK_EXTENSIONS_MAX 16384 /* ... of one body: they carry nothing for us: 400 */
#define CHUNK_TRAILERS_MAX 4096    /* trailers are read and dropped: 431 */
#define URL_PARAMS_MAX 100         /* parameters of one query: 400 */
#define ORIGIN_FIELDS_MAX 6        /* fields that CORS adds to one response */
#define LISTENER_CONNS_MAX 64 /* of a command that serves: more wait to be accepted */

/* ---- Clusters ----------------------------------------------------------------------- */
#define LINEAGE_MAX 16           /* ended epochs whose ids are understood */
#define MARKS_MAX 1000           /* channels that are told one by one of a loss */
#define CLUSTER_SLOT_LENGTH 13   /* base32 characters that name a run of a node */
#define CLUSTER_MARK_LENGTH 2    /* ... and begin the ids of its clients */
#define CLUSTER_REPLID_LENGTH 40 /* of a server's data */
#define CLUSTER_FENCE_MAX 63
#define CLUSTER_BATCH_MAX 64 /* publishes of one call */
#define CLUSTER_BATCH_BYTES (256 * 1024)
#define CLUSTER_BATCHES 2      /* of them under way: what comes meanwhile gathers */
#define CLUSTER_QUEUE_MAX 4096 /* publishes that are not answered: EBUSY */
#define CLUSTER_QUEUE_BYTES (16 * 1024 * 1024)
#define CLUSTER_LOAD_MAX 64                       /* channels of one call */
#define CLUSTER_LOADS 4                           /* of them under way */
#define FILL_ENTRIES_MAX (4 * HISTORY_EVENTS_MAX) /* of a channel: more makes no sense */
#define CLUSTER_PAGES 8 /* pages of histories under way: other readers wait */
#define CLUSTER_CALLS_MAX \
    17 /* of all kinds: batches, loads, pages, a beat, marks, a keep */
#define CLUSTER_DIAL_MS 2000       /* until a connection is there */
#define CLUSTER_SILENT_MS 3000     /* no answer, or nothing from the feed: dialled anew */
#define CLUSTER_BEAT_MS 1000       /* the numbering is proved so often */
#define CLUSTER_AGAIN_MS 50        /* the first pause before dialling again, */
#define CLUSTER_AGAIN_MOST_MS 2000 /* ... and the longest; half more or less */
#define CLUSTER_STEADY_MS 2000 /* joined for so long: the next pause is the first again */
#define CLUSTER_READ_BACK_MS \
    1000 /* a number is the answer when so long nothing was read */
#define CLUSTER_LEASE_MS \
    5000 /* who leads says so anew with each beat, or does not so long after */
#define CLUSTER_LEASE_EARLY_MS 1000 /* ... and stops so much earlier */
#define CLUSTER_STUCK_MS 3000       /* whose app is silent for so long leads no more */
#define CLUSTER_PATIENCE_MS 5000    /* publishes wait so long for a server: EBUSY */
/* Events of all nodes that the app has not taken: more pass it by, and its channels are loaded again. */
#define OWN_EVENTS_MAX 65536
#define OWN_BYTES_MAX (16 * 1024 * 1024)
#define CLUSTER_DEAD_MS 10000 /* a node that is silent for so long is dead */
#define LEASES_MAX 100000     /* values of a node with lease = true */
#define LEASED_BYTES 16384    /* of bits that say what may be one */
/* Notices that the app has not taken: more are dropped, and it is told that it missed some. */
#define NOTICES_MAX 4096
#define NOTICES_BYTES (16 * 1024 * 1024)

/* ---- sluice lab -------------------------------------------------------------------- */
#define LAB_CONNS_MAX 512    /* more wait to be accepted */
#define LAB_PIPE_BYTES 65536 /* on their way, of one direction: then it reads no more */
#define LAB_PIPE_LEAST 4096  /* ... however little a second brings */
#define LAB_PIECES_MAX 128   /* ... that come at times of their own */
#define LAB_TURN_BYTES 16384 /* of one connection and direction in a turn of the loop */
#define LAB_TURN_SENDS 16    /* ... where bytes go one by one */
#define LAB_BURST_MS 100 /* what a pause earns for later, where bandwidth is limited */
#define LAB_STEP_MS 20   /* ... and how often something goes */
#define LAB_REQUEST_MAX 16384 /* of a head that is answered 502: then without waiting */
#define LAB_REQUEST_MS 5000   /* ... and for how long it may take */
#define LAB_CONNECT_MS 10000  /* until the server takes a connection: 502 */

/* ---- sluice bench ------------------------------------------------------------------ */
#define CROWD_READERS_MAX 60000  /* ports of one address end before: the rest fails */
#define CROWD_UNDER_WAY_MAX 128  /* that connect at a time: a listener's queue is short */
#define CROWD_READ_BYTES 65536   /* of one reader in a turn of the loop */
#define CROWD_HEAD_MAX 16384     /* of an answer: a larger one has failed */
#define CROWD_LINE_MAX (1 << 20) /* an unfinished line: a longer one breaks its stream */
#define CROWD_STEP_MS 1          /* how often readers are opened, where a rate is given */

#endif
