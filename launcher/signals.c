#include "signals.h"

#include <stdbool.h>
#include <stddef.h>

static bool was_default;
static uint64_t blocked;

static void note_blocked(void) {
    sigset_t set;
    sigprocmask(SIG_BLOCK, NULL, &set);
    for (int number = 1; number <= 64; number++) {
        blocked |= sigismember(&set, number) == 1 ? UINT64_C(1) << (number - 1) : 0;
    }
}

void signals_take(void) {
    note_blocked();
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

uint64_t signals_blocked_at_start(void) {
    return blocked;
}
