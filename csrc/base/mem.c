/* Counted allocation; see mem.h. The count is read when the threads rest. */
#include "base/mem.h"

#include "base/count.h"
#include "base/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static struct count live;

static void *counted(void *p) {
    if (p) count_add(&live, 1);
    return p;
}

static void give_up(size_t size) {
    fprintf(stderr, "sluice: out of memory (%zu bytes)\n", size);
    abort();
}

void *mem_new(size_t size) {
    void *p = calloc(1, size);
    if (!p) give_up(size);
    return counted(p);
}

void *mem_try(size_t size) {
    return fault_here() ? NULL : counted(malloc(size));
}

void *mem_resize(void *p, size_t size) {
    if (!p) return mem_try(size);
    return fault_here() ? NULL : realloc(p, size);
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

void *mem_pages(size_t size) {
    void *p =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) give_up(size);
    return p;
}

void mem_free_pages(void *p, size_t size) {
    munmap(p, size);
}

void mem_give_back(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

long mem_live(void) {
    return count_sum(&live);
}
