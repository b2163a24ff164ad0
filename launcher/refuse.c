#include "refuse.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

enum { LINE_SIZE = 2 * 4096 };

static const char *policy_name;
static const char *command_name;

void refuse_as(const char *policy, const char *command) {
    policy_name = policy ? policy : policy_name;
    command_name = command ? command : command_name;
}

size_t control_at(const char *text) {
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] == 0xc2 && byte[1] >= 0x80 && byte[1] < 0xa0) {
        return 2;
    }
    return byte[0] && (byte[0] < 0x20 || byte[0] == 0x7f) ? 1 : 0;
}

static void make_printable(char *text) {
    for (; *text; text++) {
        size_t length = control_at(text);
        memset(text, '?', length);
        text += length ? length - 1 : 0;
    }
}

/* Nobody may listen any more; to die of that would leave mountpoints behind. */
static void say(const char *prefix, const char *text) {
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    dprintf(STDERR_FILENO, "%s%s\n", prefix, text);
    signal(SIGPIPE, before);
}

void refuse(const char *hint, const char *format, ...) {
    char problem[LINE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    make_printable(problem);
    say("fleetbox-run: ", problem);
    char advice[LINE_SIZE];
    snprintf(advice, sizeof advice, "%s", hint);
    make_printable(advice);
    if (advice[0]) {
        say("  hint: ", advice);
    }
    log_refusal(&(struct refusal){policy_name, command_name, problem, advice});
    exit(EXIT_REFUSED);
}

void warn(const char *format, ...) {
    char text[LINE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    make_printable(text);
    say("fleetbox-run: warning: ", text);
}
