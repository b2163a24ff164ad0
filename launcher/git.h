/* What git says about itself in its files: pointers, the hooks' directory, submodules. Nothing is believed but what
 * makes more places read-only. */
#ifndef FLEETBOX_GIT_H
#define FLEETBOX_GIT_H

#include <stdbool.h>

#include "mem.h"

/* The first line of a small file that the workload may have written; NULL when it is no regular file. */
const char *git_read_pointer(const char *path);

/* True for a directory that git takes for a repository without a work tree. */
bool git_is_bare(const char *dir);

/* The value of core.hooksPath in a configuration file; NULL for none. */
const char *git_hooks_path(const char *config);

/* The submodules that an index lists, relative to the work tree. */
struct strings git_submodules(const char *index);

#endif
