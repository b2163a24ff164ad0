/* Masks, and fresh directories, with something visible below them: made of our own, with the mountpoints in it. */
#ifndef FLEETBOX_FILLED_H
#define FLEETBOX_FILLED_H

#include "carving.h"

/* The directory that such a job shows (O_PATH), made when it is first asked for. */
int filled_dir(const struct carving *carving, struct job *job);

/* A private directory that can be written. */
void filled_make_fresh(const struct carving *carving, struct job *job);

/* The mountpoint of a job that lies in one. */
void filled_make_mountpoint(const struct carving *carving, const struct job *job);

/* The modes that masks have in the end. */
void filled_close(const struct carving *carving);

#endif
