/* The refusal log that `fleetbox-host why` reads: one file per user id, JSON lines. */
#ifndef FLEETBOX_LOG_H
#define FLEETBOX_LOG_H

struct refusal {
    const char *policy;
    const char *command; /* argv[0] only: arguments may hold secrets */
    const char *problem;
    const char *hint;
};

/* Appends one line if the log's directory exists; silent otherwise: a log must not change an outcome. */
void log_refusal(const struct refusal *refusal);

#endif
