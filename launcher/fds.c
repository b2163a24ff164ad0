#include "fds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "control.h"
#include "refuse.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { CLOSE_ON_EXEC = 1 << 2 }; /* CLOSE_RANGE_CLOEXEC */
enum { PROC_MAGIC = 0x9fa0, NAMESPACE_MAGIC = 0x6e736673, PIDFD_MAGIC = 0x50494446 }; /* linux/magic.h; not all have them */

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

/* Of another user's terminal the workload could type into it, of a disk read past every mount. */
static bool is_plain_device(int fd, const struct stat *st) {
    static const unsigned memory[] = {3, 5, 7, 8, 9}; /* null, zero, full, random, urandom */
    if (major(st->st_rdev) == 1) {
        for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
            if (minor(st->st_rdev) == memory[i]) {
                return true;
            }
        }
    }
    bool master = major(st->st_rdev) == 5 && minor(st->st_rdev) == 2; /* the end that types */
    return !master && isatty(fd);
}

/* A socket keeps the network of whoever made it: one that could still be connected elsewhere, TCP by way of
 * AF_UNSPEC included, would lead out of the sandbox. */
static bool is_connected_pair(int fd) {
    int domain = 0;
    int type = 0;
    int listens = 1;
    socklen_t size = sizeof(int);
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && (type == SOCK_STREAM || type == SOCK_SEQPACKET) &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && !listens &&
           getpeername(fd, (struct sockaddr *)&peer, &length) == 0;
}

/* /proc/PID/mem and the like, namespaces, processes: they look like files, and are none. */
static bool is_kernels_own(int fd) {
    struct statfs fs;
    return fstatfs(fd, &fs) != 0 || fs.f_type == PROC_MAGIC || fs.f_type == NAMESPACE_MAGIC ||
           fs.f_type == PIDFD_MAGIC;
}

/* What the workload must not hold, because it would reach through it what the mounts keep away; NULL: it may. */
static const char *problem_with(int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return "something that cannot be looked at";
    }
    if (fcntl(fd, F_GETFL) & O_PATH) {
        return S_ISDIR(st.st_mode) ? "a directory" : "opened as a path only";
    }
    switch (st.st_mode & S_IFMT) {
        case S_IFIFO:
            return NULL;
        case S_IFREG:
            return is_kernels_own(fd) ? "a file of the kernel's own, not of a disk" : NULL;
        case S_IFCHR:
            return is_plain_device(fd, &st) ? NULL : "a device, and neither a terminal nor like /dev/null";
        case S_IFSOCK:
            return is_connected_pair(fd) ? NULL : "a socket that could be connected elsewhere";
        case S_IFDIR: /* openat from it passes every mount by */
            return "a directory";
        case S_IFBLK:
            return "a block device";
        default:
            return "neither file, pipe nor terminal";
    }
}

void fds_clean_start(void) {
    each_from(3, 0);
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            _exit(EXIT_REFUSED);
        }
    }
    for (int fd = 0; fd < 3; fd++) {
        const char *problem = problem_with(fd);
        if (problem) {
            refuse("redirect it from or to a file, a pipe or a terminal: cat | fleetbox-run ... | cat",
                   "descriptor %d is %s", fd, problem);
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

bool is_exhausted(int problem) {
    return problem == EMFILE || problem == ENFILE || problem == ENOMEM || problem == ENOSPC;
}
