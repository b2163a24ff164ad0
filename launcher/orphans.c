#include "orphans.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "small.h"

/* Their numbers, as the kernel lists them. */
struct children {
    char text[4096];
};

/* The caller's: after `job & exec fleetbox-run ...` they are ours. */
static struct children before;
static bool without_mounts;

static struct children read_children(void) {
    struct children children;
    small_read_children(children.text, sizeof children.text);
    return children;
}

static pid_t next(const char **at) {
    char *end;
    pid_t pid = (pid_t)strtol(*at, &end, 10);
    *at = end;
    return pid;
}

static bool is_listed(const struct children *children, pid_t wanted) {
    const char *at = children->text;
    for (pid_t pid; (pid = next(&at)) > 0;) {
        if (pid == wanted) {
            return true;
        }
    }
    return false;
}

/* An orphan of the caller's jobs. bwrap's child has mounts of its own from its first moment on. */
static bool has_our_mounts(pid_t pid) {
    char path[64];
    struct stat ours;
    struct stat theirs;
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    return stat("/proc/self/ns/mnt", &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino;
}

static long filters_of(const char *process) {
    char path[64];
    char text[4096];
    snprintf(path, sizeof path, "/proc/%s/status", process);
    small_read(AT_FDCWD, path, text, sizeof text);
    const char *line = strstr(text, "\nSeccomp_filters:");
    return line ? strtol(strchr(line, ':') + 1, NULL, 10) : 0;
}

static bool is_ours(pid_t pid) {
    char name[32];
    snprintf(name, sizeof name, "%d", (int)pid);
    return without_mounts ? filters_of(name) > filters_of("self") : !has_our_mounts(pid);
}

void orphans_adopt(bool alone) {
    without_mounts = alone;
    before = read_children();
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* An inner stage would end by itself; a child that bwrap has not yet let run would not. */
void orphans_end(void) {
    for (bool any = true; any;) {
        const struct children children = read_children();
        const char *at = children.text;
        any = false;
        for (pid_t pid; (pid = next(&at)) > 0;) {
            if (!is_listed(&before, pid) && is_ours(pid) && kill(pid, SIGKILL) == 0) {
                waitpid(pid, NULL, 0);
                any = true;
            }
        }
    }
}
