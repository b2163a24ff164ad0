#include "alone.h"

#include <stdlib.h>
#include <string.h>

#include "collect.h"
#include "mountinfo.h"
#include "mountlist.h"
#include "parts.h"
#include "path.h"
#include "refuse.h"

bool alone_is_accepted(const struct launch *launch) {
    return launch->files.filter[FILTER_ALONE] >= 0;
}

/* Landlock only adds: what is granted for a directory is granted for everything in it, whatever appears there later; and the
 * filter, which does not see which file is meant, refuses to change modes and times anywhere. */
static void about_writing(const struct launch *launch, struct strings *reasons) {
    if (launch->plan.tmp == TMP_PRIVATE) {
        strings_add(reasons, "/tmp and /var/tmp could not be private");
    }
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        bool open = entry->kind == ENTRY_DEVICE || (entry->kind == ENTRY_BIND && entry->access == ACCESS_WRITE);
        if (open || entry->kind == ENTRY_MISSING || entry->kind == ENTRY_PIN) {
            strings_add(reasons, mem_text("%s could not be written as the policy says", entry->path));
        }
    }
    for (size_t i = 0; i < launch->devices.count; i++) {
        strings_add(reasons, mem_text("%s could not be used", launch->devices.item[i]));
    }
}

static void about_files(const struct launch *launch, struct strings *reasons) {
    if (!alone_is_accepted(launch)) {
        strings_add(reasons, "the host's mounts would be seen, and names, sizes and times of what is denied");
    }
    about_writing(launch, reasons);
}

static void about_processes(const struct launch *launch, struct strings *reasons) {
    if (!launch->plan.host_pids) {
        strings_add(reasons, "the host's processes could be seen");
    }
    if (launch->landlock.abi < LANDLOCK_ABI_SCOPES) {
        strings_add(reasons, "processes and abstract sockets of the host could be reached before Linux 6.12");
    }
    if (launch->plan.nested) {
        strings_add(reasons, "no nested sandbox could be made");
    }
    if (launch->limits.pids && !launch->limits.pids_in_cgroup) {
        strings_add(reasons, "process.limits.pids would count every process of this user");
    }
}

static void about_sockets(const struct launch *launch, struct strings *reasons) {
    if (launch->plan.network == NETWORK_NONE) {
        strings_add(reasons, "there would be no loopback but the host's");
    }
    if (sockets_allowed(launch)) {
        strings_add(reasons, "sockets of the host could be reached by their paths");
    }
}

struct strings alone_reasons(const struct launch *launch) {
    struct strings reasons = {0};
    if (launch->plan.landlock == LANDLOCK_OFF) {
        strings_add(&reasons, "landlock is off");
    }
    about_files(launch, &reasons);
    about_processes(launch, &reasons);
    about_sockets(launch, &reasons);
    return reasons;
}

const char *alone_problem(const struct launch *launch) {
    struct strings reasons = alone_reasons(launch);
    const char *all = NULL;
    for (size_t i = 0; i < reasons.count; i++) {
        all = i ? mem_text("%s; %s", all, reasons.item[i]) : reasons.item[i];
    }
    return all;
}

void alone_choose(struct launch *launch) {
    launch->landlock.layers |= LANDLOCK_WRITES | LANDLOCK_SCOPES | LANDLOCK_ALONE;
    launch->landlock.missing = NULL;
    launch->host_pids = true;
    frozen_choose(launch);
}

static void add_place(struct entries *places, const char *path, enum access access) {
    entries_add(places, (struct entry){.path = path, .access = access, .kind = ENTRY_BIND, .made_by = MADE_BY_INNER});
}

/* Terminals and disks, by their nodes, wherever a tree shows them: bubblewrap's mounts would be nodev. */
static void add_devices_elsewhere(struct entries *places) {
    struct mounts mounts = {0};
    if (!mountinfo_read(&mounts)) {
        refuse("mount /proc", "cannot read the mount table");
    }
    for (size_t i = 0; i < mounts.count; i++) {
        const struct mount *mount = &mounts.item[i];
        bool nodes = strcmp(mount->type, "devtmpfs") == 0 || strcmp(mount->type, "devpts") == 0;
        if (nodes && !path_at_or_below(mount->path, "/dev")) {
            add_place(places, mount->path, ACCESS_NONE);
        }
    }
}

static int by_path(const void *left, const void *right) {
    const struct entry *a = left;
    const struct entry *b = right;
    int order = path_compare(a->path, b->path);
    return order ? order : (a->access > b->access) - (a->access < b->access);
}

/* Of one path the last, which denies rather than grants. */
static void drop_doubles(struct entries *places) {
    size_t kept = 0;
    for (size_t i = 0; i < places->count; i++) {
        bool last = i + 1 == places->count || strcmp(places->item[i].path, places->item[i + 1].path) != 0;
        if (last) {
            places->item[kept++] = places->item[i];
        }
    }
    places->count = kept;
}

struct strings alone_places(const struct launch *launch) {
    struct entries places = {0};
    add_place(&places, "/", launch->plan.root == ROOT_HOST ? ACCESS_READ : ACCESS_NONE);
    add_place(&places, "/proc", ACCESS_READ);
    add_place(&places, "/dev", ACCESS_NONE);
    add_devices_elsewhere(&places);
    for (size_t i = 0; i < launch->absent.count; i++) {
        add_place(&places, launch->absent.item[i], ACCESS_NONE);
    }
    for (size_t i = 0; i < launch->entries.count; i++) {
        struct entry entry = launch->entries.item[i];
        if (entry.kind == ENTRY_BIND) { /* a link needs no right, and there are no others where this is the same */
            entry.made_by = MADE_BY_INNER;
            entries_add(&places, entry);
        }
    }
    qsort(places.item, places.count, sizeof *places.item, by_path);
    drop_doubles(&places);
    return mountlist_write(&places, &launch->frozen, &launch->later);
}
