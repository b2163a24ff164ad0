/* In place of arena.c wherever sanitizers look on: every piece of memory is one of its own. */
#include <sanitizer/asan_interface.h>
#include <stdlib.h>

#include "../mem.h"
#include "../refuse.h"
#include "fuzz.h"

enum { PIECES = 1 << 20, ALL = 16 << 20 };

static struct {
    void *place;
    size_t size;
} piece[PIECES];
static size_t pieces;
static size_t taken;

static void give_back(void) {
    pieces--;
    taken -= piece[pieces].size;
    free(piece[pieces].place);
}

void fuzz_forget(void) {
    while (pieces) {
        give_back();
    }
}

void *mem_take(size_t size) {
    if (pieces == PIECES || size > ALL - taken) {
        refuse("split the policy or use a smaller workspace", "the launch needs more than %d MiB of memory", ALL >> 20);
    }
    taken += size;
    piece[pieces].size = size;
    return piece[pieces++].place = malloc(size ? size : 1);
}

void mem_trim(void *place, size_t size) {
    while (piece[pieces - 1].place != place) {
        give_back();
    }
    ASAN_POISON_MEMORY_REGION((char *)place + size, piece[pieces - 1].size - size);
    taken -= piece[pieces - 1].size - size;
    piece[pieces - 1].size = size;
}
