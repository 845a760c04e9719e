/* Faults on purpose: whatever can fail at the system's hands asks here first, so that a spec
 * can let each of these steps fail once. In a server that runs nothing ever does. */
#ifndef SLUICE_BASE_FAULT_H
#define SLUICE_BASE_FAULT_H

#include <stdbool.h>

/* Whether this step is to fail; errno is ENOMEM then. [any thread] */
bool fault_here(void);

/* Let the n-th step from now fail (1 = the next; 0 = none). With 'ever', all later ones fail
 * as well. */
void fault_after(long n, bool ever);

/* How many from now the one that fails is; 0: none will, or it has. */
long fault_left(void);

#endif
