/* What the client asks for on top of a constant plan: ?keys=, ?types= and ?max_rate= narrow
 * it and never widen it, and its channel templates are filled from the path. */
#ifndef SLUICE_SERVE_IO_NARROW_H
#define SLUICE_SERVE_IO_NARROW_H

#include "serve/request.h"

/* What is wrong with the query of a 422, or the path of a 404. */
struct narrow_fault {
    const char *field; /* the parameter, as the route names it; NULL: the path */
    const char *message;
};

/* The plan for this request. 0 and *out owned; or 400, 404 (a parameter that is no
 * channel segment) or 422, both with *fault, or 503. */
int narrow_plan(const struct request *r, struct plan **out, struct narrow_fault *fault);

#endif
