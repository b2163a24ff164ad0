/* Directories that are shown as they are at launch (snapshot.h): those that hold something denied, and those on the
 * way there, where somebody other than root could put another file in its place, or make what does not exist yet. */
#ifndef FLEETBOX_FROZEN_H
#define FLEETBOX_FROZEN_H

#include <stdbool.h>
#include <sys/types.h>

#include "mem.h"

struct frozen_dir {
    const char *path; /* first, for path_holder */
    dev_t dev;
    ino_t ino;
};

struct frozen {
    struct frozen_dir *item; /* in order */
    size_t count;
    size_t room;
    struct strings left; /* those that would have to be, and cannot */
};

/* What the host may yet make in directories of the host's, and is denied. */
struct later {
    struct strings dirs;  /* where it may be made; known of `absent` without this */
    struct strings names; /* what would be made first: a denied path, or a directory on the way to one */
    struct strings links; /* links on the way to a denied path: a directory may take their place */
    struct strings globs; /* base and pattern, in turn */
};

struct launch;

/* Fills it in, from the ordered entries, `absent_in` and `later`. */
void frozen_choose(struct launch *launch);

/* The old way: bwrap cannot make any. */
void frozen_leave(struct launch *launch);

/* True when nothing that gets a name in `dir` later can be seen. */
bool frozen_hides(const struct launch *launch, const char *dir);

#endif
