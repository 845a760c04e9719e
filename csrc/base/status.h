/* Status codes: every function that can fail returns 0 or one of these (or a negative
 * errno, for what the kernel refused). The names are stable: Lua programs and HTTP
 * clients compare them. */
#ifndef SLUICE_BASE_STATUS_H
#define SLUICE_BASE_STATUS_H

enum status {
    E_NOMEM = -2001,    /* a size that a peer controls could not be allocated */
    E_BADFIELD = -2002, /* an event name, id or header holds what it must not */
    E_TOOBIG = -2003,   /* over a limit of bounds.h or of the configuration */
    E_BUSY = -2004,     /* a mailbox is full: nothing was stored, try again */
    E_FULL = -2005,     /* a table or memory limit is reached: refused */
    E_KEY = -2006,      /* the channel is keyed and the event brings no key */
    E_CHANNEL = -2007,  /* not a channel name */
    E_CLOSED = -2008,   /* the stream, request or server is gone */
    E_NOTFOUND = -2009, /* no such client, channel or file */
    E_DENIED = -2010,   /* a rule says no */
    E_INVAL = -2011,    /* an argument makes no sense */
    E_ADDRESS = -2012,  /* the address cannot be parsed */
    E_TIMEOUT = -2013,  /* another server did not answer in time */
    E_CONNECT = -2014,  /* ... cannot be reached */
    E_UPSTREAM = -2015, /* ... broke off, or said what makes no sense */
    E_TRIMMED = -2016,  /* what was missed is not kept any more */
    E_STORE = -2017,    /* the durable store cannot take or give it now */
    E_LOCKED = -2018,   /* another process has the data folder */
    E_DAMAGED = -2019,  /* what is stored is not what was written */
    E_RATE = -2020,     /* over a limit of its address or user */
    E_CONFLICT = -2021, /* what is stored is not what it was expected to be */
    E_AWAY = -2022,     /* EBUSY: Redis is away: nothing was stored, try again */
    E_REFUSED = -2023,  /* EBUSY: Redis takes no writes: nothing was stored, try again */
    E_MEMORY = -2024    /* EFULL: Redis is out of memory: nothing was stored */
};

/* The stable name of a code ("EFULL"), or the errno's ("EADDRINUSE"). Never NULL. */
const char *status_name(int code);

/* One sentence for people. Never NULL; static storage (errno: thread-local). */
const char *status_text(int code);

#endif
