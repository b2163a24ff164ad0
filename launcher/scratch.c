#include "scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Empty, always there, and no rule reaches below /dev. */
#define PLACE "/dev/shm"

enum { KEEP_CLOSED = MS_NOSUID | MS_NODEV };

static bool fill(struct scratch *scratch) {
    int root = scratch->root;
    if (mkdirat(root, "denied", 0000) != 0 || mkdirat(root, "empty", 0555) != 0 ||
        mknodat(root, "denied-file", S_IFREG, 0) != 0) {
        return false;
    }
    scratch->denied_dir = openat(root, "denied", O_PATH | O_CLOEXEC);
    scratch->denied_file = openat(root, "denied-file", O_PATH | O_CLOEXEC);
    scratch->empty_dir = openat(root, "empty", O_PATH | O_CLOEXEC);
    return scratch->denied_dir >= 0 && scratch->denied_file >= 0 && scratch->empty_dir >= 0;
}

bool scratch_open(struct scratch *scratch) {
    if (mount("tmpfs", PLACE, "tmpfs", KEEP_CLOSED, "mode=0755") != 0) {
        return false;
    }
    scratch->root = open(PLACE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return scratch->root >= 0 && fill(scratch);
}

struct name {
    char text[32];
};

static struct name name_of(const char *what, size_t number) {
    struct name name;
    snprintf(name.text, sizeof name.text, "%s-%zu", what, number);
    return name;
}

bool scratch_make(const struct scratch *scratch, const char *what, size_t number) {
    return mkdirat(scratch->root, name_of(what, number).text, 0755) == 0;
}

int scratch_get(const struct scratch *scratch, const char *what, size_t number) {
    return openat(scratch->root, name_of(what, number).text, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

bool scratch_set_mode(const struct scratch *scratch, const char *what, size_t number, mode_t mode) {
    return fchmodat(scratch->root, name_of(what, number).text, mode, 0) == 0;
}

bool scratch_seal(void) {
    /* The mount, which hands it on to every bind, and not the file system: on that one a denied file would answer
     * "read-only" where it must say "permission denied". */
    return mount(NULL, PLACE, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | KEEP_CLOSED, NULL) == 0;
}

bool scratch_close(const struct scratch *scratch) {
    const int fds[] = {scratch->root, scratch->denied_dir, scratch->denied_file, scratch->empty_dir};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        close(fds[i]);
    }
    return umount2(PLACE, MNT_DETACH) == 0;
}
