/* mount(2) between open files, so that no path is looked up again. */
#ifndef FLEETBOX_BINDFD_H
#define FLEETBOX_BINDFD_H

#include <stdbool.h>

/* Binds one open file over another; `deep` with everything that is mounted below it. False and errno. */
bool bind_fd(int source, int target, bool deep);

/* What NAME in a directory is at this moment, with everything that is mounted below it, to be shown elsewhere whatever
 * becomes of the name. A descriptor for fstat and bind_put; -1 and errno. No link is followed, nothing mounted by it. */
int bind_take(int dir, const char *name);

/* Shows it at NAME, where a file or a directory is as it is one. */
bool bind_put(int taken, int dir, const char *name);

/* A fresh file system for everybody's files, as /tmp is, over an open directory. */
bool mount_fresh(int target);

/* Gives further MS_ flags to the mount whose root is open as `fd`, and to no other. Those it has stay. */
bool add_flags(int fd, unsigned long flags);

bool make_read_only(int fd);

bool is_read_only(int fd);

#endif
