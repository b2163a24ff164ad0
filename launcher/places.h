/* What a plan's places mean in this launch: workspace, home and ${TMPDIR}, and the paths that begin there. */
#ifndef FLEETBOX_PLACES_H
#define FLEETBOX_PLACES_H

#include "launch.h"

/* Fills cwd, workspace, home and tmpdir. Refuses a workspace that is none, or that holds the home. */
void places_find(struct launch *launch);

/* Fills account_home, if it has not been yet. Refuses a workspace that holds it. */
void places_find_account(struct launch *launch);

/* Replaces a leading ${WORKSPACE}, ${HOME} or ${TMPDIR}. */
const char *expand(const struct launch *launch, const char *place);

/* Expands and resolves. */
struct resolved find(const struct launch *launch, const char *place);

/* The same for what a write rule names: a link on the way that a workload may have planted is refused. */
struct resolved find_writable(const struct launch *launch, const char *place);

/* No rule but "read" may be about /. */
void refuse_everything(const struct resolved *place, const char *access);

/* Paths that are mounted afresh, so that a rule about the host's would be about nothing. */
bool is_virtual(const char *path);

#endif
