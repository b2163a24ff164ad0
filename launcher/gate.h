/* Reasons why this machine cannot make sandboxes, each with its remedy (gates in docs/architecture.md). */
#ifndef FLEETBOX_GATE_H
#define FLEETBOX_GATE_H

#include "launch.h"

/* Whether mounts below /proc keep a fresh one from being mounted in a sandbox. */
bool gate_proc_is_masked(void);

/* Whether this process can make the namespaces that every sandbox has. */
bool gate_has_namespaces(void);

/* Before anything else: on WSL1 nothing could work. */
void gate_refuse_wsl1(int wsl);

/* In a sandbox the generation of this machine cannot be read, and its files are not root's. */
void gate_refuse_nested(void);

/* bwrap ended with `code` before the workload began; its own line is on stderr already. Names the gate. */
_Noreturn void gate_refuse(const struct launch *launch, const char *bwrap, int code);

#endif
