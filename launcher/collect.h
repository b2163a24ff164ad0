/* From the launch plan and this machine to the list of entries. */
#ifndef FLEETBOX_COLLECT_H
#define FLEETBOX_COLLECT_H

#include "launch.h"

bool may_write(const struct launch *launch);

/* Fills the writable roots, outermost first. */
void collect_roots(struct launch *launch);

/* Fills entries and devices, in no order yet. */
void collect(struct launch *launch);

/* The parts of it that have a file of their own. */
void collect_protected(struct launch *launch);
void collect_nested(struct launch *launch, const char *root);
void protect_nested(struct launch *launch, const char *root, const char *rel);
void collect_glob(struct launch *launch, const struct op *op);
void collect_aliases(struct launch *launch);
void collect_links(struct launch *launch);
void collect_sockets(struct launch *launch);
void collect_gpu(struct launch *launch);

/* PATH can be read in a root that shows nothing by itself: files and directories of root's, in the trees of programs and
 * libraries, which the policy does not close. Anything else is left out: WHY is somebody else's word. */
void collect_library(struct launch *launch, const char *path, const char *why);

/* Whether the workload may use AF_UNIX; known once the GPU was looked for. */
bool sockets_allowed(const struct launch *launch);

/* What is closed at one place, as LIKE is, is closed at another that shows the same. Launches need not agree on it,
 * and it opens nothing. */
void add_alias(struct launch *launch, const char *path, const struct entry *like, const char *why);

/* Where else the host shows a directory, once the aliases have been collected. */
void each_alias(struct launch *launch, const char *dir, void (*act)(struct launch *, const char *));

/* One path of a writable root that must stay read-only: the file that is there, or a mountpoint. */
void add_guard(struct launch *launch, const struct resolved *place, enum access access, const char *why);

#endif
