/* A file system of the inner stage's own, mounted only while it works: it holds what masks are bound from. All
 * masks are binds from one read-only mount, so that each costs one system call, and none can be changed. */
#ifndef FLEETBOX_SCRATCH_H
#define FLEETBOX_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Descriptors (O_PATH). */
struct scratch {
    int root;
    int denied_dir;
    int denied_file;
    int empty_dir;
};

/* False and errno when it cannot be made, as in all of these. */
bool scratch_open(struct scratch *scratch);

/* A new directory, 0755, named after a job and what it needs it for. */
bool scratch_make(const struct scratch *scratch, const char *what, size_t number);

/* The same, or what has been mounted on it, opened; -1 and errno if it cannot. */
int scratch_get(const struct scratch *scratch, const char *what, size_t number);

bool scratch_set_mode(const struct scratch *scratch, const char *what, size_t number, mode_t mode);

/* Nothing can be changed from here on, in it and in what is bound from it. */
bool scratch_seal(void);

/* No longer mounted; what was bound from it stays. */
bool scratch_close(const struct scratch *scratch);

#endif
