#include "signals.h"

#include <stdbool.h>

static bool was_default;

void signals_take(void) {
    was_default = signal(SIGXFSZ, SIG_IGN) == SIG_DFL;
}

void signals_give_back(void) {
    if (was_default) {
        signal(SIGXFSZ, SIG_DFL);
    }
}

sigset_t signals_taken(void) {
    sigset_t taken;
    sigemptyset(&taken);
    if (was_default) {
        sigaddset(&taken, SIGXFSZ);
    }
    return taken;
}
