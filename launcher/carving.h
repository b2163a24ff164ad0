/* What the parts of the inner stage's mounting share: its state, and how it looks at a place and gives up. */
#ifndef FLEETBOX_CARVING_H
#define FLEETBOX_CARVING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "mountinfo.h"
#include "mountlist.h"
#include "scratch.h"

struct carving {
    int control;
    struct jobs *jobs;
    struct scratch scratch;
    struct mounts mounts; /* as they were at the start */
};

_Noreturn void fail(const struct carving *carving, const struct job *job, const char *reason);

/* The reason is errno's. */
_Noreturn void fail_errno(const struct carving *carving, const struct job *job);

/* Or fail, as all of these. */
struct stat look(const struct carving *carving, const struct job *job, int fd);
void check_identity(const struct carving *carving, const struct job *job, int fd);

/* The job's path as it is seen now (O_PATH). */
int open_place(const struct carving *carving, const struct job *job);

/* A job's own number, for names in the scratch file system. */
size_t number_of(const struct carving *carving, const struct job *job);

/* It shows something of the host's, where others show a mask or something fresh. */
bool is_bound(const struct job *job);

/* Where nothing of the host can be seen before the job is done: its mountpoint must be made. */
bool lies_in_filled(const struct job *job);

/* True when another job lies below this one. */
bool holds_another(const struct carving *carving, const struct job *job);

#endif
