#include "control.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "refuse.h"

int exit_code(int wait_status) {
    return WIFSIGNALED(wait_status) ? EXIT_SIGNAL_BASE + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* Never waits: a launcher that is stopped listens to nothing, and the workload's time goes on. */
bool tell(int control, int type, int value, const char *text) {
    struct message message = {.type = type, .value = value};
    size_t length = text ? strlen(text) : 0;
    if (length > sizeof message.text) {
        length = sizeof message.text;
    }
    if (length) {
        memcpy(message.text, text, length);
    }
    return control < 0 || send(control, &message, offsetof(struct message, text) + length, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

void give_up(int control, const char *format, ...) {
    char text[sizeof((struct message *)0)->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (control < 0) {
        dprintf(STDERR_FILENO, "fleetbox-run: %s\n", text);
    }
    tell(control, MESSAGE_REFUSED, 0, text);
    _exit(EXIT_REFUSED);
}
