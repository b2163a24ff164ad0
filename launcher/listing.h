/* Directories as getdents64 gives them: readdir would allocate for each of many small ones. */
#ifndef FLEETBOX_LISTING_H
#define FLEETBOX_LISTING_H

#include <stdbool.h>
#include <stdint.h>

struct name {
    uint64_t ino;
    int64_t offset;
    unsigned short length; /* of this record */
    unsigned char type;    /* DT_UNKNOWN on some file systems */
    char text[];
};

/* Calls `act` for every name but "." and "..", until one returns false. False and errno when it cannot be read. */
bool each_name(int dir, bool (*act)(void *context, const struct name *name), void *context);

#endif
