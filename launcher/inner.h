/* The inner stage: the same program as process 1 of the sandbox. */
#ifndef FLEETBOX_INNER_H
#define FLEETBOX_INNER_H

/* `argv` begins after --inner. Never returns. */
_Noreturn void inner_main(char **argv);

#endif
