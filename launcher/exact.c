#include "exact.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "resolve.h"

/* Kernels before 5.6 lack openat2, and filters of some containers answer EPERM instead of ENOSYS. */
static bool openat2_is_there = true;

static int walk(int dir, const char *path) {
    if (path[0] != '/') {
        return open_beneath(dir, path);
    }
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        return -1;
    }
    int fd = open_beneath(root, path + 1);
    int problem = errno;
    close(root);
    errno = problem;
    return fd;
}

int open_without_links(int dir, const char *path) {
    if (openat2_is_there) {
        struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
        long fd = syscall(SYS_openat2, dir, path[0] ? path : ".", &how, sizeof how);
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return (int)fd;
        }
        openat2_is_there = false;
    }
    return walk(dir, path);
}

bool is_exactly(const struct identity *identity, const struct stat *st) {
    return !identity->known || (identity->dev == st->st_dev && identity->ino == st->st_ino);
}
