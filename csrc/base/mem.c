/* Counted allocation; see mem.h. The count is read when the threads are quiet. */
#include "base/mem.h"

#include "base/count.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static struct count live;
static atomic_long fail_in;
static atomic_int fail_ever;

static int must_fail(void) {
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) == 0) return 0;
    long left = atomic_fetch_sub(&fail_in, 1);
    if (left > 1) return 0;
    atomic_store(&fail_in, atomic_load(&fail_ever) ? 1 : 0);
    return left == 1;
}

static void *counted(void *p) {
    if (p) count_add(&live, 1);
    return p;
}

void *mem_new(size_t size) {
    void *p = calloc(1, size);
    if (!p) {
        fprintf(stderr, "sluice: out of memory (%zu bytes)\n", size);
        abort();
    }
    return counted(p);
}

void *mem_try(size_t size) {
    return must_fail() ? NULL : counted(malloc(size));
}

void *mem_resize(void *p, size_t size) {
    if (!p) return mem_try(size);
    return must_fail() ? NULL : realloc(p, size);
}

char *mem_strndup(const char *p, size_t n) {
    char *copy = mem_new(n + 1);
    if (n > 0) memcpy(copy, p, n);
    return copy;
}

void mem_free(void *p) {
    if (p) count_add(&live, -1);
    free(p);
}

void mem_give_back(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

long mem_live(void) {
    return count_sum(&live);
}

long mem_fail_left(void) {
    return atomic_load(&fail_in);
}

void mem_fail_after(long n, int ever) {
    atomic_store(&fail_ever, ever);
    atomic_store(&fail_in, n);
}
