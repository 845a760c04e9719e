/* The certificates of a server and the sockets that speak TLS: opened at the start, read anew
 * when their files change and when the app is reloaded.
 *
 * Files are looked at every TLS_LOOK_S, through links, however they are replaced. Those that
 * cannot be used are refused with a line in the log, and those in use go on; streams that are
 * open are not touched either way. [app] */
#ifndef SLUICE_SERVE_APP_CERTIFICATES_H
#define SLUICE_SERVE_APP_CERTIFICATES_H

#include "serve/app/server.h"

#define CERTIFICATES_WHY_MAX 512

/* Read them and listen, as the options say. 0 or a negative code; certificates_problem says
 * what was wrong with a file. */
int certificates_open(struct server *s);
void certificates_watch(struct server *s); /* once the server runs */
void certificates_close(struct server *s); /* idempotent */

/* What was wrong at the start; NULL: no file. */
const char *certificates_problem(const struct server *s);

/* Read them now. 1 when the files are others than those that were read last, else 0; or E_INVAL
 * with a sentence in 'why': nothing has changed. Without TLS 0. */
int certificates_reload(struct server *s, char why[CERTIFICATES_WHY_MAX]);

#endif
