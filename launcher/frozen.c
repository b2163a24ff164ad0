#include "frozen.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collect.h"
#include "launch.h"
#include "listing.h"
#include "path.h"

/* Each name is a mount, of which a launch should not have thousands. */
enum { NAMES_LIMIT = 1024 };

/* Where only root changes names, as in /etc and /home, what is new must be seen: the addresses of name servers, say. */
static bool others_change(const struct stat *st) {
    return S_ISDIR(st->st_mode) && (st->st_uid != 0 || (st->st_mode & (S_IWGRP | S_IWOTH)));
}

static bool is_shown(const struct launch *launch, const char *path) {
    const struct entry *entry = entries_deciding(&launch->entries, path);
    return entry ? entry->kind == ENTRY_BIND && entry->access == ACCESS_READ : launch->plan.root == ROOT_HOST;
}

static bool holds_home(const struct launch *launch, const char *dir) {
    return (launch->home && path_at_or_below(launch->home, dir)) ||
           (launch->account_home && path_at_or_below(launch->account_home, dir));
}

/* In what is worked on, and in all that can be written, what others do must be seen at once. */
static bool can_freeze(const struct launch *launch, const char *path) {
    bool worked_on = path_at_or_below(path, launch->workspace) && !holds_home(launch, launch->workspace);
    return path[1] && !worked_on && !roots_holding(&launch->roots, path) &&
           is_shown(launch, path);
}

static size_t place_of(const struct frozen *frozen, const char *path) {
    size_t at = frozen->count;
    while (at > 0 && path_compare(path, frozen->item[at - 1].path) < 0) {
        at--;
    }
    return at;
}

static bool is_listed(const struct frozen *frozen, const char *path) {
    size_t at = place_of(frozen, path);
    return at > 0 && strcmp(frozen->item[at - 1].path, path) == 0;
}

static bool add_one(struct launch *launch, const char *path) {
    struct frozen *frozen = &launch->frozen;
    struct stat st;
    if (is_listed(frozen, path) || !can_freeze(launch, path) || lstat(path, &st) != 0 || !others_change(&st)) {
        return false;
    }
    size_t at = place_of(frozen, path);
    frozen->item = mem_grow(frozen->item, frozen->count, &frozen->room, sizeof *frozen->item);
    memmove(&frozen->item[at + 1], &frozen->item[at], (frozen->count++ - at) * sizeof *frozen->item);
    frozen->item[at] = (struct frozen_dir){path, st.st_dev, st.st_ino};
    return true;
}

/* And all above it, which may itself be replaced; each wherever else the host shows it. */
static void add(struct launch *launch, const char *path) {
    for (; path[1] && !is_listed(&launch->frozen, path); path = path_parent(path)) {
        if (add_one(launch, path)) {
            each_alias(launch, path, add);
        }
    }
}

static bool count_one(void *context, const struct name *name) {
    (void)name;
    return (*(long *)context)-- > 0;
}

/* Takes the names of a directory from what is allowed; false when these are too many, or cannot be read. */
static bool afford(const struct frozen_dir *dir, long *allowed) {
    struct stat st;
    long left = *allowed;
    int fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool same = fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == dir->dev && st.st_ino == dir->ino;
    bool done = same && each_name(fd, count_one, &left) && left >= 0;
    if (fd >= 0) {
        close(fd);
    }
    *allowed = done ? left : *allowed;
    return done;
}

static long names_allowed(void) {
    struct rlimit files; /* the inner stage holds each open for a moment */
    bool few = getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_max < 2 * NAMES_LIMIT;
    return few ? (long)files.rlim_max / 2 : NAMES_LIMIT;
}

static void leave_what_is_too_large(struct frozen *frozen) {
    long allowed = names_allowed();
    size_t kept = 0;
    for (size_t i = 0; i < frozen->count; i++) {
        if (afford(&frozen->item[i], &allowed)) {
            frozen->item[kept++] = frozen->item[i];
        } else {
            strings_add(&frozen->left, frozen->item[i].path);
        }
    }
    frozen->count = kept;
}

static void add_all(struct launch *launch, const struct strings *dirs) {
    for (size_t i = 0; i < dirs->count; i++) {
        add(launch, dirs->item[i]);
    }
}

void frozen_leave(struct launch *launch) {
    launch->frozen.count = 0;
    launch->frozen.left.count = 0;
}

void frozen_choose(struct launch *launch) {
    frozen_leave(launch);
    for (size_t i = 0; i < launch->entries.count; i++) {
        if (launch->entries.item[i].secret) {
            add(launch, path_parent(launch->entries.item[i].path));
        }
    }
    add_all(launch, &launch->absent_in);
    add_all(launch, &launch->later.dirs);
    for (size_t i = 0; i < launch->later.links.count; i++) {
        add(launch, path_parent(launch->later.links.item[i]));
    }
    leave_what_is_too_large(&launch->frozen);
}

static bool is_left(const struct frozen *frozen, const char *path) {
    for (size_t i = 0; i < frozen->left.count; i++) {
        if (path_at_or_below(path, frozen->left.item[i])) {
            return true;
        }
    }
    return false;
}

bool frozen_hides(const struct launch *launch, const char *dir) {
    return is_listed(&launch->frozen, dir) && !is_left(&launch->frozen, dir);
}
