#include "log.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "paths.h"

/* A line holds four values, each byte of which may need a backslash. */
enum { VALUE_LIMIT = 700, LINE_SIZE = 256 + 4 * 2 * VALUE_LIMIT, FILE_LIMIT = 1 << 20 };

/* Appends `,"key":"value"` with JSON's escapes; long values are cut, so that LINE_SIZE always suffices. */
static size_t put(char line[LINE_SIZE], size_t at, const char *key, const char *value) {
    at += (size_t)snprintf(line + at, LINE_SIZE - at, ",\"%s\":\"", key);
    for (size_t i = 0; value && value[i] && i < VALUE_LIMIT; i++) {
        unsigned char byte = (unsigned char)value[i];
        if (byte < 0x20 || byte >= 0x7f) { /* also what is not ASCII: a cut must not split a character */
            line[at++] = '?';
            continue;
        }
        if (byte == '"' || byte == '\\') {
            line[at++] = '\\';
        }
        line[at++] = (char)byte;
    }
    line[at++] = '"';
    return at;
}

static int open_log(void) {
    char path[128];
    snprintf(path, sizeof path, FLEETBOX_REFUSALS "/%u.jsonl", (unsigned)getuid());
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    struct stat st;
    if (fd < 0) {
        return -1;
    }
    bool ours = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == getuid() && st.st_nlink == 1;
    if (!ours || st.st_size > FILE_LIMIT) {
        close(fd);
        return -1;
    }
    return fd;
}

void log_refusal(const struct refusal *refusal) {
    int fd = open_log();
    if (fd < 0) {
        return;
    }
    char line[LINE_SIZE];
    size_t at = (size_t)snprintf(line, sizeof line, "{\"schema_version\":1,\"time\":%lld,\"uid\":%u",
                                 (long long)time(NULL), (unsigned)getuid());
    at = put(line, at, "policy", refusal->policy);
    at = put(line, at, "command", refusal->command);
    at = put(line, at, "problem", refusal->problem);
    at = put(line, at, "hint", refusal->hint);
    line[at++] = '}';
    line[at++] = '\n';
    ssize_t written = write(fd, line, at);
    (void)written; /* a full disk must not change the exit status */
    close(fd);
}
