/* The only ways to say no: one line of problem, one line of hint, exit 125, one line in the refusal log. */
#ifndef FLEETBOX_REFUSE_H
#define FLEETBOX_REFUSE_H

#include <stddef.h>

enum {
    EXIT_OUT_OF_TIME = 124,
    EXIT_REFUSED = 125,
    EXIT_NOT_EXECUTABLE = 126,
    EXIT_NOT_FOUND = 127,
    EXIT_SIGNAL_BASE = 128,
};

/* What the log will say about a later refusal. Either may be NULL: not known yet. */
void refuse_as(const char *policy, const char *command);

/* Never returns. `hint` may be "". Control characters are shown as '?': a path can hold anything. */
_Noreturn void refuse(const char *hint, const char *format, ...) __attribute__((format(printf, 2, 3)));

void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How many bytes here a terminal would act on and not show: C0, DEL, and C1 as UTF-8 writes it; 0 for none. */
size_t control_at(const char *text);

#endif
