/* What a workload may have written for git: an index, a configuration, a `.git` file. */
#include "../git.c"

#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

static const char *place(void) {
    static char path[64];
    if (!path[0]) {
        snprintf(path, sizeof path, "/dev/shm/fleetbox-fuzz-%d", (int)getpid());
    }
    return path;
}

static void remove_place(void) {
    unlink(place());
}

static void put(const uint8_t *bytes, size_t length) {
    static int fd = -1;
    if (fd < 0) {
        fd = open(place(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        atexit(remove_place);
    }
    fuzz_check(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, length, 0) == (ssize_t)length, "cannot write the file");
}

static void read_all(const uint8_t *bytes, size_t length) {
    struct strings found = parse_index(bytes, length);
    for (size_t i = 0; i < found.count; i++) {
        fuzz_check(path_is_plain_relative(found.item[i]), "a submodule that leads elsewhere");
    }
    put(bytes, length);
    const char *pointer = git_read_pointer(place());
    fuzz_check(!pointer || !strpbrk(pointer, "\r\n"), "a pointer of two lines");
    git_hooks_path(place());
    git_submodules(place());
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (setjmp(fuzz_refused) == 0) {
        read_all(bytes, length);
    }
    fuzz_forget();
    return 0;
}
