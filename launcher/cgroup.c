#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "path.h"
#include "refuse.h"
#include "small.h"

#define PREFIX "fleetbox-"
/* The limits are on the one above, or a nested sandbox could mount its own cgroup and take them off. */
#define INSIDE "sandbox"

#define DEPTH "8" /* not deeper than LEVELS, or what a workload makes there could not be removed */

enum { LEVELS = 16, TEXT_SIZE = 4096, REMOVE_TRIES = 200, TRY_NS = 10 * 1000 * 1000 };

/* The one of this launch, for the handler at exit. The lock on its descriptor says that somebody uses it. */
static const char *own_parent;
static char own_name[64];
static int own = -1;

static bool read_text(int dir, const char *name, char text[TEXT_SIZE]) {
    return small_read(dir, name, text, TEXT_SIZE) >= 0;
}

static bool write_text(int dir, const char *name, const char *text) {
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    ssize_t length = (ssize_t)strlen(text);
    bool done = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0) {
        close(fd);
    }
    return done;
}

static bool has_word(const char *text, const char *word) {
    size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += length) {
        bool begins = at == text || at[-1] == ' ' || at[-1] == '\n';
        if (begins && (at[length] == ' ' || at[length] == '\n' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* The number after `key` in a file of keys and numbers. */
static uint64_t number_in(const char *name, const char *key) {
    char text[TEXT_SIZE];
    size_t length = strlen(key);
    if (!read_text(own, name, text)) {
        return 0;
    }
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            return strtoull(line + length, NULL, 10);
        }
    }
    return 0;
}

/* Where cgroup2 is mounted, and which of its directories that mount shows. */
static bool find_mount(char root[PATH_LIMIT], char place[PATH_LIMIT]) {
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char line[3 * PATH_LIMIT];
    bool found = false;
    while (mounts && !found && fgets(line, sizeof line, mounts)) {
        const char *kind = strstr(line, " - ");
        found = kind && strncmp(kind, " - cgroup2 ", 11) == 0 &&
                sscanf(line, "%*s %*s %*s %4095s %4095s", root, place) == 2;
    }
    if (mounts) {
        fclose(mounts);
    }
    return found;
}

/* The directory of our own cgroup; NULL where the mount does not show it. */
static const char *own_directory(size_t *mount_length) {
    char root[PATH_LIMIT];
    char place[PATH_LIMIT];
    char text[TEXT_SIZE];
    if (!find_mount(root, place) || !read_text(AT_FDCWD, "/proc/self/cgroup", text)) {
        return NULL;
    }
    char *path = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!path) {
        return NULL;
    }
    path += *path == '\n' ? 4 : 3;
    path[strcspn(path, "\n")] = '\0';
    if (!path_at_or_below(path, root)) {
        return NULL;
    }
    const char *below = strcmp(root, "/") == 0 ? path : path + strlen(root);
    *mount_length = strlen(place);
    return mem_text("%s%s", place, strcmp(below, "/") == 0 ? "" : below);
}

/* Whether a cgroup made in `dir` would have what is asked for: all of it, or at least a part. */
static bool offers(const char *dir, struct limits *limits, bool all) {
    char text[TEXT_SIZE];
    const char *procs = path_join(dir, "cgroup.procs");
    if (access(dir, W_OK) != 0 || access(procs, W_OK) != 0 ||
        !read_text(AT_FDCWD, path_join(dir, "cgroup.subtree_control"), text)) {
        return false;
    }
    limits->memory_in_cgroup = limits->memory && has_word(text, "memory");
    limits->pids_in_cgroup = limits->pids && has_word(text, "pids");
    bool whole = limits->memory_in_cgroup == !!limits->memory && limits->pids_in_cgroup == !!limits->pids;
    return all ? whole : limits->memory_in_cgroup || limits->pids_in_cgroup;
}

/* From our own upwards: one that has processes cannot hand memory down, so that it is mostly the one above. */
static bool find_with(struct limits *limits, const char *start, size_t mount_length, bool all) {
    char *dir = mem_copy(start, strlen(start));
    for (int level = 0; level < LEVELS && strlen(dir) >= mount_length && dir[0]; level++) {
        if (offers(dir, limits, all)) {
            limits->cgroup = dir;
            return true;
        }
        char *slash = strrchr(dir, '/');
        if (!slash) {
            break;
        }
        *slash = '\0';
    }
    limits->memory_in_cgroup = limits->pids_in_cgroup = false;
    return false;
}

void cgroup_find(struct limits *limits) {
    size_t mount_length;
    const char *start = own_directory(&mount_length);
    if (start && !find_with(limits, start, mount_length, true)) {
        find_with(limits, start, mount_length, false);
    }
}

static void kill_listed(int dir) {
    char text[TEXT_SIZE];
    char *end;
    if (!read_text(dir, "cgroup.procs", text)) {
        return;
    }
    for (char *at = text; strtol(at, &end, 10) > 0; at = end) {
        kill((pid_t)strtol(at, NULL, 10), SIGKILL);
    }
}

/* Empty ones, which a nested sandbox can leave. */
static void remove_below(int dir, int level) {
    int listed = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = listed < 0 ? NULL : fdopendir(listed);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.') {
            continue;
        }
        int below = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (below >= 0) {
            kill_listed(below);
            if (level < LEVELS) {
                remove_below(below, level + 1);
            }
            close(below);
        }
        unlinkat(dir, entry->d_name, AT_REMOVEDIR);
    }
    if (entries) {
        closedir(entries);
    }
}

/* Ends what is still in it; a killed process leaves a moment later. */
static bool remove_with_contents(int parent, const char *name, int dir) {
    for (int i = 0; i < REMOVE_TRIES; i++) {
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
            return true;
        }
        if (!write_text(dir, "cgroup.kill", "1")) { /* before 5.14 */
            kill_listed(dir);
        }
        remove_below(dir, 0);
        nanosleep(&(struct timespec){0, TRY_NS}, NULL);
    }
    return false;
}

/* As make_locked names them: a service of the user's may begin like that, and is not to be ended. */
static bool is_a_launchers(const char *name) {
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) {
        return false;
    }
    const char *number = name + sizeof PREFIX - 1;
    size_t pid = strspn(number, "0123456789");
    size_t try = number[pid] == '-' ? strspn(number + pid + 1, "0123456789") : 0;
    return pid && try && number[pid + 1 + try] == '\0';
}

/* Of launchers that were killed: nobody holds their lock any more. */
static void remove_stale(int parent) {
    int listed = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = listed < 0 ? NULL : fdopendir(listed);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        if (!is_a_launchers(entry->d_name)) {
            continue;
        }
        int dir = openat(parent, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (dir >= 0 && flock(dir, LOCK_EX | LOCK_NB) == 0) {
            remove_with_contents(parent, entry->d_name, dir);
        }
        if (dir >= 0) {
            close(dir);
        }
    }
    if (entries) {
        closedir(entries);
    }
}

static void tell_what_was_reached(void) {
    uint64_t ended = number_in("memory.events", "oom_kill");
    uint64_t refused = number_in("pids.events", "max");
    if (ended) {
        warn("process.limits.memory was reached: the kernel ended %" PRIu64 " process%s", ended, ended == 1 ? "" : "es");
    }
    if (refused) {
        warn("process.limits.pids was reached: %" PRIu64 " time%s no process could be started", refused,
             refused == 1 ? "" : "s");
    }
}

static void remove_own(void) {
    int parent = open(own_parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tell_what_was_reached();
    if (parent < 0 || !remove_with_contents(parent, own_name, own)) {
        warn("cannot remove the cgroup %s/%s", own_parent, own_name);
    }
}

/* The lock comes after the directory: between them another launch may take it for a stale one and remove it. */
static bool make_locked(int parent) {
    for (int i = 0; i < 3; i++) {
        snprintf(own_name, sizeof own_name, PREFIX "%d-%d", (int)getpid(), i);
        if (mkdirat(parent, own_name, 0755) != 0) {
            continue;
        }
        struct stat there;
        own = openat(parent, own_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (own >= 0 && flock(own, LOCK_EX | LOCK_NB) == 0 && fstatat(parent, own_name, &there, AT_SYMLINK_NOFOLLOW) == 0) {
            return true;
        }
    }
    return false;
}

static bool set_limits(const struct limits *limits) {
    bool done = true;
    if (limits->memory_in_cgroup) {
        done = write_text(own, "memory.max", mem_text("%" PRIu64, limits->memory));
        write_text(own, "memory.swap.max", "0"); /* or what does not fit goes there; a kernel without swap has no such file */
    }
    if (limits->pids_in_cgroup) { /* the inner stage is one of them */
        done = done && write_text(own, "pids.max", mem_text("%" PRIu64, limits->pids + 1));
    }
    return done && write_text(own, "cgroup.max.depth", DEPTH) && mkdirat(own, INSIDE, 0755) == 0;
}

bool cgroup_make(const struct limits *limits) {
    int parent = open(limits->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) {
        return false;
    }
    remove_stale(parent);
    bool made = make_locked(parent);
    close(parent);
    if (!made) {
        return false;
    }
    own_parent = limits->cgroup;
    atexit(remove_own);
    return set_limits(limits);
}

bool cgroup_place(pid_t pid) {
    return write_text(own, INSIDE "/cgroup.procs", mem_text("%d", (int)pid));
}
