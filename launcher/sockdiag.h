/* The sockets that this network namespace has bound to files, asked of the kernel: with the file's inode, which
 * stays when the file is renamed or linked. */
#ifndef FLEETBOX_SOCKDIAG_H
#define FLEETBOX_SOCKDIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bound {
    const char *name; /* as it was bound: relative to a directory that nobody recorded, or absolute */
    uint32_t ino;     /* the lower half: all that the kernel says */
};

struct bounds {
    struct bound *item;
    size_t count;
    size_t room;
};

/* False where the kernel cannot tell. */
bool sockdiag_read(struct bounds *bounds);

#endif
