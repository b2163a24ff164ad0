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

void add_alias(struct launch *launch, const char *path, const struct entry *like, const char *why) {
    if ((like->access != ACCESS_NONE && !roots_holding(&launch->roots, path)) || is_named(launch, path)) {
        return;
    }
    struct resolved place = resolve(path, &launch->roots);
    if (place.found == FOUND && strcmp(place.path, path) == 0) {
        struct entry entry = entry_at(&place, like->access, why);
        entry.narrows = true;
        entry.secret = like->secret;
        entry.fleeting = like->fleeting && !roots_holding(&launch->roots, path);
        entries_add(&launch->entries, entry);
    }
}

/* Where TO shows what is seen at PATH through FROM, both being mounts of one file system; NULL for nowhere. A part of it
 * may be all that TO shows, and is at `here`. */
static const char *seen_at(const char *path, const struct mount *from, const struct mount *to, const char **here) {
    const char *inside = join(from->root, rest_of(path, from->path));
    const char *there = to->path;
    *here = path;
    if (path_at_or_below(inside, to->root)) {
        there = join(to->path, rest_of(inside, to->root));
    } else if (path_below(to->root, inside)) {
        *here = join(path, rest_of(to->root, inside));
    } else {
        return NULL;
    }
    return strcmp(*here, there) != 0 && is_same(*here, there) ? there : NULL;
}

/* All places of the host in order, and those of them that show a file system which another one shows as well. */
static struct mounts mounts;
static struct mounts shared;

static bool shares_device(const struct mount *mount) {
    for (size_t i = 0; i < mounts.count; i++) {
        if (&mounts.item[i] != mount && strcmp(mounts.item[i].device, mount->device) == 0) {
            return true;
        }
    }
    return false;
}

static void read_mounts(void) {
    if (!mountinfo_read(&mounts) || mounts.count == 0) {
        refuse("mount /proc", "cannot read the mount table");
    }
    qsort(mounts.item, mounts.count, sizeof *mounts.item, by_place);
    for (size_t i = 0; i < mounts.count; i++) {
        if (shares_device(&mounts.item[i])) {
            shared.item = mem_grow(shared.item, shared.count, &shared.room, sizeof *shared.item);
            shared.item[shared.count++] = mounts.item[i];
        }
    }
}

/* The next place after number `*next` that shows `path`, or a part of it, which is at `here`; NULL for no more. */
static const char *next_place(const char *path, size_t *next, const char **here) {
    const struct mount *from =
        *next < shared.count ? path_holder(mounts.item, mounts.count, sizeof *mounts.item, path) : NULL;
    while (from && *next < shared.count) {
        const struct mount *to = &shared.item[(*next)++];
        const char *there = strcmp(to->device, from->device) == 0 ? seen_at(path, from, to, here) : NULL;
        if (there) {
            return there;
        }
    }
    return NULL;
}

void each_alias(struct launch *launch, const char *dir, void (*act)(struct launch *, const char *)) {
    size_t next = 0;
    const char *here;
    for (const char *there; (there = next_place(dir, &next, &here));) {
        if (strcmp(here, dir) == 0) {
            act(launch, there);
        }
    }
}

static void add_aliases(struct launch *launch, const struct entry *entry) {
    size_t next = 0;
    const char *here;
    for (const char *there; (there = next_place(entry->path, &next, &here));) {
        add_alias(launch, there, entry, "the same as what is closed elsewhere");
    }
}

void collect_aliases(struct launch *launch) {
    read_mounts();
    size_t count = launch->entries.count;
    for (size_t i = 0; i < count; i++) {
        const struct entry entry = launch->entries.item[i]; /* the list may move */
        bool closed = entry.access == ACCESS_NONE || (entry.access == ACCESS_READ && roots_holding(&launch->roots, entry.path));
        if (closed && entry.kind == ENTRY_BIND) {
            add_aliases(launch, &entry);
        }
    }
}
