/* Where all memory of a launch comes from. Alone in its file: the builds with sanitizers have another one
 * (fuzz/pieces.c), in which every piece has an end that is seen. */
#include "mem.h"
#include "refuse.h"

enum { ARENA_SIZE = 16 * 1024 * 1024 };

/* In .bss: a page costs nothing before it is touched. */
static _Alignas(max_align_t) unsigned char arena[ARENA_SIZE];
static size_t used;

void *mem_take(size_t size) {
    const size_t align = _Alignof(max_align_t);
    if (size > ARENA_SIZE - used || ARENA_SIZE - used - size < align) {
        refuse("split the policy or use a smaller workspace", "the launch needs more than %d MiB of memory",
               ARENA_SIZE >> 20);
    }
    void *place = arena + used;
    used += (size + align - 1) / align * align;
    return place;
}

void mem_trim(void *place, size_t size) {
    const size_t align = _Alignof(max_align_t);
    size_t start = (size_t)((unsigned char *)place - arena);
    used = start + (size + align - 1) / align * align;
}
