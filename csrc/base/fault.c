/* A countdown; see fault.h. */
#include "base/fault.h"

#include <errno.h>
#include <stdatomic.h>

static atomic_long fail_in;
static atomic_bool fail_ever;

bool fault_here(void) {
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) == 0) return false;
    long left = atomic_fetch_sub(&fail_in, 1);
    if (left > 1) return false;
    atomic_store(&fail_in, atomic_load(&fail_ever) ? 1 : 0);
    errno = ENOMEM;
    return left == 1;
}

long fault_left(void) {
    return atomic_load(&fail_in);
}

void fault_after(long n, bool ever) {
    atomic_store(&fail_ever, ever);
    atomic_store(&fail_in, n);
}
