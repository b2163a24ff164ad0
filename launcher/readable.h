/* The host's file system as a list of what may be read, for where no mount can take anything away (docs/adr/0005): every
 * sibling on the way to what is closed, and nothing on the way itself. What is not listed is closed, whenever it came. */
#ifndef FLEETBOX_READABLE_H
#define FLEETBOX_READABLE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "mountlist.h"

/* Grants reading at and below an opened place (O_PATH); false and errno where it cannot. */
typedef bool readable_grant(void *context, int fd, const struct stat *st);

/* Inside: the places are `none`, `read` and `snapshot`, "/" the first of them. Gives up where one is not what the launcher saw, or
 * where the tree changes meanwhile in a way that could open what is closed. */
void readable_grant_all(const struct jobs *places, int control, readable_grant *grant, void *context);

#endif
