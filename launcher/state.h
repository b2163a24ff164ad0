/* What the launcher keeps per user between launches: locks, records of mountpoints, bwrap's features. */
#ifndef FLEETBOX_STATE_H
#define FLEETBOX_STATE_H

#include <sys/types.h>

/* The directory, made if need be: 0700 and this user's, or the launch is refused. One place for all launches of an
 * account, or they would not see each other's locks. */
const char *state_dir(uid_t uid);

/* An empty file that nobody can read, to bind over a denied file. */
const char *state_denied_file(const char *dir);

#endif
