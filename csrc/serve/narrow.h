/* What the client wishes on top of a constant plan: ?keys= and ?types= narrow it and
 * never widen it, and its channel templates are filled from the path. */
#ifndef SLUICE_SERVE_NARROW_H
#define SLUICE_SERVE_NARROW_H

#include "serve/request.h"

/* The plan for this request. 0 and *out owned; or 400, 404 (a parameter that is no
 * channel segment) or 503. */
int narrow_plan(const struct request *r, struct plan **out);

#endif
