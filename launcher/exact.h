/* Opening exactly what was meant: no symlink on the way, and the same file that was looked at before. */
#ifndef FLEETBOX_EXACT_H
#define FLEETBOX_EXACT_H

#include <stdbool.h>
#include <sys/stat.h>

#include "mountlist.h"

/* Opens PATH (O_PATH), from DIR when it is relative, "" being DIR itself. -1 and errno if it cannot; ELOOP for a
 * symlink anywhere. */
int open_without_links(int dir, const char *path);

/* True when `identity` is not known. */
bool is_exactly(const struct identity *identity, const struct stat *st);

#endif
