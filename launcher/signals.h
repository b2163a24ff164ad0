/* What this program does about signals that the workload must not notice. */
#ifndef FLEETBOX_SIGNALS_H
#define FLEETBOX_SIGNALS_H

#include <signal.h>
#include <stdint.h>

/* A file that may not grow (ulimit -f) is an error like a full disk from then on, not an end without a word. */
void signals_take(void);

/* Before this process becomes another program. */
void signals_give_back(void);

/* Those that a program started from here gets back. */
sigset_t signals_taken(void);

/* As our caller had them, bit N-1 for signal N. */
uint64_t signals_blocked_at_start(void);

#endif
