/* mount(2) between open files, so that no path is looked up again. */
#ifndef FLEETBOX_BINDFD_H
#define FLEETBOX_BINDFD_H

#include <stdbool.h>

/* Binds one open file over another; `deep` with everything that is mounted below it. False and errno. */
bool bind_fd(int source, int target, bool deep);

/* A fresh file system for everybody's files, as /tmp is, over an open directory. */
bool mount_fresh(int target);

/* The mount whose root is open as `fd`, and no other. Its other flags stay, most of them being locked. */
bool make_read_only(int fd);

bool is_read_only(int fd);

#endif
