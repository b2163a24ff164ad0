/* Where all memory of a launch comes from. Alone in its file: the builds with sanitizers have another one
 * (fuzz/pieces.c), in which every piece has an end that is seen. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "mem.h"
#include "refuse.h"

enum { ARENA_SIZE = 16 * 1024 * 1024, STEP = 1024 * 1024 };

static unsigned char *arena;
static size_t usable;
static size_t used;

/* Only addresses are taken at once. What a limit (ulimit -d, -v) refuses later is a refusal here; as .bss it would be
 * the end of this program before its first word. */
static void reserve(void) {
    void *place = mmap(NULL, ARENA_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) {
        refuse("raise ulimit -v", "cannot have %d MiB of addresses: %s", ARENA_SIZE >> 20, strerror(errno));
    }
    arena = place;
}

static void make_usable(size_t size) {
    size_t more = (size - usable + STEP - 1) / STEP * STEP;
    if (mprotect(arena + usable, more, PROT_READ | PROT_WRITE) != 0) {
        refuse("raise ulimit -d and ulimit -v", "cannot have %zu MiB of memory: %s", (usable + more) >> 20,
               strerror(errno));
    }
    usable += more;
}

void *mem_take(size_t size) {
    const size_t align = _Alignof(max_align_t);
    if (size > ARENA_SIZE - used || ARENA_SIZE - used - size < align) {
        refuse("split the policy or use a smaller workspace", "the launch needs more than %d MiB of memory",
               ARENA_SIZE >> 20);
    }
    if (!arena) {
        reserve();
    }
    size_t end = used + (size + align - 1) / align * align;
    if (end > usable) {
        make_usable(end);
    }
    void *place = arena + used;
    used = end;
    return place;
}

void mem_trim(void *place, size_t size) {
    const size_t align = _Alignof(max_align_t);
    size_t start = (size_t)((unsigned char *)place - arena);
    used = start + (size + align - 1) / align * align;
}
