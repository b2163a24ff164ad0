/* Is a path really what bwrap was told to mount there? */
#ifndef FLEETBOX_MOUNTS_H
#define FLEETBOX_MOUNTS_H

#include <stdbool.h>

/* NULL when `path` is the root of a mount (a read-only one when `closed`), no symlink, and, unless `identity` is
 * "-", the very file MAJOR:MINOR:INODE (major and minor hexadecimal) that was looked at before. Otherwise the
 * reason. */
const char *mount_problem(const char *path, const char *identity, bool closed);

#endif
