#include "fds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control.h"
#include "refuse.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { CLOSE_ON_EXEC = 1 << 2 }; /* CLOSE_RANGE_CLOEXEC */

/* Kernels before 5.9 have no close_range, before 5.11 not with this flag. */
static void each_from(int first, unsigned flags) {
    if (syscall(SYS_close_range, (unsigned)first, ~0U, flags) == 0) {
        return;
    }
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        refuse("mount /proc", "cannot list open descriptors");
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);
        if (*end || end == entry->d_name || fd < first || fd == dirfd(dir)) {
            continue;
        }
        if (flags) {
            fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        } else {
            close((int)fd);
        }
    }
    closedir(dir);
}

void fds_clean_start(void) {
    each_from(3, 0);
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            _exit(EXIT_REFUSED);
        }
        struct stat st;
        if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) { /* openat from it passes every mount by */
            refuse("redirect it from a file, a pipe or a terminal", "descriptor %d is a directory", fd);
        }
    }
}

void close_on_exec_from(int first) {
    each_from(first, CLOSE_ON_EXEC);
}

int fd_high(int fd) {
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, FD_FIRST_FREE);
    if (moved < 0) {
        refuse("raise ulimit -n", "cannot prepare the descriptors of the sandbox: %s", strerror(errno));
    }
    close(fd);
    return moved;
}
