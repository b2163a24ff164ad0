/* The cgroup of one launch, below one that is delegated to the account (systemd's user manager does that). */
#ifndef FLEETBOX_CGROUP_H
#define FLEETBOX_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

#include "limits.h"

/* Fills limits->cgroup and what can be limited there; only looks. */
void cgroup_find(struct limits *limits);

/* Makes it with its limits, and has it removed at exit with whatever is left in it. */
bool cgroup_make(const struct limits *limits);

/* Puts a process in; everything that it starts from then on is in as well. */
bool cgroup_place(pid_t pid);

#endif
