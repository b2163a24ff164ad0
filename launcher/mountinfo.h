/* The mount table of this process, read once. */
#ifndef FLEETBOX_MOUNTINFO_H
#define FLEETBOX_MOUNTINFO_H

#include <stdbool.h>
#include <stddef.h>

struct mount {
    const char *path;   /* first, for path_holder */
    const char *device; /* "MAJOR:MINOR" */
    const char *root;   /* of the file system, what is seen at `path` */
    const char *type;   /* of the file system */
    unsigned long flags; /* of MS_RDONLY, MS_NOSUID and MS_NODEV */
    size_t number; /* in the order of the table: of one place, the last is on top */
};

struct mounts {
    struct mount *item;
    size_t count;
    size_t room;
};

/* Parents come before what is mounted below them. False and errno when it cannot be read. */
bool mountinfo_read(struct mounts *mounts);

/* "\040" and the like, as the kernel writes blanks and backslashes there; in place. */
void mountinfo_unescape(char *text);

#endif
