/* Mounts of the host that reached bwrap's mount namespace between its last look and ours, while they still could. */
#ifndef FLEETBOX_ARRIVED_H
#define FLEETBOX_ARRIVED_H

#include "carving.h"

/* They are as closed as what bwrap itself has bound. */
void arrived_close(const struct carving *carving);

#endif
