#include "bwrap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fds.h"
#include "help.h"
#include "path.h"
#include "paths.h"
#include "refuse.h"

#define CACHE_VERSION "3"

static const struct {
    const char *option;
    unsigned feature;
    const char *since; /* NULL: there is another way without it */
} options[] = {
    {"--perms", FEATURE_PERMS, NULL},
    {"--disable-userns", FEATURE_DISABLE_USERNS, NULL},
    {"--as-pid-1", FEATURE_AS_PID_1, "0.2.0"},
    {"--new-session", FEATURE_NEW_SESSION, "0.1.7"},
    {"--die-with-parent", FEATURE_DIE_WITH_PARENT, "0.1.8"},
    {"--cap-drop", FEATURE_CAP_DROP, "0.2.0"},
    {"--remount-ro", FEATURE_REMOUNT_RO, "0.1.3"},
    {"--cap-add", FEATURE_CAP_ADD, NULL},
};

enum { KNOWN = sizeof options / sizeof *options };

static bool in_writable_root(const struct launch *launch, const char *path) {
    return roots_holding(&launch->roots, path) != NULL;
}

/* A program that others can replace is not one to start a sandbox with. */
static bool is_trustworthy(int fd, uid_t caller, bool must_be_roots) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & (S_IWGRP | S_IWOTH))) {
        return false;
    }
    return st.st_uid == 0 || (!must_be_roots && st.st_uid == caller);
}

static bool open_candidate(const struct launch *launch, const char *path, bool must_be_roots, struct bwrap *found) {
    char canonical[PATH_LIMIT];
    if (access(path, X_OK) != 0 || !realpath(path, canonical)) { /* realpath asks about every component */
        return false;
    }
    int fd = open(canonical, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK); /* a FIFO would wait */
    if (fd < 0) {
        return false;
    }
    if (!is_trustworthy(fd, launch->caller.uid, must_be_roots)) {
        close(fd);
        return false;
    }
    *found = (struct bwrap){.path = mem_copy(canonical, strlen(canonical)), .fd = fd_high(fd)};
    return true;
}

static bool find_on_path_of(const struct launch *launch, bool root_owned, struct bwrap *found) {
    const char *path = caller_env(&launch->caller, "PATH");
    while (path && *path) {
        size_t length = strcspn(path, ":");
        const char *dir = mem_copy(path, length);
        path += length + (path[length] == ':');
        if (dir[0] != '/' || !open_candidate(launch, path_join(dir, "bwrap"), root_owned, found)) {
            continue;
        }
        bool in_cwd = launch->cwd[1] && path_at_or_below(found->path, launch->cwd);
        if (!in_cwd && !in_writable_root(launch, found->path)) {
            return true;
        }
        close(found->fd);
    }
    return false;
}

/* Root's before any other: one in a project's own directory may be an earlier workload's. */
static bool find_on_path(const struct launch *launch, struct bwrap *found) {
    return find_on_path_of(launch, true, found) ||
           (launch->options.plan && find_on_path_of(launch, false, found));
}

size_t bwrap_find(const struct launch *launch, struct bwrap found[BWRAP_CANDIDATES]) {
    size_t count = 0;
    if (launch->files.managed && open_candidate(launch, FLEETBOX_BWRAP, true, &found[0])) {
        if (in_writable_root(launch, found[0].path)) {
            refuse("take the write rule out", "%s lies below a writable directory", found[0].path);
        }
        count = 1;
    }
    if (find_on_path(launch, &found[count])) {
        if (launch->files.managed && count == 0) {
            warn("%s is missing or not root's; using %s", FLEETBOX_BWRAP, found[0].path);
        }
        count++;
    }
    if (count == 0) {
        refuse("install it: apt-get install bubblewrap, dnf install bubblewrap",
               "there is no usable bwrap on PATH outside the working directory and every writable one");
    }
    return count;
}

/* Its mode is part of it: newer ones answer nothing while they are setuid. */
static const char *cache_path(const struct launch *launch, const struct stat *st) {
    return mem_text("%s/bwrap-" CACHE_VERSION "-%jx-%jx-%jx.%lx-%jx-%o", launch->state_dir, (uintmax_t)st->st_dev,
                    (uintmax_t)st->st_ino, (uintmax_t)st->st_mtim.tv_sec, (unsigned long)st->st_mtim.tv_nsec,
                    (uintmax_t)st->st_size, (unsigned)st->st_mode);
}

static struct stat look_at(const struct bwrap *bwrap) {
    struct stat st;
    if (fstat(bwrap->fd, &st) != 0) {
        refuse("", "cannot look at %s: %s", bwrap->path, strerror(errno));
    }
    return st;
}

/* The answer is a link's target: one system call to read, atomic to write. */
static bool read_cache(const char *path, unsigned *features) {
    char text[16];
    ssize_t length = readlink(path, text, sizeof text - 1);
    if (length <= 0 || (size_t)length == sizeof text - 1) {
        return false;
    }
    text[length] = '\0';
    char *end;
    *features = (unsigned)strtoul(text, &end, 16);
    return *end == '\0';
}

static void write_cache(const char *path, unsigned features) {
    const char *fresh = mem_text("%s.%d", path, (int)getpid());
    if (symlink(mem_text("%x", features), fresh) != 0 || rename(fresh, path) != 0) {
        warn("cannot remember what bwrap offers: %s", strerror(errno));
    }
}

static bool offers(const char *help, const char *option) {
    size_t length = strlen(option);
    for (const char *at = help; (at = strstr(at, option)); at += length) {
        if ((at == help || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\n')) {
            return true;
        }
    }
    return false;
}

/* NULL, or why its features cannot be had. */
static const char *ask(const struct bwrap *bwrap, unsigned *features) {
    const char *help;
    const char *problem = help_read(bwrap, &help);
    *features = 0;
    for (size_t i = 0; !problem && i < KNOWN; i++) {
        *features |= offers(help, options[i].option) ? options[i].feature : 0;
    }
    return problem ? problem : *features ? NULL : "does not answer --help as bubblewrap does";
}

static const char *missing(unsigned features, const char **since) {
    for (size_t i = 0; i < KNOWN; i++) {
        if (options[i].since && !(features & options[i].feature)) {
            *since = options[i].since;
            return options[i].option;
        }
    }
    return NULL;
}

/* Fills in the feature set, from the cache where it can; NULL, or why this one cannot be used. */
static const char *probe(const struct launch *launch, struct bwrap *bwrap, const char **hint) {
    const struct stat st = look_at(bwrap);
    const char *cache = cache_path(launch, &st);
    bwrap->is_setuid = st.st_mode & S_ISUID;
    if (!read_cache(cache, &bwrap->features)) {
        const char *problem = ask(bwrap, &bwrap->features);
        if (problem) {
            *hint = bwrap->is_setuid ? mem_text("newer ones refuse to be setuid: chmod u-s %s", bwrap->path)
                                     : "install bubblewrap for this machine";
            return mem_text("%s %s", bwrap->path, problem);
        }
        write_cache(cache, bwrap->features);
    }
    const char *since;
    const char *option = missing(bwrap->features, &since);
    if (option) {
        *hint = mem_text("install bubblewrap %s or newer", since);
        return mem_text("%s has no %s", bwrap->path, option);
    }
    if (bwrap->is_setuid) { /* these are root's there, or (modes) keep its unprivileged half from mounting below */
        bwrap->features &= ~(unsigned)(FEATURE_CAP_ADD | FEATURE_DISABLE_USERNS | FEATURE_PERMS);
    }
    bool may_mount = (bwrap->features & FEATURE_CAP_ADD) && !(bwrap->features & FEATURE_UNPRIVILEGED);
    bwrap->inner_mounts = launch->options.mounts ? strcmp(launch->options.mounts, "inner") == 0 : may_mount;
    return NULL;
}

size_t bwrap_usable(const struct launch *launch, struct bwrap *found, size_t count, size_t from) {
    for (size_t i = from; i < count; i++) {
        const char *hint;
        const char *problem = probe(launch, &found[i], &hint);
        if (!problem) {
            return i;
        }
        if (from == 0 && i + 1 == count) {
            refuse(hint, "%s", problem);
        }
        warn("%s%s%s", problem, i + 1 < count ? "; trying " : "", i + 1 < count ? found[i + 1].path : "");
    }
    return count;
}

void bwrap_cannot_mount(const struct launch *launch, struct bwrap *bwrap) {
    if (launch->options.mounts) {
        refuse("leave --mounts out", "%s leaves the inner stage no privilege to mount", bwrap->path);
    }
    bwrap->features |= FEATURE_UNPRIVILEGED;
    bwrap->inner_mounts = false;
    const struct stat st = look_at(bwrap);
    write_cache(cache_path(launch, &st), bwrap->features);
}
