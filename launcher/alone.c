#include "alone.h"

#include <string.h>

#include "collect.h"
#include "path.h"
#include "refuse.h"

enum { ABI_TRUNCATE = 3, ABI_SCOPES = 6 };

/* Landlock only adds: what is granted for a directory is granted for everything in it, whatever appears there later. */
static const char *guarded_in(const struct launch *launch, const struct root *root) {
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        bool guards = entry->kind == ENTRY_MISSING || (entry->kind == ENTRY_BIND && entry->access != ACCESS_WRITE);
        if (guards && path_below(entry->path, root->path)) {
            return entry->path;
        }
    }
    return NULL;
}

static void about_files(const struct launch *launch, struct strings *reasons) {
    strings_add(reasons, "modes, owners and times of every file of this user could be changed");
    strings_add(reasons, "/dev and /dev/shm could not be private");
    if (launch->plan.tmp == TMP_PRIVATE) {
        strings_add(reasons, "/tmp and /var/tmp could not be private");
    }
    for (size_t i = 0; i < launch->roots.count; i++) {
        const char *guarded = guarded_in(launch, &launch->roots.item[i]);
        if (guarded) {
            strings_add(reasons, mem_text("%s could be written with %s", guarded, launch->roots.item[i].path));
        }
    }
    if (launch->landlock.abi < ABI_TRUNCATE) {
        strings_add(reasons, "files could be truncated before Linux 6.2");
    }
}

static void about_processes(const struct launch *launch, struct strings *reasons) {
    if (!launch->plan.host_pids) {
        strings_add(reasons, "the host's processes could be seen");
    }
    if (launch->landlock.abi < ABI_SCOPES) {
        strings_add(reasons, "processes and abstract sockets of the host could be reached before Linux 6.12");
    }
    if (launch->plan.nested) {
        strings_add(reasons, "no nested sandbox could be made");
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
    about_files(launch, &reasons);
    about_processes(launch, &reasons);
    about_sockets(launch, &reasons);
    return reasons;
}

void alone_say(const struct launch *launch) {
    if (launch->plan.landlock == LANDLOCK_OFF) {
        return;
    }
    struct strings reasons = alone_reasons(launch);
    const char *all = "";
    for (size_t i = 0; i < reasons.count; i++) {
        all = mem_text("%s%s%s", all, i ? "; " : "", reasons.item[i]);
    }
    warn("Landlock alone would be less than this policy: %s", all);
}
