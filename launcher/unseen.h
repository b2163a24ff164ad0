/* What has come to be in a directory between the launcher's look and its snapshot, and is denied. */
#ifndef FLEETBOX_UNSEEN_H
#define FLEETBOX_UNSEEN_H

#include "mountlist.h"

/* True when NAME is to be left out of the snapshot of its directory; not asked of what has a job of its own. */
bool is_unseen(const struct jobs *jobs, const struct job *snapshot, const char *name, bool is_link);

#endif
