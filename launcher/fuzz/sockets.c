/* A line of /proc/net/unix, whose end is a name that anybody may have chosen, and of /proc/self/mountinfo. */
#include "../mountinfo.c"
#include "../sockets.c"

#include "fuzz.h"

static void read_lines(char *text) {
    char *again = mem_copy(text, strlen(text));
    for (char *line; (line = cut(&text, '\n'));) {
        const char *end = line + strlen(line);
        const char *path = socket_path(line);
        fuzz_check(path >= line && path <= end, "a path outside of the line");
    }
    for (char *line; (line = cut(&again, '\n'));) {
        struct mount mount;
        if (read_line(&mount, line)) {
            fuzz_check(strlen(mount.path) + strlen(mount.root) + 1 > 0, "no path");
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (setjmp(fuzz_refused) == 0) {
        read_lines(mem_copy((const char *)bytes, strnlen((const char *)bytes, length)));
    }
    fuzz_forget();
    return 0;
}
