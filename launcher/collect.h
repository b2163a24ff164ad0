/* From the launch plan and this machine to the list of entries. */
#ifndef FLEETBOX_COLLECT_H
#define FLEETBOX_COLLECT_H

#include "launch.h"

/* Replaces a leading ${WORKSPACE}, ${HOME} or ${TMPDIR}. */
const char *expand(const struct launch *launch, const char *place);

/* Expands and resolves. */
struct resolved find(const struct launch *launch, const char *place);

/* The same for what a write rule names: a link on the way that a workload may have planted is refused. */
struct resolved find_writable(const struct launch *launch, const char *place);

bool may_write(const struct launch *launch);

/* Paths that are mounted afresh, so that a rule about the host's would be about nothing. */
bool is_virtual(const char *path);

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

/* What is closed at one place is closed at another that shows the same. Launches need not agree on it, and it opens
 * nothing. */
void add_alias(struct launch *launch, const char *path, enum access access, const char *why);

/* One path of a writable root that must stay read-only: the file that is there, or a mountpoint. */
void add_guard(struct launch *launch, const struct resolved *place, enum access access, const char *why);

#endif
