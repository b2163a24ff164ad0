/* In place of arena.c wherever sanitizers look on: every piece of memory is one of its own. */
#include <sanitizer/asan_interface.h>
#include <stdlib.h>

#include "../mem.h"
#include "../refuse.h"
#include "fuzz.h"

enum { PIECES = 1 << 20, ALL = 16 << 20 };

static void *piece[PIECES];
static size_t pieces;
static size_t taken;
static size_t latest;

void fuzz_forget(void) {
    while (pieces) {
        free(piece[--pieces]);
    }
    taken = 0;
}

void *mem_take(size_t size) {
    if (pieces == PIECES || size > ALL - taken) {
        refuse("split the policy or use a smaller workspace", "the launch needs more than %d MiB of memory", ALL >> 20);
    }
    taken += size;
    latest = size;
    return piece[pieces++] = malloc(size ? size : 1);
}

void mem_trim(void *place, size_t size) {
    ASAN_POISON_MEMORY_REGION((char *)place + size, latest - size);
    taken -= latest - size;
    latest = size;
}
