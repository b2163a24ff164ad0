/* One file under two paths: `mount --bind` shows a directory at another place of the host, where a mask over the
 * first place hides nothing. What is denied is denied at every place that shows it, and what is read-only below a
 * writable root is so below any other. */
#include <stdlib.h>
#include <string.h>

#include "collect.h"
#include "mountinfo.h"
#include "path.h"
#include "refuse.h"

/* Mounts in path order, of one place the one on top last. */
static int by_place(const void *left, const void *right) {
    const struct mount *a = left;
    const struct mount *b = right;
    int order = path_compare(a->path, b->path);
    return order ? order : (a->number > b->number) - (a->number < b->number);
}

/* What follows DIR in PATH, without the slash; PATH is at or below it. */
static const char *rest_of(const char *path, const char *dir) {
    size_t length = strcmp(dir, "/") == 0 ? 0 : strlen(dir);
    return path[length] ? path + length + 1 : path + length;
}

static const char *join(const char *dir, const char *rest) {
    return *rest ? path_join(dir, rest) : dir;
}

static bool is_same(const char *a, const char *b) {
    struct stat one;
    struct stat other;
    return lstat(a, &one) == 0 && lstat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static bool is_named(const struct launch *launch, const char *path) {
    for (size_t i = 0; i < launch->entries.count; i++) {
        if (strcmp(launch->entries.item[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

void add_alias(struct launch *launch, const char *path, enum access access, const char *why) {
    if ((access != ACCESS_NONE && !roots_holding(&launch->roots, path)) || is_named(launch, path)) {
        return;
    }
    struct resolved place = resolve(path, &launch->roots);
    if (place.found == FOUND && strcmp(place.path, path) == 0) {
        struct entry entry = entry_at(&place, access, why);
        entry.narrows = true;
        entries_add(&launch->entries, entry);
    }
}

/* Both are mounts of one file system; ENTRY is seen through FROM. A part of it may be all that TO shows. */
static void add_where_seen(struct launch *launch, const struct entry *entry, const struct mount *from,
                           const struct mount *to) {
    const char *inside = join(from->root, rest_of(entry->path, from->path));
    const char *here = entry->path;
    const char *there = to->path;
    if (path_at_or_below(inside, to->root)) {
        there = join(to->path, rest_of(inside, to->root));
    } else if (path_below(to->root, inside)) {
        here = join(entry->path, rest_of(to->root, inside));
    } else {
        return;
    }
    if (strcmp(here, there) != 0 && is_same(here, there)) {
        add_alias(launch, there, entry->access, "the same as what is closed elsewhere");
    }
}

static bool shares_device(const struct mounts *mounts, const struct mount *mount) {
    for (size_t i = 0; i < mounts->count; i++) {
        if (&mounts->item[i] != mount && strcmp(mounts->item[i].device, mount->device) == 0) {
            return true;
        }
    }
    return false;
}

/* The places that show a file system which another one shows as well. */
static struct mounts shared_mounts(const struct mounts *mounts) {
    struct mounts shared = {0};
    for (size_t i = 0; i < mounts->count; i++) {
        if (shares_device(mounts, &mounts->item[i])) {
            shared.item = mem_grow(shared.item, shared.count, &shared.room, sizeof *shared.item);
            shared.item[shared.count++] = mounts->item[i];
        }
    }
    return shared;
}

void collect_aliases(struct launch *launch) {
    struct mounts mounts = {0};
    if (!mountinfo_read(&mounts) || mounts.count == 0) {
        refuse("mount /proc", "cannot read the mount table");
    }
    qsort(mounts.item, mounts.count, sizeof *mounts.item, by_place);
    struct mounts shared = shared_mounts(&mounts);
    size_t count = shared.count ? launch->entries.count : 0;
    for (size_t i = 0; i < count; i++) {
        const struct entry entry = launch->entries.item[i]; /* the list may move */
        bool closed = entry.access == ACCESS_NONE || (entry.access == ACCESS_READ && roots_holding(&launch->roots, entry.path));
        const struct mount *from = path_holder(mounts.item, mounts.count, sizeof *mounts.item, entry.path);
        for (size_t m = 0; closed && entry.kind == ENTRY_BIND && from && m < shared.count; m++) {
            if (strcmp(shared.item[m].device, from->device) == 0) {
                add_where_seen(launch, &entry, from, &shared.item[m]);
            }
        }
    }
}
