/* Which bwrap is used, and what it can do. Read from `--help`, never from `--version`: distributions backport. */
#ifndef FLEETBOX_BWRAP_H
#define FLEETBOX_BWRAP_H

#include "launch.h"

enum feature {
    FEATURE_PERMS = 1 << 0,
    FEATURE_DISABLE_USERNS = 1 << 1,
    FEATURE_AS_PID_1 = 1 << 2,
    FEATURE_NEW_SESSION = 1 << 3,
    FEATURE_DIE_WITH_PARENT = 1 << 4,
    FEATURE_CAP_DROP = 1 << 5,
    FEATURE_REMOUNT_RO = 1 << 6,
    FEATURE_CAP_ADD = 1 << 7,
    FEATURE_UNPRIVILEGED = 1 << 8, /* not in --help: it was seen to leave the inner stage no privilege */
};

struct bwrap {
    const char *path; /* canonical */
    int fd;
    unsigned features;
    bool is_setuid;    /* it needs no user namespace, and gives root's privileges to root only */
    bool inner_mounts; /* the inner stage does what restricts */
};

enum { BWRAP_CANDIDATES = 2 };

/* In the order in which they are to be tried; returns how many. Refuses when there is none. */
size_t bwrap_find(const struct launch *launch, struct bwrap found[BWRAP_CANDIDATES]);

/* Index of the first of these, starting at `from`, that has what is needed, its features filled in; `count` when none
 * has. Warns of each that has not, and refuses when that leaves none at all (from == 0). */
size_t bwrap_usable(const struct launch *launch, struct bwrap *found, size_t count, size_t from);

/* Remembers that the inner stage of this one cannot mount. */
void bwrap_cannot_mount(const struct launch *launch, struct bwrap *bwrap);

#endif
